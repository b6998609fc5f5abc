"""How a strategy stands while it trades: drawdown, Sharpe ratio and exposure, from its accounts as they come.

    standing = Standing()
    standing.add(account)
    standing.now().sharpe

O(1) an account and bounded memory. The equity is sampled on a grid of event time that begins with the epoch:
every second, until that would be more than `CAPACITY` points; then every two seconds, four, and so on. What
the report says in the end rests on its own, stated grid.
"""

from typing import Final, NamedTuple

from trading_lib.metrics import sharpe, year_basis
from trading_lib.models import NS_PER_S, Account

CAPACITY: Final = 1024  # samples, 8 KiB a strategy
FEWEST: Final = (
    30  # samples that make a Sharpe ratio: of a few seconds, annualised, it would only be a large number
)


class Rating(NamedTuple):
    """`drawdown` (positive) and `sharpe` (a year) of this epoch. None: undefined.

    `step_ns` is how far apart the samples are that the Sharpe ratio rests on. `exposure` is the share of the
    time between the epoch's first account and its last in which a position was held.
    """

    drawdown: float | None
    sharpe: float | None
    step_ns: int
    exposure: float | None = None


class Standing:
    """Takes a lane's accounts in their order."""

    def __init__(self) -> None:
        self._equity = 0.0
        self._epoch = -1
        self._begin(0, 0.0)

    def _begin(self, ts: int, peak: float) -> None:
        """A new epoch: its grid, its peak."""
        self._start = self._ts = ts
        self._step = NS_PER_S
        self._samples: list[float] = []  # at start, start + step, …: all grid points before `_ts`
        self._peak = peak
        self._drawdown = 0.0
        self._holds = False
        self._held_ns = 0

    def add(self, account: Account) -> None:
        """One account."""
        equity = account.equity
        if account.epoch != self._epoch:
            if self._epoch < 0:
                self._equity = initial_equity(account)
            self._epoch = account.epoch
            self._begin(account.ts, self._equity)
        self._sample_until(account.ts)
        if self._holds and account.ts > self._ts:
            self._held_ns += account.ts - self._ts
        self._holds = bool(account.positions)
        self._ts, self._equity = max(self._ts, account.ts), equity
        if equity > self._peak:
            self._peak = equity
        elif self._peak > 0:
            self._drawdown = max(self._drawdown, (self._peak - equity) / self._peak)

    def _sample_until(self, ts: int) -> None:
        """The grid points before `ts` have the equity known until now."""
        while (ts - self._start) // self._step >= CAPACITY:
            self._step *= 2
            self._samples = self._samples[::2]
        points = -((self._start - ts) // self._step)  # that lie before ts
        self._samples += [self._equity] * (points - len(self._samples))

    def now(self) -> Rating:
        """As it is after the last account."""
        if self._epoch < 0:
            return Rating(None, None, self._step)
        year = year_basis(self._step, sessions=False).periods_per_year
        drawdown = self._drawdown if self._peak > 0 else None
        passed = self._ts - self._start
        exposure = self._held_ns / passed if passed else None
        samples = self.samples()
        ratio = sharpe(samples, year) if len(samples) >= FEWEST else None
        return Rating(drawdown, ratio, self._step, exposure)

    def samples(self) -> list[float]:
        """The equity on the grid, up to the last account's time."""
        on_grid = (self._ts - self._start) % self._step == 0
        return [*self._samples, self._equity] if on_grid else self._samples.copy()


def initial_equity(account: Account) -> float:
    """What a lane began with, to a millionth: it follows from any of its accounts."""
    return round(account.equity - account.realized - account.unrealized + account.commission, 6)
