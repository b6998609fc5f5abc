"""An engine over a strategy text, fed with records of the test's choosing."""

import textwrap
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from trading_lib.broker import Terms
from trading_lib.engine import Engine
from trading_lib.lane import Lane, Request
from trading_lib.lane import Record as TapeRecord
from trading_lib.models import Kind
from trading_lib.risk import Limits
from trading_lib.strategy_file import load_strategy

TS = 1_735_828_200_000_000_000
STEP = 1000  # ns of event time from one record to the next
SYMBOLS = ("AAPL", "MSFT", "IBM")
Record = tuple[Kind, int, float]  # kind, slot, value

EPOCH: Record = (Kind.EPOCH, 0, 0)
MARKS: list[Record] = [(kind, 0, 0) for kind in (Kind.TIME, Kind.CONTROL, Kind.END)]


def ticks(*prices: float, slot: int = 0) -> list[Record]:
    return [(Kind.TICK, slot, price) for price in prices]


def news(sentiment: int, slot: int = 0) -> Record:
    return (Kind.NEWS, slot, sentiment)


class Run:
    """An engine over a strategy text; `feed` gives it records with consecutive numbers from 100, `STEP` apart.

    `travel`: for how many records an order is on its way; None: for longer than any test.
    """

    def __init__(
        self,
        folder: Path,
        source: str,
        *,
        travel: float | None = None,
        limits: Limits | None = None,
        **options: Any,
    ) -> None:
        path = folder / "strategy.py"
        path.write_text(textwrap.dedent(source))
        self.path = path
        self.module = load_strategy(path)
        self.warnings: list[str] = []
        self.named: list[int] = []
        latency = Terms().latency_ns if travel is None else round(travel * STEP)
        terms = Terms(latency_ns=latency, slippage_bps=0, commission_bps=0)
        lane = Lane("mine", terms, limits or Limits())
        params = options.pop("params", {})
        self.engine = Engine(
            "mine", self.module, params, self._symbol_of, self.warnings.append, lane=lane, **options
        )
        self._seq = 100

    def _symbol_of(self, slot: int) -> str:
        self.named.append(slot)
        return SYMBOLS[slot]

    @property
    def seen(self) -> list[Any]:
        """What the strategy collected in its list `seen`."""
        found: list[Any] = self.module.seen
        return found

    def feed(self, records: Iterable[Record]) -> list[Request]:
        """Let the engine consume; the requests that came of it."""
        self.engine.consume(self.number(records))
        return self.engine.take_requests()

    def number(self, records: Iterable[Record]) -> list[TapeRecord]:
        """The next records as they are on a tape."""
        numbered = []
        for kind, slot, value in records:
            numbered.append((self._seq, TS + self._seq * STEP, value, 0, 0, slot, int(kind)))
            self._seq += 1
        return numbered
