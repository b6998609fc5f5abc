"""What the compiled reader reads is what `wire` reads, bit for bit; what it cannot, it hands back."""

import struct

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from trading_lib import wire
from trading_lib.jit import compiled

if not compiled():
    pytest.skip("there are no kernels in plain Python", allow_module_level=True)

from trading_lib.wire_kernels import read_number, read_price, read_symbol

EXAMPLES = settings(deadline=None, max_examples=1500)
HAND_BACK = -1
MORE = -2

digits = st.text("0123456789", max_size=26)
odd_prices = st.sampled_from(
    [
        "0",
        "00",
        "0.0",
        ".0",
        "0.",
        ".",
        "5.",
        ".5",
        "007.50",
        "+1.5",
        "-1.5",
        "1e3",
        "1E3",
        "1.5.2",
        "1,5",
        "nan",
        "inf",
        "0x10",
        "1_000",
        "１",
        "²",
    ]
)
prices = st.one_of(
    st.builds(lambda whole, fraction: f"{whole}.{fraction}", digits, digits),
    digits,
    st.floats(min_value=5e-324, allow_nan=False, allow_infinity=False).map(str),
    st.floats(1e-4, 1e6).map(str),  # 17 digits, most of them: beyond what one division gives exactly
    st.builds(
        lambda mantissa, places: f"{mantissa / 10**places}", st.integers(1, 10**15), st.integers(0, 12)
    ),
    odd_prices,
    st.text(max_size=8),
)


def as_array(data: bytes) -> np.ndarray[tuple[int], np.dtype[np.uint8]]:
    return np.frombuffer(data, np.uint8)


def same_bits(one: float, other: float) -> bool:
    return struct.pack("<d", one) == struct.pack("<d", other)


@EXAMPLES
@given(prices, st.sampled_from([b"*", b",", b",17*"]), st.binary(max_size=5))
@example("9007199254740991", b"*", b"")
@example("9007199254740992", b"*", b"")
@example("9007199254740993", b"*", b"")
@example("0.9007199254740991", b"*", b"")
@example("0.0000000000000000000001", b"*", b"")
@example("00000000000000000000001", b"*", b"")
@example("0.00000000000000000000001", b"*", b"")
@example("18446744073709551617", b"*", b"")
def test_a_price_is_floats_bit_for_bit_or_is_handed_back(text: str, end: bytes, rest: bytes) -> None:
    text = text.replace("*", "").replace(",", "")
    data = text.encode("utf-8", "surrogatepass")
    stop, price = read_price(as_array(data + end + rest), 0, len(data + end + rest))
    if stop == HAND_BACK:
        return
    assert stop == len(data)  # never MORE: the delimiter is there
    assert same_bits(price, float(text))
    assert same_bits(price, wire.parse_price(text))


@EXAMPLES
@given(st.integers(1, 2**53 - 1), st.integers(0, 16))
def test_what_a_gateway_writes_is_never_handed_back(mantissa: int, places: int) -> None:
    text = f"{mantissa:0{places + 1}d}"
    text = f"{text[: len(text) - places]}.{text[len(text) - places :]}" if places else text
    stop, price = read_price(as_array(text.encode() + b"*"), 0, len(text) + 1)
    assert stop == len(text)
    assert same_bits(price, float(text))


@EXAMPLES
@given(prices, st.integers(0, 40))
def test_a_price_cut_off_asks_for_more_or_is_handed_back(text: str, keep: int) -> None:
    data = text.encode("utf-8", "surrogatepass").replace(b",", b"").replace(b"*", b"")[:keep]
    stop, _ = read_price(as_array(data + b"#"), 0, len(data))
    assert stop in (MORE, HAND_BACK)
    if wire._DECIMAL.fullmatch(data.decode("utf-8", "replace")) and len(data) <= 15:
        assert stop == MORE


numbers = st.one_of(
    st.integers(0, 10**20).map(str), digits, st.sampled_from(["", "-1", "+1", " 1", "1 ", "1.0"])
)


@EXAMPLES
@given(numbers, st.sampled_from(b",*"), st.integers(1, 19))
@example(str(2**63 - 1), 42, 1)
@example(str(2**63), 42, 1)
@example("9999999999999999999", 42, 18)
def test_a_number_is_ints_or_is_handed_back(text: str, end: int, least: int) -> None:
    data = text.encode() + bytes([end])
    stop, number = read_number(as_array(data), 0, len(data), least, 19)
    legal = text.isdigit() and least <= len(text) <= 19 and int(text) < 2**63
    assert stop == (len(text) if legal else HAND_BACK)
    if legal:
        assert number == int(text)


symbol_bytes = st.one_of(
    st.text("ABCabc019._/=-^:", max_size=26).map(str.encode), st.binary(max_size=26), st.just(b"AAPL\0")
)


@EXAMPLES
@given(symbol_bytes)
def test_a_symbols_words_are_its_bytes(symbol: bytes) -> None:
    data = symbol + b",1.5*"
    comma, *words = read_symbol(as_array(data), 0, len(data))
    bare = symbol.partition(b",")[0]
    if 1 <= len(bare) <= 24 and b"*" not in bare and b"\0" not in bare:
        assert comma == len(bare)
        assert struct.pack("<3Q", *(int(word) for word in words)) == bare.ljust(24, b"\0")
    else:
        assert comma == HAND_BACK


@EXAMPLES
@given(st.text("ABCabc019._/=-^:", max_size=24).map(str.encode))
def test_a_symbol_cut_off_asks_for_more(symbol: bytes) -> None:
    assert read_symbol(as_array(symbol + b"#"), 0, len(symbol))[0] == MORE


def test_the_powers_of_ten_the_kernel_divides_by_are_exact() -> None:
    from trading_lib.wire_kernels import _POWERS, MAX_DECIMALS

    assert [int(power) for power in _POWERS] == [10**k for k in range(MAX_DECIMALS + 1)]
