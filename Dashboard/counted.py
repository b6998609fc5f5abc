"""What was dropped, missed, rejected or refused, of every part and by reason, and what each of them means."""

from collections.abc import Iterator, Mapping
from typing import Any, Final

from msgspec import Struct

MOST_REASONS: Final = 64  # of one table of a part: a reason may come from user code
LONGEST: Final = 120  # characters of a reason
OTHER: Final = "other reasons"

NUMBERS: Final = {  # by part, what it counts and what that means
    "gateway": {
        "dropped": "frames that a client did not read in time",
        "resyncs": "times it was over a second behind its schedule and began it anew",
    },
    "orderbook": {
        "gaps": "GAP marks on the tape: the feed was interrupted or lost frames there",
        "missed": "records of the feed that those gaps stand for",
        "late": "records stamped before the one in front of them; their time was raised to it",
    },
    "strategy": {
        "missed": "records that were overwritten before a strategy had read them",
        "errors": "exceptions of user code",
        "over_budget": "records that cost a strategy more than Strategy.budget_ms",
        "denied_calls": "system calls that the sandbox refused",
        "worker_restarts": "workers that died or were killed",
        "zygote_restarts": "times the process that forks the workers died",
        "status_cut": "values of user code too large for a status",
        "not_drained": "records that were not read when it was stopped",
    },
    "order_manager": {
        "without_record": "orders whose record the tape had overwritten: they have no latency",
    },
    "recorder": {
        "missed": "records that were overwritten before they could be recorded",
        "out_of_order": "rows that came after their place in the file had been written",
    },
    "dashboard": {
        "missed": "records that were overwritten before this dashboard had looked at them",
        "events_missed": "the OrderManager's events while its line was cut: orders and fills that Live does not list",
    },
}
OF_EVERY_PART: Final = {
    "restarts": "times main.py has started it again",
    "asked_kills": "times somebody had it killed, to see what happens; counted as restarts, too",
}
TABLES: Final = {  # the ones with reasons: what a count in them is
    "rejected": "a frame that was passed over; its connection lives on",
    "rows_rejected": "a row of the data file that was passed over",
    "denials": "an order that a limit did not let through",
    "refused": "an order that was not taken",
    "counters": "",
    "event_counters": "on the event stream",
    "ledger_counters": "in the ledger",
}
ACTIVITY: Final = frozenset(  # in the last three: what is no trouble
    {
        *("connected", "sessions", "closed", "sent", "acknowledged", "fdatasync", "fdatasync in the thread"),
        *("ticks connected", "news connected", "control actions", "control applied", "disconnected"),
    }
)
REASONS: Final = {
    # of frames (docs/PROTOCOL.md)
    "frame too long": "over 256 bytes: everything up to the next * was passed over",
    "not UTF-8": "bytes that are no text",
    "wrong number of fields": "ticks and news have 2 or 3, plain orders 5, session orders 8 or 13",
    "bad symbol": "1 to 24 of A-Z a-z 0-9 . _ / = - ^ : and nothing else",
    "bad price": "not a number, not finite, or not above 0",
    "bad sentiment": "not an integer from 0 to 100",
    "bad quantity": "not a number, not finite, or not above 0",
    "quantity above OrderManager.risk.max_order_qty": "an order larger than the configuration allows",
    "bad side": "neither BUY nor SELL",
    "bad timestamp": "neither nanoseconds nor seconds nor a date and time",
    "bad control frame": "an unknown one, or with other fields than it has",
    "bad order type": "none of MARKET, LIMIT, STOP, STOP_LIMIT",
    "bad time in force": "none of ROD, GTC, IOC, FOK",
    "bad tag": "over 32 characters, or one that a tag cannot have",
    "bad hello": "on the order port: another version, an unknown mode, or a second hello",
    "session denied": "a hello that the ledger does not accept; the client was told why",
    "control frame from a plain source": "a mark without a session",
    "feed number went back": "the feed's numbers were lower than they should be",
    "no room for another symbol": "the price book is full: see OrderBook.symbol_capacity",
    "half a frame at the end": "an order client hung up in the middle of a frame",
    "HTTP request": "a web page tried: the connection was closed",
    # of orders (docs/FILLS.md)
    "max_order_qty": "the order was larger than OrderManager.risk.max_order_qty",
    "max_orders_per_s": "more orders within a second of event time than the limit",
    "collar": "the price it stated was too far from the market's",
    "max_position": "the position would have gone beyond the limit",
    "max_daily_loss": "the day's loss is at its limit: only what closes positions goes through",
    "kill switch": "the operator pulled it",
    "cancel": "there was no such open order any more",
    # of connections
    "disconnected: does not read": "its outbox was full",
    "disconnected: too slow": "its outbox was full",
    "bytes not read at the end": "the OrderBook was told to stop before it had read the feed",
    "refused: too many clients": "all places were taken",
    "refused: too many listeners": "all places were taken: see Dashboard.max_streams for this server's",
    "refused: no descriptor left": "the system's limit on open files was reached",
    "refused: foreign Host": "a browser called this server by a name that is not its own",
    "refused: foreign Origin": "a page of another site tried to reach this server",
    "refused: no token": "somebody on another machine has not shown the token",
    "frames missed": "frames that a browser was too slow for; it got the next one instead",
    "rejected: bad request": "messages to /stream that mean nothing",
    "sessions refused": "the ledger did not accept a strategy's session",
    "sent again": "requests sent again over a new connection, under their old ids",
    "seen before": "requests that came twice; the second was only answered",
    "missed": "records that were overwritten before the lanes had read them",
    "control rejected: wrong token": "an operator's hello without this run's token",
    "postponed: OrderManager slow": "its port did not take any more: sent later",
    "dropped: no acknowledgement": "requests given up after 100,000 without an acknowledgement",
    "lost at the end": "requests that were not durable when the strategy was stopped",
}


class Counted(Struct, frozen=True):
    """So many of a thing since the part's start. `trouble`: a person should know of it."""

    part: str
    what: str
    reason: str
    count: int
    trouble: bool

    @property
    def meaning(self) -> str:
        """In plain words; empty where the name says it."""
        if self.reason:
            return REASONS.get(self.reason) or TABLES.get(self.what, "")
        return OF_EVERY_PART.get(self.what) or NUMBERS.get(self.part, {}).get(self.what, "")


def counted(parts: Mapping[str, Mapping[str, Any]]) -> Iterator[Counted]:
    """Everything that the parts' statuses count, part by part; of what can be trouble also the zeros."""
    for part, status in parts.items():
        for what in (*OF_EVERY_PART, *NUMBERS.get(part, ())):
            if isinstance(count := status.get(what), int):
                yield Counted(part, what, "", count, count > 0)
        for what in TABLES:
            for reason, count in _bounded(status.get(what)):
                yield Counted(part, what, reason, count, count > 0 and reason not in ACTIVITY)


def _bounded(table: object) -> Iterator[tuple[str, int]]:
    """The largest counts by reason, and the sum of the others."""
    if not isinstance(table, Mapping):
        return
    rows = sorted(table.items(), key=lambda row: (-row[1], row[0]))
    names: dict[str, int] = {}
    for at, (reason, count) in enumerate(rows):
        name = str(reason)[:LONGEST] if at < MOST_REASONS else OTHER
        names[name] = names.get(name, 0) + count
    yield from names.items()
