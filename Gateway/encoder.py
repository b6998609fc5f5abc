"""Batches of records to frames. The compiled encoder and the plain one write the same bytes."""

from collections.abc import Callable
from typing import Final

import numpy as np

from Gateway.providers.provider import Batch, ticks
from trading_lib import wire
from trading_lib.jit import compiled, warm
from trading_lib.models import Kind

_MARKS: Final = {Kind.TIME: "T", Kind.EPOCH: "E", Kind.END: "X"}
WORTH_COMPILING: Final = 3  # records from which on a kernel call costs less than the loop


class Encoder:
    """Writes frames for one provider's symbols."""

    def __init__(self, symbols: tuple[str, ...], decimals: tuple[int, ...]) -> None:
        self._symbols = symbols
        self._scales = tuple(10**places for places in decimals)
        self._compiled = None
        if compiled():
            from Gateway.compiled_encoder import CompiledEncoder

            self._compiled = CompiledEncoder(symbols, decimals)

    @classmethod
    def warm(cls, announce: Callable[[str], None]) -> None:
        """Compile what is compiled, before it is needed; `announce` is told if that takes long."""
        if not compiled():
            return
        encoder = cls(("WARM",), (4,))
        ones = np.ones(WORTH_COMPILING, np.int64)
        batch = ticks(np.zeros(WORTH_COMPILING, np.int32), ones, ones)
        warm("Gateway", announce, lambda: (encoder.session(batch), encoder.plain_ticks(batch)))

    def session(self, batch: Batch) -> bytes:
        """The batch as frames of the feed session, without a `!S` in front."""
        if self._compiled is not None and batch.size >= WORTH_COMPILING:
            encoded = self._compiled.session(batch)
            if encoded is not None:
                return encoded
        return wire.join(self._session_frames(batch))

    def plain_ticks(self, batch: Batch) -> tuple[bytes, int]:
        """The ticks as plain frames, and their number."""
        if self._compiled is not None and batch.size >= WORTH_COMPILING:
            encoded = self._compiled.plain_ticks(batch)
            if encoded is not None:
                return encoded
        frames = [
            wire.encode_tick(self._symbols[symbol], value / self._scales[symbol])
            for kind, symbol, value in _columns(batch)
            if kind == Kind.TICK
        ]
        return wire.join(frames), len(frames)

    def plain_news(self, batch: Batch) -> tuple[bytes, int]:
        """The news as plain frames, and their number."""
        if not (batch.kinds == Kind.NEWS).any():
            return b"", 0
        frames = [
            wire.encode_news(self._symbols[symbol], value)
            for kind, symbol, value in _columns(batch)
            if kind == Kind.NEWS
        ]
        return wire.join(frames), len(frames)

    def _session_frames(self, batch: Batch) -> list[bytes]:
        symbols, scales = self._symbols, self._scales
        frames = []
        for (kind, symbol, value), ts in zip(_columns(batch), batch.times.tolist(), strict=True):
            if kind == Kind.TICK:
                frames.append(wire.encode_tick(symbols[symbol], value / scales[symbol], ts))
            elif kind == Kind.NEWS:
                frames.append(wire.encode_session_news(symbols[symbol], value, ts))
            elif kind == Kind.GAP:
                frames.append(wire.encode_control("G", value, ts))
            else:
                frames.append(wire.encode_control(_MARKS[Kind(kind)], ts))
        return frames


def _columns(batch: Batch) -> "zip[tuple[int, int, int]]":
    return zip(batch.kinds.tolist(), batch.symbols.tolist(), batch.values.tolist(), strict=True)
