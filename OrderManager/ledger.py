"""The ledger: every strategy's lane, driven by the tape and the sessions, and journaled.

    ledger.take(client, inputs)     # requests are accepted
    ledger.settle()                 # lanes advance; journal; then acknowledgements, reports, events

A lane never runs past its host's last reported progress, so a cancel cannot lose to a tick it preceded;
without a host it runs to the tape's head. Nothing is acknowledged before it is on the disk, nothing is
reported before it is in the journal.
"""

import hmac
import logging
import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import msgspec

from OrderManager import records
from OrderManager.journal import CHECKPOINT_EVERY, Journal, JournalError, JournalMissing
from OrderManager.lane_desk import LaneDesk
from OrderManager.lane_view import lane_view, orders_of_each
from OrderManager.market import Market
from OrderManager.recovery import Recovery
from OrderManager.scribe import Publish, Scribe
from OrderManager.server import (
    PLAIN_STRATEGY,
    CancelReceived,
    Connection,
    Farewell,
    Hello,
    Input,
    Progress,
    Received,
    SessionDenied,
)
from OrderManager.syncer import Syncer
from runtime.run_folder import read_token
from trading_lib import order_wire
from trading_lib.control import Action
from trading_lib.lane import Lane, Request
from trading_lib.lane_state import restore, set_prices, take_head, take_state
from trading_lib.portfolio import Portfolio, PortfolioState

REQUESTS_AT_ONCE: Final = 512  # per lane, between two writes of the journal: some 15 ms …
RECORDS_AT_ONCE: Final = 1 << 15  # … and so many records: some 10 ms
ALL: Final = 1 << 62
HORIZON_S: Final = 0.2  # so often readers of the journal are told how far every lane is

_SHARED: Final = (  # of a lane's head: where it is on the tape, in time, and in the operator's hands
    *("seq", "next_seq", "ts", "epoch", "epoch_seq", "blind", "blind_below", "next_day", "next_account"),
    *("terms", "latencies", "killed"),
)
MakeLane = Callable[[str], Lane]


class Ledger:
    """The lanes of one run. Owns its journal, not the market nor the syncer.

    Raises JournalError for a journal it cannot use.

    `resumed` is the money that strategies begin with, for those that have some of an earlier run;
    `make_lane` gives a fresh lane; `publish(number, record)` is called for every record once it is in the
    journal. `next_number` counts an order that nobody has sent; without it the ledger counts by itself.
    """

    def __init__(
        self,
        folder: Path,
        market: Market,
        make_lane: MakeLane,
        log: logging.Logger,
        publish: Publish,
        resumed: Mapping[str, PortfolioState] | None = None,
        syncer: Syncer | None = None,
        next_number: Callable[[], int] | None = None,
    ) -> None:
        self.folder = folder
        self.market = market
        self.counters: Counter[str] = Counter()
        self._make_lane = make_lane
        self._resumed = dict(resumed or {})
        self._log = log
        self._horizon = (0.0, -1)
        self.behind = False
        """Whether the last `settle` has left something to do at once."""
        recovery = Recovery(self._make)
        self.journal = journal = self._open_journal(folder / "journal.bin", recovery)
        self.scribe = Scribe(journal, syncer, publish, self.counters)
        if journal.next_record or journal.cut:
            self.scribe.add(records.Recovered(time.time_ns(), journal.cut))
        self.orders: int = recovery.orders
        self._next_number = next_number or (lambda: self.orders + 1)
        self.desks = recovery.desks
        began_anew = any(desk.lane.next_seq > market.tail for desk in self.desks.values())
        for desk in self.desks.values():
            if began_anew:
                desk.begin_tape()
                self._note(desk.lane, "tape began anew")
            self._resume(desk)
        if PLAIN_STRATEGY not in self.desks:
            lane = self._make(PLAIN_STRATEGY)
            lane.next_seq = max(0, market.tail - market.capacity)
            self._open_lane(lane)
        if began_anew:
            log.warning("the tape of run %s began anew: its records are numbered from 0 again", market.run_id)
            self._commit()
            self._checkpoint()  # client order ids begin again, too: a recovery must not see the old ones

    # ----------------------------------------------------------------------------------------- beginning

    def _open_journal(self, path: Path, recovery: Recovery) -> Journal:
        try:
            journal = Journal.recover(path, recovery.on_record, self._say_progress)
        except JournalMissing:
            return Journal.create(path, self.market.run_id)
        except msgspec.DecodeError as fault:
            raise JournalError(path, f"is of another version: {fault}") from None
        if journal.run_id != self.market.run_id:
            journal.close()
            raise JournalError(path, f"is of run {journal.run_id}")
        self._log.warning(
            "recovered %d orders of %d strategies from the journal%s",
            recovery.orders,
            len(recovery.desks),
            f"; {journal.cut}" if journal.cut else "",
        )
        return journal

    def _say_progress(self, done: int, total: int) -> None:
        self._log.info("recovering: %d of %d bytes of the journal", done, total)

    def _make(self, strategy_id: str) -> Lane:
        lane = self._make_lane(strategy_id)
        self.market.watch_series(lane)
        if strategy_id == PLAIN_STRATEGY:
            lane.action = self._heard(lane)
        if strategy_id in self._resumed:
            lane.portfolio = Portfolio.from_state(self._resumed[strategy_id])
            lane.risk.day_equity = lane.portfolio.equity
        return lane

    def _heard(self, lane: Lane) -> Callable[[int], Action | None]:
        """What looks actions up for the lane that is always there, and says which are for nobody."""
        known = lane.action

        def look_up(number: int) -> Action | None:
            action = known(number)
            strategy = action.strategy if action is not None else None
            if strategy is not None and strategy not in self.desks:
                self.counters["actions for no strategy"] += 1
                what = f"action {number} is for {strategy!r}, who has no lane: nothing is done"
                self._log.warning("%s", what)
                self.scribe.add(records.Note(PLAIN_STRATEGY, lane.seq, "no lane", what))
            return action

        return look_up

    def _resume(self, desk: LaneDesk) -> None:
        """A recovered lane's last prices, from the tape; its host may come back."""
        lane = desk.lane
        if lane.strategy_id != PLAIN_STRATEGY:
            desk.limit, desk.lost_at = lane.next_seq, time.monotonic()
        if lane.blind:
            return
        prices, times, new_epoch = self.market.prices_before(lane.next_seq, max(lane.blind_below, 0))
        if new_epoch:
            lane.prices.clear()
        else:
            for symbol, (price, ts) in self.market.book_prices(lane.ts).items():
                prices.setdefault(symbol, price)
                times.setdefault(symbol, ts)
        set_prices(lane, prices, times)

    def _open_lane(self, lane: Lane) -> LaneDesk:
        state = msgspec.json.encode(take_state(lane))
        desk = self.desks[lane.strategy_id] = LaneDesk(lane)
        self.scribe.add(records.Opened(lane.strategy_id, state))
        return desk

    def _new_desk(self, strategy_id: str, start: int) -> LaneDesk:
        """A lane that begins at `start`, in the market as the manual lane, which is always there, sees it."""
        manual = self.desks[PLAIN_STRATEGY]
        self._pump(manual, ALL, ALL)
        if manual.lane.next_seq < start:
            self._note_missed(manual.lane, self.market.bring(manual.lane, start))
        seen = take_state(manual.lane)
        lane = self._make(strategy_id)
        fresh = take_state(lane)
        place = {name: getattr(seen.head, name) for name in _SHARED}
        head = msgspec.structs.replace(fresh.head, day_equity=lane.portfolio.equity, **place)
        restore(lane, msgspec.structs.replace(fresh, head=head, prices=seen.prices, quotes=seen.quotes))
        return self._open_lane(lane)

    # ------------------------------------------------------------------------------------------ sessions

    def welcome(self, client: Connection, hello: Hello) -> tuple[Iterable[bytes], int]:
        """See server.Desk."""
        self._check(hello)
        desk = self.desks.get(hello.strategy)
        if hello.mode == "again":
            frames: Iterable[bytes] = ()
            self.scribe.tell(client, self._again(desk, hello))
        else:
            what = records.STARTED if desk is None else "reload" if hello.reload else "restart"
            desk = desk or self._new_desk(hello.strategy, hello.number)
            desk.limit = max(hello.number, desk.lane.next_seq) if hello.mode else None
            self._pump(desk, ALL, ALL)
            self._note(desk.lane, what, hello.version)
            self._collect(desk, tell=False)
            frames = order_wire.encode_lane(msgspec.json.encode(take_state(desk.lane)))
        assert desk is not None
        if desk.client is not None:
            desk.client.hopeless = True  # the same strategy from elsewhere: the newer one counts
        desk.client, desk.lost_at = client, None
        return frames, desk.lane.next_seq

    def _check(self, hello: Hello) -> None:
        if self.market.closed:
            raise SessionDenied("the tape has ended")
        token = read_token(self.folder)
        if token is None or not hmac.compare_digest(token, hello.token):
            raise SessionDenied(f"wrong token: it is in {self.folder.name}/token")
        if hello.strategy == PLAIN_STRATEGY:
            raise SessionDenied(f"{PLAIN_STRATEGY} is the strategy of plain clients")
        if hello.number > self.market.tail and hello.mode == "new":
            raise SessionDenied(f"there is no record {hello.number} on the tape yet")

    def _again(self, desk: LaneDesk | None, hello: Hello) -> bytes:
        if desk is None:
            raise SessionDenied("there is no lane of this strategy: start it anew")
        told = desk.told_after(hello.number)
        if told is None:
            raise SessionDenied(f"the reports after {hello.number} are not kept any more: start it anew")
        if desk.limit is None:  # it was given up, and its lane has run on
            raise SessionDenied("its lane has run on without it: start it anew")
        return told

    def left(self, client: Connection) -> None:
        """See server.Desk."""
        for desk in self.desks.values():
            if desk.client is client:
                desk.client = None
                if desk.limit is not None:
                    desk.lost_at = time.monotonic()

    # -------------------------------------------------------------------------------------------- inputs

    def take(self, client: Connection, inputs: Sequence[Input]) -> None:
        """See server.Desk."""
        self.orders = max([self.orders, *(found.number for found in inputs if isinstance(found, Received))])
        if client.strategy is None:
            self._take_plain(inputs)
            return
        desk = self.desks[client.strategy]
        if desk.client is not client:
            self.counters["ignored: from a session that was replaced"] += len(inputs)
            return
        for found in inputs:
            match found:
                case Received(number, order, _, wall):
                    self.accept(desk.lane.strategy_id, order, number, wall)
                case CancelReceived(request, _, wall):
                    self.accept(desk.lane.strategy_id, request, 0, wall)
                case Progress(next_seq, missed):
                    self._progress(desk, next_seq, missed)
                case Farewell(text):
                    self._farewell(desk, text)

    def accept(self, strategy_id: str, request: Request, number: int, wall: int) -> None:
        """Take a request of a lane there is: into the journal with the next commit, unless it cannot be."""
        desk = self.desks[strategy_id]
        record = self.market.record(request.cause_seq)
        if request.cause_seq >= self.market.tail:
            self._refuse(desk, "there is no such tape record yet")
        elif record is not None and record[1] != request.timestamp:
            self._refuse(desk, "its time is not that of its tape record")
        elif desk.accept(request):
            self.scribe.add_urgent(records.Taken(strategy_id, number, wall, request))
        else:
            self.counters["seen before"] += 1

    def _refuse(self, desk: LaneDesk, reason: str) -> None:
        """A request that no honest host sends: the session ends, and its client hears why."""
        self.counters[f"refused: {reason}"] += 1
        if desk.client is not None:
            desk.client.send(order_wire.encode_error(f"a request is refused: {reason}"))
            desk.client.hopeless = True

    def _take_plain(self, inputs: Sequence[Input]) -> None:
        """Plain orders take the tape head's time on receipt, whatever they say."""
        desk = self.desks[PLAIN_STRATEGY]
        head = self.market.record(self.market.tail - 1)
        for found in inputs:
            assert isinstance(found, Received)
            if head is None:
                self.counters["refused: nothing on the tape yet"] += 1
                continue
            seq, ts = head[:2]
            index = desk.last_id[1] + 1 if desk.last_id[0] == seq else 0
            order = msgspec.structs.replace(found.order, timestamp=ts, cause_seq=seq, index=index)
            self.accept(PLAIN_STRATEGY, order, found.number, found.wall)

    def _progress(self, desk: LaneDesk, next_seq: int, missed: bool) -> None:
        if desk.limit is None or next_seq > self.market.tail:
            return
        if missed and next_seq > desk.lane.next_seq:
            self._pump(desk, ALL, ALL)
            self._note(desk.lane, "missed", f"{next_seq - desk.lane.next_seq} records, by its host")
            desk.lane.missed(next_seq)
        desk.limit = max(desk.limit, next_seq)

    def _farewell(self, desk: LaneDesk, text: str) -> None:
        """The host goes: nothing holds its lane back any more."""
        if text:
            self._log.error("%s DIVERGED: %s", desk.lane.strategy_id, text)
            self._note(desk.lane, "diverged", text)
        desk.limit = None

    # ------------------------------------------------------------------------------------------ settling

    def settle(self) -> None:
        """Acknowledge what was accepted; advance every lane as far as it may go, journal that, and tell.

        Raises JournalError.
        """
        if self.scribe.urgent:
            self._commit()  # who waits for an acknowledgement does not wait for the lanes
        tail, self.behind = self.market.tail, False
        for desk in self.desks.values():
            if desk.run_on(self.market):
                self._log.warning("%s has not come back: its lane runs on", desk.lane.strategy_id)
                self._note(desk.lane, "host lost")
            if desk.has_work(tail):
                self._pump(desk)
                self.behind = self.behind or desk.has_work(tail)
            self._collect(desk)
        self._note_horizon()
        self._commit()
        if self.journal.since_checkpoint >= CHECKPOINT_EVERY:  # every lane's facts are in the journal now
            self._checkpoint()

    def _pump(self, desk: LaneDesk, requests: int = REQUESTS_AT_ONCE, records: int = RECORDS_AT_ONCE) -> None:
        self._note_missed(desk.lane, desk.pump(self.market, requests, records))

    def _note_missed(self, lane: Lane, missed: Iterable[tuple[int, int]]) -> None:
        for start, stop in missed:
            self.counters["missed"] += stop - start
            self._note(lane, "missed", f"{stop - start} records from {start}, by the ledger")

    def _note(self, lane: Lane, what: str, detail: str = "") -> None:
        self.scribe.add(records.Note(lane.strategy_id, lane.next_seq, what, detail))

    def _note_horizon(self) -> None:
        now = time.monotonic()
        since, before = self._horizon
        if now - since >= HORIZON_S:
            horizon = min(desk.lane.next_seq for desk in self.desks.values())
            self._horizon = (now, horizon)
            if horizon != before:
                self.scribe.add(records.Horizon(horizon))

    def _collect(self, desk: LaneDesk, *, tell: bool = True) -> None:
        """What a lane has done since the last time goes into the batch, and will be told after it."""
        lane = desk.lane
        if lane.placed:
            self._take_placed(lane)
        if not lane.reports and not lane.accounts:
            return
        encoded = [records.encode(report) for report in lane.reports]
        frames = [
            desk.remember(report, payload) for report, payload in zip(lane.reports, encoded, strict=True)
        ]
        self.scribe.add_encoded(lane.reports, encoded)
        for account in lane.accounts:
            desk.standing.add(account)
            self.scribe.add(account)
        self.scribe.add(take_head(lane))
        lane.reports.clear()
        lane.accounts.clear()
        if tell and desk.client is not None and frames:
            self.scribe.tell(desk.client, b"".join(frames))

    def _take_placed(self, lane: Lane) -> None:
        """An operator's orders, which the lane has met on the tape: in the journal before what became of them."""
        for order in lane.placed:
            self.orders = self._next_number()
            self.scribe.add_urgent(records.Taken(lane.strategy_id, self.orders, time.time_ns(), order))
        lane.placed.clear()

    def _commit(self) -> None:
        self.scribe.commit(self.desks.values())

    def _checkpoint(self) -> None:
        """All that a recovery needs, at once."""
        lanes = [
            records.QueuedLane(
                msgspec.json.encode(take_state(desk.lane)), list(desk.queue), desk.tally.state()
            )
            for desk in self.desks.values()
        ]
        self.scribe.checkpoint(records.Checkpoint(self.orders, lanes))

    # ---------------------------------------------------------------------------------------- the end

    @property
    def busy(self) -> bool:
        """Whether a lane without a host has orders that only time will settle."""
        return any(desk.limit is None and desk.lane.busy for desk in self.desks.values())

    def summary(self, orders: int) -> list[dict[str, Any]]:
        """Each lane's money, standing and open orders (so many in all), as plain values."""
        for desk in self.desks.values():
            desk.look()
        most = orders_of_each(len(self.desks), orders)
        return [lane_view(desk, most) for desk in self.desks.values()]

    def finish(self) -> None:
        """Run every lane to the tape's head, and make it durable. Raises JournalError."""
        for desk in self.desks.values():
            desk.limit = None
        self.settle()
        while self.behind:
            self.settle()
        self._horizon = (0.0, -1)
        self.settle()
        self.scribe.finish(self.desks.values())

    def close(self) -> None:
        """Let go of the journal. Raises JournalError; closed anyway."""
        self.scribe.close()
