"""Strategies over a market, in event time: what the Strategy and the OrderManager do together, in one loop.

    trial = Trial(config, modules, names)
    facts = trial.step(records)              # what the OrderManager's journal would hold of them

Each strategy has one engine and one lane, which is the host's and the ledger's at once: it hears every
request at the record that caused it, and keeps the accounts.
"""

from collections import deque
from collections.abc import Callable, Mapping, Sequence
from itertools import repeat
from types import ModuleType
from typing import Any, Final

import msgspec

from config import Config, resolve
from OrderManager.records import STARTED, JournalRecord, Note, Taken
from OrderManager.recovery import final_money
from Recorder.tape_file import Records
from runtime.lanes import make_lane
from trading_lib.control import Action
from trading_lib.engine import Engine
from trading_lib.lane import Lane
from trading_lib.models import OpenOrder
from trading_lib.portfolio import Portfolio

LINES_KEPT: Final = 10_000  # of what strategies log and warn, the newest


class Outcome(msgspec.Struct, frozen=True):
    """What became of one strategy. `why_no_trade`: reasons and how often; `last_error`: with the file's line."""

    strategy_id: str
    ticks: int
    orders: int
    fills: int
    denied: int
    errors: int
    last_error: str
    why_no_trade: dict[str, int]
    open_orders: list[OpenOrder]
    travelling: int  # requests that no record was late enough for


class Trial:
    """Owns the engines. Raises StrategyError where a strategy's `init` does.

    `modules` are the loaded strategy files by id, `versions` their names in the run's folder; `names` the
    symbols by slot, growing as the market names more. `log` keeps what strategies said. `engine` makes the
    engines.
    """

    def __init__(
        self,
        config: Config,
        modules: Mapping[str, ModuleType],
        names: Sequence[str],
        versions: Mapping[str, str],
        engine: type[Engine] = Engine,
    ) -> None:
        self.log: deque[str] = deque(maxlen=LINES_KEPT)
        self.engines = [
            engine(
                entry.id,
                modules[entry.id],
                entry.params,
                names.__getitem__,
                self.log.append,
                wanted=entry.symbols,
                lane=_own_lane(config, entry.id),
            )
            for entry in config.Strategy.entries
        ]
        self._facts: list[JournalRecord] = [
            Note(engine.strategy_id, 0, STARTED, versions.get(engine.strategy_id, ""))
            for engine in self.engines
        ]

    def step(self, records: Records) -> list[JournalRecord]:
        """Have every strategy see some more records; the facts that came of it, in an order that a journal has.

        Raises StrategyError where `init` fails at an epoch.
        """
        columns = [records[name].tolist() for name in ("seq", "ts", "value", "slot", "kind")]
        seq, ts, value, slot, kind = columns
        facts, self._facts = self._facts, []
        for engine in self.engines:
            engine.consume(zip(seq, ts, value, repeat(0), repeat(0), slot, kind, strict=False))
            self.log.extend(engine.take_lines())
            _collect(engine, facts)
        return facts

    def finish(self) -> list[JournalRecord]:
        """The market has ended: call every `on_stop`; the facts that came of it."""
        facts: list[JournalRecord] = []
        for engine in self.engines:
            engine.stop()
            self.log.extend(engine.take_lines())
            _collect(engine, facts)
        return facts

    def outcomes(self) -> list[Outcome]:
        """What has become of each strategy so far."""
        return [
            Outcome(
                engine.strategy_id,
                engine.ticks,
                engine.placed,
                engine.fills,
                engine.denied,
                engine.errors,
                engine.last_error,
                engine.why_no_trade(),
                engine.open_orders(),
                engine.lane.travelling,
            )
            for engine in self.engines
        ]


def _own_lane(config: Config, strategy_id: str) -> Lane:
    return opened_lane(config, strategy_id, lambda _: None, account_every=config.OrderManager.account_every)


def opened_lane(
    config: Config, strategy_id: str, action: Callable[[int], Action | None], *, account_every: int = 0
) -> Lane:
    """A lane as the OrderManager opens it at a run's first record; see `runtime.lanes.make_lane`."""
    lane = make_lane(strategy_id, config, "", account_every=account_every)
    lane.action = action
    if config.run.resume is not None:
        money = final_money(resolve(config.run.resume) / "journal.bin").get(strategy_id)
        if money is not None:
            lane.portfolio = Portfolio.from_state(money)
            lane.risk.day_equity = lane.portfolio.equity
    return lane


def _collect(engine: Engine, facts: list[Any]) -> None:
    """Requests before what became of them."""
    lane = engine.lane
    facts += [Taken(engine.strategy_id, 0, 0, request) for request in engine.take_requests()]
    facts += engine.take_reports()
    facts += lane.accounts
    lane.accounts.clear()
