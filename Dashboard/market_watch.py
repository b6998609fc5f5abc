"""The market as the dashboard sees it: what has changed since the last look, at most ten times a second.

Everything comes off the tape, read in bulk: one pass of a few NumPy calls a look, whatever the rate. Last
prices need no look at the book then; it is asked for what came before this reader.
"""

import time
from collections import deque
from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt

from Dashboard.price_history import Floats, Line, PriceHistory, thinned
from shared_memory_utils import RECORD_DTYPE, MarketView, SegmentError
from trading_lib.models import Kind

COPIED: Final = 1 << 16  # records at once: 3 MB
AT_ONCE: Final = 8  # of these a look, at most: then the browsers have their turn
NEWS_KEPT: Final = 200
FINE: Final = 4096  # points that a chart begins with
FINE_RECORDS: Final = 1 << 17  # of the tape's last, which are looked through for a new chart
PER_LOOK: Final = 60  # points of one symbol that a look gives a chart, at most
RATE_S: Final = 1.0  # rates are counted over so long

Records = npt.NDArray[np.void]


class NewsItem(NamedTuple):
    """One news item; `number` counts them."""

    number: int
    ts: int
    symbol: str
    sentiment: int


class Step(NamedTuple):
    """What a look brought for one chart: points in event time, ms."""

    number: int
    ms: list[float]
    values: list[float]


class Chart:
    """One symbol's newest prices, while somebody looks at them."""

    def __init__(self, slot: int) -> None:
        self.slot = slot
        self.steps: deque[Step] = deque(maxlen=50)
        self.number = 0

    def add(self, ticks: Records) -> None:
        """Take this symbol's ticks of one look."""
        if len(ticks):
            line = thinned(Line(ticks["ts"] / 1e6, ticks["value"]), PER_LOOK)
            self.number += 1
            self.steps.append(Step(self.number, line.ms.tolist(), line.values.tolist()))


class MarketWatch:
    """Follows the tape named `name`, of run `run_id` if that is given. Owns what it is attached to.

    Room is made for `expected` symbols at once, for more as they come.
    """

    def __init__(self, name: str, run_id: str | None, history_s: float, expected: int = 1) -> None:
        self._name = name
        self._expected = expected
        self._wanted = run_id
        self._history_s = history_s
        self._view: MarketView | None = None
        self._rate_at = 0.0
        self._begin("", 1)

    def _begin(self, run_id: str, slots: int) -> None:
        self.run_id = run_id
        self.symbols: tuple[str, ...] = ()
        self.prices = np.full(slots, np.nan)
        self.first = np.full(slots, np.nan)  # of this epoch
        self.times = np.zeros(slots, np.int64)
        self.sentiment = np.full(slots, np.nan)
        self.rates = np.zeros(slots)
        self.changed = np.zeros(slots, bool)
        self._versions = np.zeros(slots, np.int64)
        self.history = PriceHistory(self._history_s, slots)
        self.charts: dict[str, Chart] = {}
        self.news: deque[NewsItem] = deque(maxlen=NEWS_KEPT)
        self.news_count = 0
        self.epoch = 0
        self.ts = 0
        self.seq = 0
        self.ticks = 0
        self.missed = 0

    # --------------------------------------------------------------------------------------- attaching

    @property
    def attached(self) -> bool:
        """Whether there is a market."""
        return self._view is not None

    @property
    def lag(self) -> int:
        """Records on the tape that were not looked at yet."""
        return self._view.lag if self._view is not None else 0

    def _attach(self) -> bool:
        try:
            view = MarketView(self._name)
        except SegmentError:
            return False
        if self._wanted not in (None, view.run_id):
            view.close()
            return False
        if view.run_id != self.run_id:
            self._begin(view.run_id, max(view.book.count, self._expected))
            view.tape.cursor = max(0, view.tape.tail - min(FINE_RECORDS, view.tape.capacity // 2))
        else:
            view.tape.cursor = min(self.seq, view.tape.tail)
        self._view = view
        self._grow()
        self._take_book(view)
        return True

    def _take_book(self, view: MarketView) -> None:
        """Last prices from before this reader."""
        for slot in range(len(self.symbols)):
            price, ts = view.book.read_slot(slot)
            if price is not None and ts is not None:
                self.prices[slot], self.times[slot] = price, ts
        self.changed[:] = True

    def _grow(self) -> None:
        view = self._view
        assert view is not None
        if view.book.count == len(self.symbols):
            return
        self.symbols = view.book.symbols
        more = len(self.symbols) - len(self.prices)
        if more > 0:
            for name in ("prices", "first", "sentiment"):
                setattr(self, name, np.append(getattr(self, name), np.full(more, np.nan)))
            for name in ("times", "rates", "changed", "_versions"):
                array = getattr(self, name)
                setattr(self, name, np.append(array, np.zeros(more, array.dtype)))

    # ----------------------------------------------------------------------------------------- looking

    def look(self) -> bool:
        """Take what is new; False when there is no market. `changed` gathers until a frame has taken it."""
        view = self._view
        if view is None:
            if not self._attach():
                return False
            view = self._view
            assert view is not None
        for _ in range(AT_ONCE):
            packed = view.tape.take(COPIED)
            if not packed:
                break
            self._grow()
            self._take(np.frombuffer(packed, RECORD_DTYPE))
        self.seq = view.tape.cursor
        self.missed = view.tape.missed
        self._count_rates(view)
        if view.finished:
            self.close()
        return True

    def _take(self, records: Records) -> None:
        kinds = records["kind"]
        self.ticks += int(np.count_nonzero(kinds == Kind.TICK))
        if records["ts"][0] < self.ts:
            self._clear()  # an epoch began among what was missed
        epochs = np.flatnonzero(kinds == Kind.EPOCH)
        if len(epochs):
            self.epoch += len(epochs)
            records = records[epochs[-1] + 1 :]
            kinds = records["kind"]
            self._clear()
        if not len(records):
            return
        self.ts = int(records["ts"][-1])
        ticks = records[kinds == Kind.TICK]
        slots = ticks["slot"].astype(np.intp)
        values = ticks["value"]
        self.prices[slots] = values  # of several for one slot the last stays
        self.times[slots] = ticks["ts"]
        self.changed[slots] = True
        unseen = np.isnan(self.first[slots])
        if unseen.any():
            self.first[slots[unseen][::-1]] = values[unseen][::-1]
        self.history.add(ticks["booked"], ticks["ts"], slots, values)
        for chart in self.charts.values():
            chart.add(ticks[slots == chart.slot])
        self._take_news(records[kinds == Kind.NEWS])

    def _clear(self) -> None:
        """An epoch begins: last prices and everything on the axis of event time are of the one before."""
        self.ts = 0
        self.first[:] = np.nan
        self.history.clear()
        self.news.clear()
        self.charts.clear()  # who looks at one begins anew

    def _take_news(self, items: Records) -> None:
        slots = items["slot"]
        self.sentiment[slots] = items["value"]
        self.changed[slots] = True
        self.news_count += len(items)
        number = self.news_count - len(items[-NEWS_KEPT:])
        for _, ts, value, _, _, slot, _ in items[-NEWS_KEPT:].tolist():
            number += 1
            self.news.append(NewsItem(number, ts, self.symbols[slot], int(value)))

    def _count_rates(self, view: MarketView) -> None:
        now = time.monotonic()
        elapsed = now - self._rate_at
        if elapsed >= RATE_S:
            versions = view.book.versions()[: len(self._versions)]
            rates = (versions - self._versions[: len(versions)]) / elapsed
            self.rates[: len(rates)] = np.where(self._versions[: len(versions)] > 0, rates, 0)
            self._versions[: len(versions)] = versions
            self._rate_at = now
            self.changed[:] = True  # also who is silent now has a rate: zero

    # ------------------------------------------------------------------------------------------ charts

    def chart(self, symbol: str) -> Chart | None:
        """The newest prices of a symbol, from now on; None for an unknown one."""
        if symbol not in self.charts and symbol in self.symbols:
            self.charts[symbol] = Chart(self.symbols.index(symbol))
        return self.charts.get(symbol)

    def beginning(self, symbol: str) -> Line:
        """What a chart begins with: decimated history, and then every tick that is still on the tape."""
        slot = self.symbols.index(symbol)
        fine = self._fine(slot)
        coarse = self.history.line(slot)
        if not len(fine.ms):
            return coarse
        before = int(np.searchsorted(coarse.ms, fine.ms[0]))
        return Line(np.append(coarse.ms[:before], fine.ms), np.append(coarse.values[:before], fine.values))

    def _fine(self, slot: int) -> Line:
        view = self._view
        if view is None:
            return Line(np.empty(0), np.empty(0))
        tape = view.tape
        cursor, missed = tape.cursor, tape.missed
        tape.cursor = max(0, cursor - min(FINE_RECORDS, tape.capacity // 4))
        try:
            records = np.frombuffer(tape.take(cursor - tape.cursor), RECORD_DTYPE)
        finally:
            tape.cursor, tape.missed = cursor, missed
        epochs = np.flatnonzero(records["kind"] == Kind.EPOCH)
        if len(epochs):
            records = records[epochs[-1] + 1 :]
        ticks = records[(records["kind"] == Kind.TICK) & (records["slot"] == slot)][-FINE:]
        return Line(ticks["ts"] / 1e6, np.array(ticks["value"], np.float64))

    def close(self) -> None:
        """Let go of the market."""
        if self._view is not None:
            self._view.close()
            self._view = None


def json_safe(values: Floats) -> list[float | None]:
    """A column for JSON: NaN is None."""
    return [None if value != value else value for value in values.tolist()]
