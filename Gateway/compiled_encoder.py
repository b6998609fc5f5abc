"""The compiled encoder: arrays in, bytes out. None means that `wire` must write this batch."""

import numpy as np

from Gateway.providers.provider import Batch
from trading_lib.wire import MAX_SYMBOL
from trading_lib.wire_kernels import BYTES_PER_FRAME, encode_plain_ticks, encode_session


class CompiledEncoder:
    """Holds what the kernels need to know of a provider's symbols, and a buffer that grows to the largest batch."""

    def __init__(self, symbols: tuple[str, ...], decimals: tuple[int, ...]) -> None:
        self._names = np.zeros((len(symbols), MAX_SYMBOL), np.uint8)
        for i, symbol in enumerate(symbols):
            self._names[i, : len(symbol)] = np.frombuffer(symbol.encode(), np.uint8)
        self._lengths = np.array([len(symbol) for symbol in symbols], np.int64)
        self._decimals = np.array(decimals, np.int64)
        self._out = np.empty(0, np.uint8)

    def _room(self, batch: Batch) -> None:
        if self._out.shape[0] < batch.size * BYTES_PER_FRAME:
            self._out = np.empty(batch.size * BYTES_PER_FRAME, np.uint8)

    def session(self, batch: Batch) -> bytes | None:
        """Session frames."""
        self._room(batch)
        size = encode_session(
            batch.kinds,
            batch.symbols,
            batch.values,
            batch.times,
            self._names,
            self._lengths,
            self._decimals,
            self._out,
        )
        return None if size < 0 else self._out[:size].tobytes()

    def plain_ticks(self, batch: Batch) -> tuple[bytes, int] | None:
        """Plain tick frames and their number."""
        self._room(batch)
        size, frames = encode_plain_ticks(
            batch.kinds, batch.symbols, batch.values, self._names, self._lengths, self._decimals, self._out
        )
        return None if size < 0 else (self._out[:size].tobytes(), frames)
