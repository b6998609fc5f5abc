"""One strategy of a recorded run, once more: its engine over the recorded tape, its orders beside the journal's.

Two lanes, as in the run. The ledger's hears the journal's requests, so that a host that begins later (a reload,
a restart) finds the position and the open orders that it found then; the host's hears its own.
"""

from bisect import bisect_left
from collections import deque
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import msgspec

from config import Config, StrategyEntry, resolve
from lab.history import Beginning, History, Missed
from lab.interrupts import Patience
from lab.trial import opened_lane
from runtime.versions import kept_params, kept_version
from trading_lib.broker import NEVER
from trading_lib.control import Action
from trading_lib.engine import Engine
from trading_lib.lane import Lane, Record, Request
from trading_lib.lane_state import restore, take_state
from trading_lib.models import Order
from trading_lib.strategy_file import TakenBack, load_strategy


class Step(NamedTuple):
    """A request that was made again, at the record that caused it; `ts` is its event time, ns."""

    seq: int
    ts: int
    strategy_id: str
    request: Request


class Difference(NamedTuple):
    """The first request that is not the same: `recorded` then, `made` now; None where there is none."""

    strategy_id: str
    seq: int
    recorded: Request | None
    made: Request | None

    def __str__(self) -> str:
        recorded, made = (said(request) for request in (self.recorded, self.made))
        return f"{self.strategy_id} at record {self.seq}: recorded {recorded}, replayed {made}"


class Rehearsal:
    """Owns engine and lanes. Raises StrategyError when a version cannot be loaded or its `init` fails.

    `actions` are the operator's, by id. `ended_cleanly`: at the run's end the host had seen every record; else
    what it makes after its last recorded request may be missing there. `engine` makes its hosts' engines.
    `patience` is what is had with one that comes no further.
    """

    def __init__(
        self,
        run: Path,
        config: Config,
        entry: StrategyEntry,
        history: History,
        names: Sequence[str],
        actions: Mapping[int, Action],
        *,
        ended_cleanly: bool,
        patience: Patience,
        engine: type[Engine] = Engine,
    ) -> None:
        self.strategy_id = entry.id
        self.version = ""  # of the strategy, as the run keeps it; none before its first host begins
        self.engine: Engine | None = None  # of the host there is
        self.unsent = 0  # requests that a host was killed too early to send
        self.same = 0
        self.difference: Difference | None = None
        self._run, self._config, self._entry = run, config, entry
        self._happened = deque(history.happened)
        self._recorded = history.requests
        self._fed = 0  # of them the ledger's lane has had so many
        self._may_lose = history.diverged or not ended_cleanly
        self._names = names
        self._actions = actions
        self._patience = patience
        self._make_engine = engine
        self.ledger = self._lane()
        for name in names:
            self.ledger.broker.watch_series(name)
        self._hangs = False  # it does not come back from a record, until another host begins
        self._steps: list[Step] = []

    def _lane(self) -> Lane:
        return opened_lane(self._config, self.strategy_id, self._actions.get)

    def step(self, rows: Sequence[Record]) -> list[Step]:
        """Go over some more records, without a hole; what was made again, as far as it is the same."""
        first, at = rows[0][0], 0
        while self._happened and self._happened[0].seq < first + len(rows) and self.difference is None:
            change = self._happened[0]
            cut = max(at, change.seq - first)
            self._go(rows[at:cut])
            self._happened.popleft()
            if isinstance(change, Beginning):
                self._begin(change)
                at = cut
            else:
                at = self._miss(change, rows, cut, first)
        self._go(rows[at:])
        return self._take_steps()

    def finish(self) -> list[Step]:
        """The run's end: the last host's `on_stop`, and nothing that was recorded may be left."""
        for change in self._happened:
            if isinstance(change, Beginning) and self.difference is None:
                self._begin(change)
        self._happened.clear()
        if self.engine is not None and self.difference is None:
            if not self._hangs:
                self.engine.stop()
            self._compare(may_lose=self._may_lose)
            self._nothing_left(NEVER)
        return self._take_steps()

    def _take_steps(self) -> list[Step]:
        steps, self._steps = self._steps, []
        return steps

    # ---------------------------------------------------------------------------------------- the records

    def _go(self, rows: Sequence[Record]) -> None:
        """Host and ledger process records that both saw."""
        if rows and self.difference is None:
            self._go_host(rows)
            self._go_ledger(rows)

    def _go_host(self, rows: Sequence[Record]) -> None:
        engine = self.engine
        if engine is None or self._hangs:
            return
        try:
            with self._patience.until(lambda: engine.at):
                engine.consume(rows)
        except TakenBack:
            self._hangs = True  # as its host did: nothing more came of that one
        engine.take_reports()
        engine.take_lines()
        following = next((change for change in self._happened if isinstance(change, Beginning)), None)
        killed = following is not None and following.what == "restart"
        self._compare(may_lose=killed or (following is None and self._may_lose))

    def _go_ledger(self, rows: Sequence[Record]) -> None:
        """Each of the journal's requests at its record."""
        lane, first, at = self.ledger, rows[0][0], 0
        while self._fed < len(self._recorded):
            request = self._recorded[self._fed]
            cut = request.cause_seq + 1 - first
            if cut > len(rows):
                break
            lane.advance(rows[at:cut], self._names)
            at = max(at, cut)
            lane.submit(request)
            self._fed += 1
        lane.advance(rows[at:], self._names)
        lane.reports.clear()

    def _miss(self, change: Missed, rows: Sequence[Record], at: int, first: int) -> int:
        """Records that one of the two did not see; where they go beyond `rows`, the rest comes with the next."""
        stop = min(change.stop, first + len(rows))
        if stop < change.stop:
            self._happened.appendleft(msgspec.structs.replace(change, seq=stop))
        seen = rows[at : stop - first]
        if change.by_host and self.engine is not None:
            self.engine.missed(stop)
        elif not change.by_host and seen:
            self._go_host(seen)
        self.ledger.missed(stop)
        return max(at, stop - first)

    # ------------------------------------------------------------------------------------------ the hosts

    def _begin(self, beginning: Beginning) -> None:
        """A host begins with what the ledger knows; the one before has done what is recorded of it."""
        if self.engine is not None:
            unmatched = self.same < len(self._recorded) and (
                self._recorded[self.same].cause_seq < beginning.seq
            )
            if (beginning.what == "reload" or unmatched) and not self._hangs:  # it was not killed
                self.engine.stop()
            self._hangs = False
            self._compare(may_lose=beginning.what == "restart")
            self._nothing_left(beginning.seq)
        if self.difference is not None:
            return
        lane = self._lane()
        restore(lane, take_state(self.ledger))
        self.engine = self._make_engine(
            self.strategy_id,
            load_strategy(kept_version(self._run, beginning.version, resolve(self._entry.path).name)),
            kept_params(self._run, beginning.version, self._entry.params),
            self._names.__getitem__,
            lambda _: None,
            wanted=self._entry.symbols,
            lane=lane,
        )
        self.version = beginning.version

    def _compare(self, *, may_lose: bool) -> None:
        """What the host has made, with what is recorded; behind its last recorded request it `may_lose` some."""
        assert self.engine is not None
        last = self._last_of_this_host()
        for made in self.engine.take_requests():
            recorded = self._recorded[self.same] if self.same < last else None
            if recorded is None and may_lose:
                self.unsent += 1
            elif recorded is None or told(recorded) != told(made):
                seq = min(request.cause_seq for request in (recorded, made) if request is not None)
                self.difference = self.difference or Difference(self.strategy_id, seq, recorded, made)
                return
            else:
                assert made.timestamp is not None
                self._steps.append(Step(made.cause_seq, made.timestamp, self.strategy_id, made))
                self.same += 1

    def _last_of_this_host(self) -> int:
        """Up to where the recorded requests are this host's: those caused before the next one begins."""
        following = next((change.seq for change in self._happened if isinstance(change, Beginning)), NEVER)
        return bisect_left(self._recorded, following, key=lambda request: request.cause_seq)

    def _nothing_left(self, below: int) -> None:
        """What is recorded of records before `below` was made, too."""
        if self.difference is None and self.same < len(self._recorded):
            recorded = self._recorded[self.same]
            if recorded.cause_seq < below:
                self.difference = Difference(self.strategy_id, recorded.cause_seq, recorded, None)


def told(request: Request) -> Request:
    """A request without the wall clock of its sender."""
    return msgspec.structs.replace(request, sent_wall=0) if isinstance(request, Order) else request


def said(request: Request | None) -> str:
    """A request for a person."""
    if request is None:
        return "nothing"
    if isinstance(request, Order):
        prices = [
            f"{name} {price!r}"
            for name, price in (("limit", request.limit_price), ("stop", request.stop_price))
            if price
        ]
        terms = " ".join(
            [str(request.type), str(request.tif), *prices, *([request.tag] if request.tag else [])]
        )
        return f"{request.client_order_id} {request.side} {request.quantity!r} {request.symbol} ({terms})"
    return f"{request.client_order_id} cancel {request.target}"
