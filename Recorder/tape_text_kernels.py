"""Ticks as lines of `events.jsonl`, compiled. `tape_text` is the reference, and writes what is left out here."""

from typing import Any, Final

import numpy as np

from trading_lib.jit import jit
from trading_lib.models import Kind
from trading_lib.wire import MAX_SYMBOL
from trading_lib.wire_kernels import EXACT_REPR, write_number, write_price, write_symbol

_TICK: Final = int(Kind.TICK)
_DECIMALS: Final = 10  # prices with more are left out
_POWERS = 10.0 ** np.arange(_DECIMALS + 1)
_SEQ = np.frombuffer(b'{"tape_seq":', np.uint8)
_TS = np.frombuffer(b',"type":"tick","ts":"', np.uint8)
_SYMBOL = np.frombuffer(b'","symbol":"', np.uint8)
_PRICE = np.frombuffer(b'","price":', np.uint8)
_END = np.frombuffer(b"}\n", np.uint8)
BYTES_PER_LINE: Final = (
    sum(part.size for part in (_SEQ, _TS, _SYMBOL, _PRICE, _END)) + 19 + 19 + MAX_SYMBOL + 24
)


@jit
def _write(out: Any, at: int, text: Any) -> int:
    for i in range(text.shape[0]):
        out[at + i] = text[i]
    return at + int(text.shape[0])


@jit
def _write_float(out: Any, at: int, value: float) -> Any:
    """Write a positive number as Python's repr does; -1 where that is not certain."""
    if not 0.0 < value < EXACT_REPR:
        return -1
    for decimals in range(_DECIMALS + 1):
        mantissa = np.rint(value * _POWERS[decimals])
        if mantissa >= EXACT_REPR:
            return -1
        if mantissa / _POWERS[decimals] == value:  # both are exact, so this is what reading the decimal gives
            return write_price(out, at, int(mantissa), decimals)
    return -1


@jit
def write_lines(tape: Any, names: Any, lengths: Any, out: Any, ends: Any) -> None:
    """Write a line for each tick; `ends[i]` is where that of record i ends: where it began if it was left out.

    `tape` RECORD_DTYPE[n]; `names` uint8[symbols, MAX_SYMBOL] with `lengths` int64[symbols] bytes each;
    `out` uint8[n * BYTES_PER_LINE]; `ends` int64[n].
    """
    at = 0
    for i in range(tape.shape[0]):
        record = tape[i]
        if record.kind == _TICK and record.seq >= 0 and record.ts >= 0:
            end = write_number(out, _write(out, at, _SEQ), record.seq, 1)
            end = write_number(out, _write(out, end, _TS), record.ts, 1)
            end = write_symbol(out, _write(out, end, _SYMBOL), names, lengths, record.slot)
            end = _write_float(out, _write(out, end, _PRICE), record.value)
            if end >= 0:
                at = _write(out, end, _END)
        ends[i] = at
