"""The recorded tape as lines of `events.jsonl`; what they say is in event_lines.py.

text = TapeText()
data, ends = text.lines(tape, names)      # ends[i]: where the line of record i ends in `data`
"""

from collections.abc import Callable, Sequence
from typing import Any, Final

import msgspec
import numpy as np
import numpy.typing as npt

from Recorder.tape_file import Records
from shared_memory_utils import RECORD_DTYPE
from trading_lib import jit
from trading_lib.models import Kind
from trading_lib.wire import MAX_SYMBOL

WORTH_COMPILING: Final = 512  # lines at once from which on it is worth loading the kernels

Ends = npt.NDArray[np.int64]

_TICK, _NEWS = int(Kind.TICK), int(Kind.NEWS)
_MARKS: Final = {int(kind): kind.name.lower() for kind in Kind}
_encode: Final = msgspec.json.Encoder().encode


def line(seq: int, ts: int, value: float, slot: int, kind: int, names: Sequence[str]) -> bytes:
    """One record's line; `names[slot]` is its symbol."""
    if kind == _TICK:
        return f'{{"tape_seq":{seq},"type":"tick","ts":"{ts}","symbol":"{names[slot]}","price":{value!r}}}\n'.encode()
    fields: dict[str, Any] = {"tape_seq": seq, "type": _MARKS.get(kind, str(kind)), "ts": str(ts)}
    fields |= {"symbol": names[slot], "sentiment": int(value)} if kind == _NEWS else {"value": value}
    return _encode(fields) + b"\n"


def plain_lines(tape: Records, names: Sequence[str]) -> list[bytes]:
    """A line for each record."""
    columns = (tape[name].tolist() for name in ("seq", "ts", "value", "slot", "kind"))
    rows = zip(*columns, strict=True)
    return [line(seq, ts, value, slot, kind, names) for seq, ts, value, slot, kind in rows]


class TapeText:
    """Writes lines; many at once with kernels, where there are any."""

    def __init__(self) -> None:
        self._names = np.zeros((0, MAX_SYMBOL), np.uint8)
        self._lengths = np.zeros(0, np.int64)
        self._out = np.empty(0, np.uint8)

    @classmethod
    def warm(cls, announce: Callable[[str], None]) -> None:
        """Compile what is compiled, if that was never done; `announce` is told."""
        if jit.compiled() and not jit.warmed("Recorder"):
            one = np.frombuffer(
                bytes(RECORD_DTYPE.itemsize), RECORD_DTYPE
            )  # read-only, as what is read of a file
            jit.warm("Recorder", announce, lambda: cls()._compiled(one, ["WARM"]))

    def lines(self, tape: Records, names: Sequence[str]) -> tuple[bytes, Ends]:
        """Every record's line, and where each ends: int64[n]."""
        if len(tape) >= WORTH_COMPILING and jit.compiled():
            return self._compiled(tape, names)
        return _joined(plain_lines(tape, names))

    def _compiled(self, tape: Records, names: Sequence[str]) -> tuple[bytes, Ends]:
        from Recorder.tape_text_kernels import BYTES_PER_LINE, write_lines

        self._know(names)
        if self._out.shape[0] < len(tape) * BYTES_PER_LINE:
            self._out = np.empty(len(tape) * BYTES_PER_LINE, np.uint8)
        ends = np.empty(len(tape), np.int64)
        write_lines(tape, self._names, self._lengths, self._out, ends)
        data = self._out[: ends[-1]].tobytes()
        left_out = np.flatnonzero(np.diff(ends, prepend=0) == 0)
        return (
            _completed(data, ends, left_out, plain_lines(tape[left_out], names))
            if left_out.size
            else (data, ends)
        )

    def _know(self, names: Sequence[str]) -> None:
        known = len(self._lengths)
        if len(names) > known:
            encoded = [name.encode() for name in names[known:]]
            rows = b"".join(name.ljust(MAX_SYMBOL, b"\0") for name in encoded)
            self._names = np.vstack([self._names, np.frombuffer(rows, np.uint8).reshape(-1, MAX_SYMBOL)])
            self._lengths = np.append(self._lengths, np.array([len(name) for name in encoded], np.int64))


def _joined(lines: Sequence[bytes]) -> tuple[bytes, Ends]:
    return b"".join(lines), np.cumsum(np.fromiter(map(len, lines), np.int64, len(lines)))


def _completed(
    data: bytes, ends: Ends, places: npt.NDArray[np.intp], lines: Sequence[bytes]
) -> tuple[bytes, Ends]:
    """With the lines that were left out, at their places."""
    pieces: list[bytes | memoryview] = []
    view, at = memoryview(data), 0
    for end, added in zip(ends[places].tolist(), lines, strict=True):
        pieces += view[at:end], added
        at = end
    pieces.append(view[at:])
    lengths = np.diff(ends, prepend=0)
    lengths[places] = [len(added) for added in lines]
    return b"".join(pieces), np.cumsum(lengths)
