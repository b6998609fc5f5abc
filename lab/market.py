"""A configured market as the tape it makes, without sockets or clock.

    market = Market(config)
    while len(records := market.read(65536)):
        ...                                   # as they would stand in tape.bin, wall times 0

A feed session that an OrderBook hears from its first frame on becomes exactly these records: numbered from
0 in the provider's order, prices the floats that the wire's decimals are read as, slots those of the
configured symbols, then of others as they come by.
"""

from typing import Final, NamedTuple

import numpy as np

from config import Config
from Gateway.providers import Batch
from Gateway.providers.provider import take
from Gateway.source import make_provider
from Recorder.tape_file import Records
from shared_memory_utils import RECORD_DTYPE
from trading_lib.models import Kind

_NO_SLOT: Final = -1


class End(NamedTuple):
    """Where a tape stopped: after so many records of the source; `ts` of the END behind them, None: no END."""

    records: int
    ts: int | None


class Market:
    """Owns the provider. Raises DataError and ValueError as providers do.

    `names` are the symbols by slot, of every record read so far. `end` stops the market where another one
    has been stopped.
    """

    def __init__(self, config: Config, end: End | None = None) -> None:
        self._source = make_provider(config)[0]
        self._end = end
        self._next_seq = 0
        self.names = list(config.symbols)
        slots = {name: slot for slot, name in enumerate(self.names)}
        self._slots = np.array([slots.get(name, _NO_SLOT) for name in self._source.symbols], np.int64)
        self._scales = 10.0 ** np.array(
            self._source.decimals
        )  # exact: no tick size has more than 22 decimals

    def read(self, limit: int) -> Records:
        """Up to `limit` next records; none: the market has ended."""
        end = self._end
        if end is not None and self._next_seq >= end.records:
            return self._last(end)
        wanted = limit if end is None else min(limit, end.records - self._next_seq)
        return self._records(take(self._source, wanted, wanted))

    def _last(self, end: End) -> Records:
        """The END of a market that was stopped, once."""
        if end.ts is None or self._next_seq > end.records:
            return np.empty(0, RECORD_DTYPE)
        last = np.zeros(1, RECORD_DTYPE)
        last["seq"], last["ts"], last["kind"] = self._next_seq, end.ts, Kind.END
        self._next_seq += 1
        return last

    def _records(self, batch: Batch) -> Records:
        records = np.zeros(batch.size, RECORD_DTYPE)
        records["seq"] = np.arange(self._next_seq, self._next_seq + batch.size)
        self._next_seq += batch.size
        ticks = batch.kinds == Kind.TICK
        named = ticks | (batch.kinds == Kind.NEWS)
        records["ts"], records["kind"] = batch.times, batch.kinds
        records["value"] = np.where(ticks, batch.values / self._scales[batch.symbols], batch.values)
        slots = self._slots[batch.symbols]
        if (slots < 0).any() and (slots[named] < 0).any():
            self._name(batch.symbols[named])
            slots = self._slots[batch.symbols]
        records["slot"] = np.where(named, slots, 0)
        return records

    def _name(self, symbols: np.ndarray[tuple[int], np.dtype[np.int32]]) -> None:
        """Give those of the source's symbols that have none a slot, in the order in which they come."""
        fresh, first = np.unique(symbols[self._slots[symbols] < 0], return_index=True)
        for symbol in fresh[np.argsort(first)].tolist():
            self._slots[symbol] = len(self.names)
            self.names.append(self._source.symbols[symbol])

    def close(self) -> None:
        """Close the source."""
        self._source.close()
