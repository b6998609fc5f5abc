"""The wire, compiled: writing whole batches, and reading the frames that are as we write them.

`wire` is the reference. What a kernel here cannot read or write exactly as `wire` does it hands back, and
the caller takes the plain path for it; a property test compares the two byte for byte.
"""

from typing import Any, Final

import numpy as np

from trading_lib.jit import jit
from trading_lib.models import Kind

COMMA: Final = 44
STAR: Final = 42
BANG: Final = 33
DOT: Final = 46
ZERO: Final = 48
LETTER_N: Final = 78
LETTER_S: Final = 83
BYTES_PER_FRAME: Final = 96  # room a frame may take: 3 + 24 + 20 + 19 and delimiters, rounded up
EXACT_REPR: Final = 10**15  # a decimal of at most 15 digits is its float's shortest repr
MAX_MANTISSA: Final = 2**53  # integers up to here are exact floats …
MAX_DECIMALS: Final = 22  # … and so are these powers of ten: one division gives float()'s result

_TICK: Final = int(Kind.TICK)
_NEWS: Final = int(Kind.NEWS)
_TIME: Final = int(Kind.TIME)
_EPOCH: Final = int(Kind.EPOCH)
_END: Final = int(Kind.END)
_POWERS_INT = 10 ** np.arange(19, dtype=np.int64)
_POWERS = 10.0 ** np.arange(MAX_DECIMALS + 1)


# ---------------------------------------------------------------------------------------------- writing


@jit
def write_number(out: Any, at: int, number: int, digits: int) -> Any:
    """Write `number` with leading zeros to at least `digits` digits; returns where the next byte goes."""
    length = digits
    while length < 19 and number >= _POWERS_INT[length]:
        length += 1
    for i in range(at + length - 1, at - 1, -1):
        out[i] = ZERO + number % 10
        number //= 10
    return at + length


@jit
def write_price(out: Any, at: int, mantissa: int, decimals: int) -> Any:
    """Write mantissa / 10^decimals as Python's repr does; -1 where repr would use an exponent or round."""
    if (
        mantissa < 0
        or mantissa >= EXACT_REPR
        or decimals > 18
        or (decimals > 4 and mantissa < _POWERS_INT[decimals - 4])
    ):
        return -1
    scale = _POWERS_INT[decimals]
    at = write_number(out, at, mantissa // scale, 1)
    out[at] = DOT
    if decimals == 0:
        out[at + 1] = ZERO
        return at + 2
    end = write_number(out, at + 1, mantissa % scale, decimals)
    while end > at + 2 and out[end - 1] == ZERO:
        end -= 1
    return end


@jit
def write_symbol(out: Any, at: int, names: Any, lengths: Any, symbol: int) -> Any:
    for i in range(lengths[symbol]):
        out[at + i] = names[symbol, i]
    return at + lengths[symbol]


@jit
def encode_session(
    kinds: Any, symbols: Any, values: Any, times: Any, names: Any, lengths: Any, decimals: Any, out: Any
) -> int:
    """Write a batch as session frames; returns the bytes written, or -1 if `wire` must do it."""
    at = 0
    for i in range(kinds.shape[0]):
        kind = kinds[i]
        if kind == _TICK:
            at = write_symbol(out, at, names, lengths, symbols[i])
            out[at] = COMMA
            at = write_price(out, at + 1, values[i], decimals[symbols[i]])
            if at < 0:
                return -1
        else:
            out[at] = BANG
            if kind == _NEWS:
                out[at + 1] = LETTER_N
                out[at + 2] = COMMA
                at = write_symbol(out, at + 3, names, lengths, symbols[i])
                out[at] = COMMA
                at = write_number(out, at + 1, values[i], 1)
            elif kind == _TIME:
                out[at + 1] = 84  # T
                at += 2
            elif kind == _EPOCH:
                out[at + 1] = 69  # E
                at += 2
            elif kind == _END:
                out[at + 1] = 88  # X
                at += 2
            else:
                return -1
        out[at] = COMMA
        if times[i] < 0:
            return -1
        at = write_number(out, at + 1, times[i], 1)
        out[at] = STAR
        at += 1
    return at


@jit
def encode_plain_ticks(
    kinds: Any, symbols: Any, values: Any, names: Any, lengths: Any, decimals: Any, out: Any
) -> tuple[int, int]:
    """Write a batch's ticks as plain frames; returns (bytes, frames), bytes -1 if `wire` must do it."""
    at = frames = 0
    for i in range(kinds.shape[0]):
        if kinds[i] == _TICK:
            at = write_symbol(out, at, names, lengths, symbols[i])
            out[at] = COMMA
            at = write_price(out, at + 1, values[i], decimals[symbols[i]])
            if at < 0:
                return -1, 0
            out[at] = STAR
            at += 1
            frames += 1
    return at, frames


# ---------------------------------------------------------------------------------------------- reading


@jit
def read_symbol(data: Any, at: int, end: int) -> Any:
    """(where its comma stands, three 8-byte words of the symbol); -1 not a symbol, -2 more bytes needed."""
    first = second = third = np.uint64(0)
    i = at
    while i < end:
        byte = data[i]
        if byte == COMMA:
            return (i if i > at else -1), first, second, third
        place = i - at
        if byte == STAR or byte == 0 or place >= 24:  # a NUL would be lost in the words
            return -1, first, second, third
        shifted = np.uint64(byte) << np.uint64(8 * (place & 7))
        if place < 8:
            first |= shifted
        elif place < 16:
            second |= shifted
        else:
            third |= shifted
        i += 1
    return -2, first, second, third


@jit
def read_price(data: Any, at: int, end: int) -> tuple[int, float]:
    """(where the delimiter stands, price); -1: `wire` must read it; -2: more bytes needed."""
    mantissa: Any = 0
    decimals = -1
    digits = 0
    i = at
    while i < end:
        byte = data[i]
        if byte == COMMA or byte == STAR:
            if digits == 0 or mantissa == 0:
                return -1, 0.0
            if decimals > 0:
                return i, mantissa / _POWERS[decimals]
            return i, float(mantissa)
        if byte == DOT:
            if decimals >= 0:
                return -1, 0.0
            decimals = 0
        else:
            digit = np.int64(byte) - ZERO
            if digit < 0 or digit > 9 or digits >= MAX_DECIMALS:
                return -1, 0.0
            mantissa = mantissa * 10 + digit
            if mantissa >= MAX_MANTISSA:
                return -1, 0.0
            digits += 1
            if decimals >= 0:
                decimals += 1
        i += 1
    return -2, 0.0


@jit
def read_number(data: Any, at: int, end: int, least: int, most: int) -> Any:
    """(where the delimiter stands, a number of `least` to `most` <= 19 digits); -1, -2 as in read_price."""
    number: Any = np.int64(0)
    i = at
    while i < end:
        byte = data[i]
        if byte == COMMA or byte == STAR:
            if i - at < least or number < 0:
                return -1, 0
            return i, number
        digit = np.int64(byte) - ZERO
        if digit < 0 or digit > 9 or i - at >= most:
            return -1, 0
        number = number * 10 + digit
        i += 1
    return -2, 0
