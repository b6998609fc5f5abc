"""One market of a sweep, loaded once for every combination of parameters that is tried on it.

market = SweepMarket(config, split=0.7)
trying = market.try_out(config, module)
trying.inside, trying.outside             # moments of the returns before and after the split
"""

from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from types import ModuleType
from typing import Any, Final, NamedTuple

import msgspec
import numpy as np
import pandas as pd

from config import Config, ConfigError
from lab.market import Market
from lab.trial import Trial
from Recorder.report_sampling import Sampling, sampling_of
from Recorder.run_files import Run
from Recorder.tally import Tally
from trading_lib.measure import Undefined
from trading_lib.metrics import DAY_NS, max_drawdown, returns
from trading_lib.models import Account, Kind
from trading_lib.overfitting import Moments

CHUNK: Final = 1 << 15
NOTHING: Final = Moments(0, 0.0, 0.0, 0.0, 0.0)


class Trying(NamedTuple):
    """One combination on one market. `inside` and `outside` the split: moments of returns, and growth.

    `drawdown` (positive) is of the whole, `errors` counts exceptions of the strategy.
    """

    inside: Moments
    outside: Moments
    growth_inside: float
    growth_outside: float
    drawdown: float
    fills: int
    orders: int
    ticks: int
    errors: int


class SweepMarket:
    """The records of one seed's market. Raises DataError, and ValueError for a market that cannot be.

    Raises ConfigError for more than one pass. `split` is the share of its event time that is in-sample; `basis`
    says how many returns a year has.
    """

    def __init__(self, config: Config, split: float) -> None:
        tally = Tally()
        self._chunks = []
        with closing(Market(config)) as market:
            while len(chunk := market.read(CHUNK)):
                tally.take(chunk)
                self._chunks.append(chunk)
            self._names = market.names
        if tally.counts.epochs > 1:
            raise ConfigError("Gateway.loop: a sweep is over one pass of the data: make the duration shorter")
        self._first = int(self._chunks[0]["ts"][0]) if self._chunks else 0
        self._split = self._first + round(split * (tally.counts.ts - self._first))
        sampling = self._sampled(config, tally)
        self.basis = sampling.basis
        self._samplings = self._cut(sampling)

    def _sampled(self, config: Config, tally: Tally) -> Sampling:
        """As the report of a run would: it wants a run."""
        ticks = [chunk[chunk["kind"] == Kind.TICK] for chunk in self._chunks]
        prices = pd.DataFrame({"ts": np.concatenate([own["ts"] for own in ticks]) if ticks else []})
        bounds = prices["ts"].iloc[[0, -1]] if len(prices) else prices["ts"]
        seen = Run(
            Path(),
            {"median_gap_ns": tally.median_gaps(self._names)},
            msgspec.to_builtins(config),
            pd.DataFrame(),
            pd.DataFrame(),
            pd.DataFrame({"epoch": 0, "ts": bounds}),
            prices.assign(epoch=0, symbol=""),
            (),
        )
        return sampling_of(seen)

    def _cut(self, sampling: Sampling) -> tuple[Sampling, Sampling]:
        """One for each side of the split: of the days with a price, each has its own, and that of the split."""
        if sampling.days is None:
            return sampling, sampling
        days, last = sampling.days[0], self._split // DAY_NS
        inside, outside = days[days <= last], days[days >= last]
        return sampling._replace(days={0: inside}), sampling._replace(days={0: outside})

    def try_out(self, config: Config, module: ModuleType) -> Trying:
        """Run the one strategy of a configuration over the market. Raises StrategyError."""
        entry = config.Strategy.entries[0]
        trial = Trial(config, {entry.id: module}, self._names, {})
        accounts: list[Account] = []
        for chunk in self._chunks:
            accounts += _accounts(trial.step(chunk))
        accounts += _accounts(trial.finish())
        outcome = trial.outcomes()[0]
        cash = config.OrderManager.execution.initial_cash
        ts = np.array([account.ts for account in accounts], np.int64)
        equity = np.array([cash, *(account.equity for account in accounts)], np.float64)
        k = int(np.searchsorted(ts, self._split, side="right"))
        held = float(equity[k])  # at the split, with what is open valued there
        before = _account([*ts[:k], self._split], [*equity[1 : k + 1], held])
        after = _account([self._split, *ts[k:]], [held, *equity[k + 1 :]])
        return Trying(
            _moments(before, self._samplings[0]),
            _moments(after, self._samplings[1]),
            held / cash - 1,
            float(equity[-1]) / held - 1 if held > 0 else 0.0,
            max_drawdown(equity).fraction or 0.0,
            outcome.fills,
            outcome.orders,
            outcome.ticks,
            outcome.errors,
        )


def _account(ts: Sequence[int], equity: Sequence[float]) -> pd.DataFrame:
    return pd.DataFrame({"ts": ts, "equity": equity, "epoch": 0})


def _moments(account: pd.DataFrame, sampling: Sampling) -> Moments:
    try:
        return Moments.of(returns(sampling.of(account)))
    except Undefined:
        return NOTHING


def _accounts(facts: Sequence[Any]) -> list[Account]:
    return [fact for fact in facts if isinstance(fact, Account)]
