"""A host over a strategy text, fed with records of the test's choosing."""

import logging
import textwrap
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from shared_memory_utils import RECORD
from Strategy.host import Host, load_strategy
from trading_lib.broker import Terms
from trading_lib.lane import Lane, Request
from trading_lib.models import Kind
from trading_lib.risk import Limits

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
    """A host over a strategy text; `feed` gives it records with consecutive numbers from 100, `STEP` apart.

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
        self.log = logging.getLogger(f"test.{folder.name}")
        self.named: list[int] = []
        latency = Terms().latency_ns if travel is None else round(travel * STEP)
        terms = Terms(latency_ns=latency, slippage_bps=0, commission_bps=0)
        lane = Lane("mine", terms, limits or Limits())
        params = options.pop("params", {})
        self.host = Host("mine", self.module, params, self._symbol_of, self.log, lane=lane, **options)
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
        """Let the host consume; the requests that came of it."""
        self.host.consume(self.pack(records))
        return self.host.take_requests()

    def pack(self, records: Iterable[Record]) -> bytes:
        """The next records as they are on a tape."""
        packed = b""
        for kind, slot, value in records:
            packed += RECORD.pack(self._seq, TS + self._seq * STEP, value, 0, 0, slot, kind)
            self._seq += 1
        return packed
