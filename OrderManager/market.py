"""The market as the ledger reads it: one tape and its price book, at any lane's place."""

from collections.abc import Iterator
from typing import Final

from shared_memory_utils import RECORD, MarketView
from trading_lib.lane import Lane, Record
from trading_lib.models import Kind

CHUNK: Final = 4096  # records read at once
_TICK: Final = int(Kind.TICK)
_EPOCH: Final = int(Kind.EPOCH)


class Market:
    """A tape and its book, both of one run. Raises SegmentError while there is none. Owns both."""

    def __init__(self, name: str) -> None:
        self._view = view = MarketView(name)
        self._tape, self._book = view.tape, view.book
        self.run_id = view.run_id
        self._names: list[str] = []
        self._looked_up: tuple[int, Record | None] = (-1, None)

    @property
    def tail(self) -> int:
        """The number the next record will get."""
        return self._tape.tail

    @property
    def capacity(self) -> int:
        """Records the tape holds."""
        return self._tape.capacity

    @property
    def closed(self) -> bool:
        """Whether nothing will be written any more."""
        return self._tape.closed

    def record(self, seq: int) -> Record | None:
        """One record, None if it is not on the tape (any more)."""
        if self._looked_up[0] != seq or self._looked_up[1] is None:  # orders come in bursts for one record
            self._looked_up = (seq, self._tape.record(seq))
        return self._looked_up[1]

    def names(self) -> list[str]:
        """The symbol of every slot that any record read so far can name."""
        if self._book.count > len(self._names):
            self._names.extend(self._book.symbols[len(self._names) :])
        return self._names

    def read(self, start: int, stop: int) -> bytes:
        """Some of the records [start, stop), packed, in order; from a later one on if the first are gone."""
        self._tape.cursor = start
        return self._tape.take(min(CHUNK, stop - start))

    def bring(self, lane: Lane, stop: int) -> Iterator[tuple[int, int]]:
        """Advance `lane` to `stop`; yields (from, to) of records that were missed."""
        while lane.next_seq < stop:
            packed = self.read(lane.next_seq, stop)
            if not packed:
                return
            first = min(RECORD.unpack_from(packed)[0], stop)
            if first != lane.next_seq:
                yield lane.next_seq, first
                lane.missed(first)
                packed = packed[: (stop - first) * RECORD.size]  # the reader was taken further than it asked
            known = len(self._names)
            names = self.names()
            for symbol in names[known:]:
                lane.broker.watch_series(symbol)
            lane.advance(RECORD.iter_unpack(packed), names)

    def watch_series(self, lane: Lane) -> None:
        """Tell a new lane of every series there is."""
        for symbol in self.names():
            lane.broker.watch_series(symbol)

    def prices_before(self, seq: int, since: int) -> tuple[dict[str, float], dict[str, int], bool]:
        """Last prices and their times as of record `seq`, from what is left of the tape from `since` on.

        The third value says whether an epoch began in between: then nothing older counts.
        """
        prices: dict[str, float] = {}
        times: dict[str, int] = {}
        new_epoch = False
        at = max(since, self.tail - self.capacity * 15 // 16, 0)  # a live writer takes the oldest ones away
        while at < seq:
            packed = self.read(at, seq)
            if not packed:
                break
            names = self.names()
            for seq_read, ts, value, _, _, slot, kind in RECORD.iter_unpack(packed):
                if seq_read >= seq:  # lapped: the reader was taken further than it asked
                    return prices, times, new_epoch
                at = seq_read + 1
                if kind == _TICK:
                    prices[names[slot]], times[names[slot]] = value, ts
                elif kind == _EPOCH:
                    prices.clear()
                    times.clear()
                    new_epoch = True
        return prices, times, new_epoch

    def book_prices(self, latest_ts: int) -> dict[str, tuple[float, int]]:
        """What the book says of symbols that have not moved since `latest_ts`, with times in ns."""
        found = {}
        for slot, symbol in enumerate(self.names()):
            price, ts = self._book.read_slot(slot)
            if price is not None and ts is not None and ts <= latest_ts:
                found[symbol] = (price, ts)
        return found

    def close(self) -> None:
        """Let go of both."""
        self._view.close()
