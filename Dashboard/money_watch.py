"""Orders, fills and money as the dashboard sees them: what the OrderManager's events and statuses say.

All arithmetic of money is the ledger's; here its numbers are kept for who comes later, and summed over
strategies.
"""

from collections import Counter, deque
from collections.abc import Mapping, Sequence
from typing import Any, Final

from Dashboard.curve import Curve
from runtime.leaderboard import is_own, ranked
from trading_lib.models import Account
from trading_lib.standing import Standing

EVENTS_KEPT: Final = 2000  # order updates and fills, for who joins or was slow
TAGS_KEPT: Final = 10_000  # orders whose type and limit are remembered
TOTAL: Final = "total"
PENDING: Final = "Pending"  # on its way: no report yet
_SUMMED: Final = ("initial", "equity", "cash", "realized", "unrealized", "commission")

Event = dict[str, Any]


class Ring:
    """Events of one topic, numbered from 1; the newest EVENTS_KEPT are kept."""

    def __init__(self) -> None:
        self.kept: deque[Event] = deque(maxlen=EVENTS_KEPT)
        self.count = 0

    def add(self, event: Event) -> None:
        """Number and keep one."""
        self.count += 1
        self.kept.append(event)

    def after(self, number: int) -> tuple[list[Event], int]:
        """(events after that number which are still kept, how many are not)."""
        wanted = self.count - number
        kept = list(self.kept)[-wanted:] if wanted > 0 else []
        return kept, max(0, wanted - len(kept))


class MoneyWatch:
    """What is known of a run's money. `version` grows with every change of it, `generation` with every run.

    `redrawn` is the version in which earlier points of a curve became others; 0 if they never did.
    """

    def __init__(self) -> None:
        self.version = self.generation = 0
        self.begin("")

    def begin(self, run_id: str) -> None:
        """Another run."""
        self.run_id = run_id
        self.version += 1
        self.generation += 1
        self.redrawn = 0
        self.lanes: dict[str, dict[str, Any]] = {}
        self.orders = Ring()
        self.fills = Ring()
        self.open: dict[tuple[str, str], Event] = {}
        self.curves: dict[str, Curve] = {}
        self.missed = 0  # events that came while nobody listened: fills and orders that are not shown
        self._details: dict[tuple[str, str], Event] = {}
        self._standing = Standing()  # the total's
        self._counted: dict[str, float] = {}  # what each lane began with that is part of the total's curve
        self._opening = 0.0  # the total when the epoch of its curve began
        self._closing: float | None = None  # the total at its newest point
        self._earlier: dict[str, dict[str, Any]] = {}  # the lanes as the backlog leaves them
        self._newest = (-1, 0)  # epoch and time of the newest point of any curve
        self._due = False  # the total's curve lacks it
        self._seq = -1

    # ------------------------------------------------------------------------------------------ events

    def take(self, event: Event) -> None:
        """One line of the event stream."""
        if event.get("run_id") not in ("", self.run_id):
            self.begin(event["run_id"])
        kind, seq = event["type"], event["seq"]
        if kind != "snapshot" and seq <= self._seq:
            return  # a stream that began again tells some of it twice
        if kind == "snapshot" and self._seq >= 0:
            self.missed += max(0, seq - self._seq)
        self._seq = max(self._seq, seq)
        if kind == "snapshot":
            self._snapshot(event["lanes"])
        else:
            self._fact(event)

    def take_backlog(self, events: Sequence[Event]) -> None:
        """What happened before the stream began; what the snapshot said of the lanes stays."""
        lanes, still_open = self.lanes, self.open
        self.lanes, self.open = self._earlier, dict(still_open)
        for event in events:
            self._fact(event)
            self.settle()
        self.lanes, self.open = lanes, still_open

    def _fact(self, event: Event) -> None:
        kind = event["type"]
        if kind == "order":
            self._order(event)
        elif kind == "report":
            self._report(event)
        elif kind == "account":
            self._account(event)

    def _snapshot(self, lanes: Sequence[Mapping[str, Any]]) -> None:
        self.open = {
            (lane["strategy_id"], order["client_order_id"]): _open_row(lane["strategy_id"], order)
            for lane in lanes
            for order in lane.get("orders", ())
        }
        self.take_lanes(lanes)

    def take_lanes(self, lanes: Sequence[Mapping[str, Any]]) -> None:
        """The lanes as the OrderManager's status has them."""
        for lane in lanes:
            self.lanes[lane["strategy_id"]] = dict(lane)
        self.version += 1

    def mark(self) -> None:
        """What a status has just said of the lanes becomes points of the curves."""
        for lane in self.lanes.values():
            self._point(lane, int(lane.get("ts", 0)))

    def settle(self) -> None:
        """Once a frame: the total, as of the newest point of any strategy."""
        if not self._due:
            return
        self._due = False
        self._count_who_joined()
        epoch, ts = self._newest
        equity = self._equity()
        curve = self._curve(TOTAL, epoch)
        if not curve.points:
            self._opening = sum(self._counted.values()) if self._closing is None else self._closing
        curve.add(ts, equity)
        self._standing.add(_as_account(equity, self._opening, epoch, ts))
        self._closing = equity
        self.version += 1

    def _order(self, event: Event) -> None:
        key = event["strategy_id"], event["client_order_id"] or ""
        self._details[key] = event
        if len(self._details) > TAGS_KEPT:
            del self._details[next(iter(self._details))]
        row = {
            "ts": event["ts"],
            "strategy": event["strategy_id"],
            "id": key[1],
            "status": PENDING,
            "symbol": event["symbol"],
            "side": event["side"],
            "qty": event["quantity"],
            "leaves": event["quantity"],
            "type": event["order_type"],
            "limit": event["limit_price"] or None,
            "stop": event["stop_price"] or None,
            "tag": event["tag"],
            "reason": "",
        }
        self.open[key] = row
        self.orders.add(row)
        self.version += 1

    def _report(self, event: Event) -> None:
        key = event["strategy_id"], event["client_order_id"]
        told = self._details.get(key, {})
        row = {
            "ts": event["ts"],
            "strategy": key[0],
            "id": key[1],
            "status": event["status"],
            "symbol": event["symbol"],
            "side": event["side"],
            "qty": event["qty"],
            "leaves": event["leaves_qty"],
            "type": told.get("order_type", ""),
            "limit": told.get("limit_price") or None,
            "stop": told.get("stop_price") or None,
            "tag": event["tag"] or told.get("tag", ""),
            "reason": event["reason"],
        }
        if event["status"] in ("New", "PartiallyFilled"):
            self.open[key] = row
        else:
            self.open.pop(key, None)
        if event["last_qty"]:
            self.fills.add(_fill_row(event, row))
        self.orders.add(row)
        self.version += 1

    def _account(self, event: Event) -> None:
        lane = self.lanes.setdefault(event["strategy_id"], {"strategy_id": event["strategy_id"]})
        for name in ("equity", "cash", "realized", "unrealized", "commission", "positions", "epoch"):
            lane[name] = event[name]
        lane.setdefault(
            "initial", event["equity"] - event["realized"] - event["unrealized"] + event["commission"]
        )
        self._point(lane, int(event["ts"]))
        self.version += 1

    # ------------------------------------------------------------------------------------------- curves

    def _point(self, lane: Mapping[str, Any], ts: int) -> None:
        """One more, unless it is of an epoch that is over for this curve."""
        epoch = lane["epoch"]
        if not is_own(lane) or ts <= 0:
            return
        curve = self._curve(lane["strategy_id"], epoch)
        if epoch == curve.epoch:
            curve.add(ts, lane["equity"])
            self._newest = max(self._newest, (epoch, ts))
            self._due = True

    def _count_who_joined(self) -> None:
        """The money of who joins later counts from the beginning, as in `Run.total_equity`: nothing jumps."""
        joined = {
            name: lane.get("initial", 0.0)
            for name, lane in self.lanes.items()
            if is_own(lane) and name not in self._counted
        }
        self._counted |= joined
        if not joined or self._closing is None:
            return
        more = sum(joined.values())
        self._opening += more
        self._closing += more
        curve = self.curves[TOTAL]
        curve.points = [(ms, equity + more) for ms, equity in curve.points]
        self._standing = Standing()
        for ms, equity in curve.points:
            self._standing.add(_as_account(equity, self._opening, curve.epoch, int(ms * 1e6)))
        self.redrawn = self.version + 1

    def _equity(self) -> float:
        """Of all that are counted. Who is not there, as at a beginning told later, has what it began with."""
        there = {name: lane["equity"] for name, lane in self.lanes.items() if is_own(lane)}
        return sum((self._counted | there).values())

    def _curve(self, name: str, epoch: int) -> Curve:
        found = self.curves.get(name)
        if found is None or found.epoch < epoch:  # time begins again
            self.curves[name] = found = Curve(epoch)
        return found

    # -------------------------------------------------------------------------------------------- money

    def total(self) -> dict[str, Any]:
        """All strategies' money together; of one strategy alone its own numbers."""
        own = [lane for lane in self.lanes.values() if is_own(lane)]
        if len(own) == 1:
            return {**own[0], "strategy_id": TOTAL}
        total: dict[str, Any] = {name: sum(lane.get(name, 0.0) for lane in own) for name in _SUMMED}
        rating = self._standing.now()
        return {
            "strategy_id": TOTAL,
            **total,
            "epoch": max((lane.get("epoch", 0) for lane in own), default=0),
            **{name: _sum_by_symbol(own, name) for name in ("positions", "unrealized_by_symbol")},
            "exposure": _exposure(own),
            "drawdown": rating.drawdown,
            "sharpe": rating.sharpe,
            "step_ns": rating.step_ns,
            **{name: _sum_known(own, name) for name in ("trades", "wins", "open_orders", "travelling")},
            "killed": own[0]["killed"] if own and all(lane.get("killed") for lane in own) else "",
        }

    def ranking(self) -> list[str]:
        """The strategies, the best first: see `runtime.leaderboard`."""
        rated = [lane for lane in self.lanes.values() if "drawdown" in lane]
        return [place.strategy_id for place in ranked(rated)]


def _sum_known(lanes: Sequence[Mapping[str, Any]], name: str) -> int | None:
    known = [lane[name] for lane in lanes if lane.get(name) is not None]
    return sum(known) if known else None


def _sum_by_symbol(lanes: Sequence[Mapping[str, Any]], name: str) -> dict[str, float]:
    found: Counter[str] = Counter()
    for lane in lanes:
        found.update(lane.get(name, {}))
    return dict(found)


def _exposure(lanes: Sequence[Mapping[str, Any]]) -> float | None:
    """The mean of the strategies', weighted by what each began with."""
    known = [(lane["initial"], lane["exposure"]) for lane in lanes if lane.get("exposure") is not None]
    weight = sum(initial for initial, _ in known)
    return sum(initial * share for initial, share in known) / weight if weight > 0 else None


def _open_row(strategy: str, order: Mapping[str, Any]) -> Event:
    return {
        "ts": "0",
        "strategy": strategy,
        "id": order["client_order_id"],
        "status": "New" if order.get("status") != "travelling" else PENDING,
        "symbol": order["symbol"],
        "side": order["side"],
        "qty": order["qty"],
        "leaves": order.get("leaves_qty", order["qty"]),
        "type": order.get("type", ""),
        "limit": order.get("limit_price") or None,
        "stop": order.get("stop_price") or None,
        "tag": order.get("tag", ""),
        "reason": "",
    }


def _fill_row(event: Event, row: Event) -> Event:
    return {
        "ts": event["ts"],
        "epoch": event["epoch"],
        "exec": event["exec_id"],
        "strategy": row["strategy"],
        "id": row["id"],
        "symbol": row["symbol"],
        "side": row["side"],
        "qty": event["last_qty"],
        "price": event["last_px"],
        "commission": event["commission"],
        "reference": event["reference"] or None,
        "tag": row["tag"],
    }


def _as_account(equity: float, opening: float, epoch: int, ts: int) -> Account:
    money = {"cash": equity, "unrealized": 0.0, "realized": equity - opening, "commission": 0.0}
    return Account(TOTAL, epoch, 0, ts, "interval", "", 0.0, {}, **money, equity=equity)
