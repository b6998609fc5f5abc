"""The wire: any split of the bytes gives the same messages, and whatever is wrong is a counted rejection."""

import math
import tracemalloc
from collections.abc import Callable
from datetime import UTC, datetime
from decimal import Decimal
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from trading_lib import wire
from trading_lib.wire import Control, FeedDecoder, FrameSplitter, Message, NewsMessage, Rejected, Rejection
from trading_lib.wire import TickMessage as T

EXAMPLES = settings(deadline=None, max_examples=150, suppress_health_check=[HealthCheck.too_slow])
MANY_EXAMPLES = settings(EXAMPLES, max_examples=600)
MAX_NS = 2**63 - 1
GOOD = b"AAPL,173.25*"
GOOD_TICK = T("AAPL", 173.25, None)

# ------------------------------------------------------------------------------------- what is on a wire

symbols = st.text("ABCXYZabcxyz0123456789._/=-^:", min_size=1, max_size=24)
prices = st.floats(min_value=5e-324, allow_infinity=False, allow_nan=False)
quantities = st.one_of(st.integers(1, 10**6), prices)
times = st.integers(10**17, MAX_NS)  # as ns on the wire: 18 or 19 digits
sides = st.sampled_from(["BUY", "SELL"])
numbers = st.integers(0, MAX_NS)

tick_frames = st.builds(wire.encode_tick, symbols, prices, st.none() | times)
news_frames = st.builds(wire.encode_news, symbols, st.integers(0, 100))
session_frames = st.one_of(
    st.builds(wire.encode_session_news, symbols, st.integers(0, 100), times),
    st.builds(wire.encode_control, st.just("S"), numbers, numbers),
    st.builds(wire.encode_control, st.sampled_from("TEX"), times),
    st.just(wire.encode_hello("feed")),
)
garbage = st.one_of(
    st.binary(max_size=40),
    st.binary(min_size=1, max_size=40).map(lambda b: b + b"*"),
    st.sampled_from(
        [b"*", b"**", b"!*", b",*", b"AAPL,nan*", b"AAPL,\xff*", b"\r\n", b"GET / HTTP/1.1\r\n\r\n"]
    ),
    st.integers(200, 600).map(lambda n: b"x" * n),
)
streams = st.lists(st.one_of(tick_frames, news_frames, session_frames, garbage), max_size=25).map(b"".join)


def cut(data: bytes, places: list[int]) -> list[bytes]:
    """`data` in pieces, cut at the given places (taken modulo its length)."""
    edges = sorted({0, len(data), *(place % (len(data) + 1) for place in places)})
    return [data[a:b] for a, b in pairwise(edges)]


def decoded(pieces: list[bytes], news: bool = False) -> list[Message]:
    decoder = FeedDecoder(news)
    return [message for piece in pieces for message in decoder.feed(piece)]


# ----------------------------------------------------------------------------------------------- framing


@MANY_EXAMPLES
@given(streams, st.lists(st.integers(0, 10_000), max_size=30), st.booleans())
def test_any_split_gives_the_same_messages(data: bytes, places: list[int], news: bool) -> None:
    whole = decoded([data], news)
    assert decoded(cut(data, places), news) == whole
    assert decoded([data[i : i + 1] for i in range(len(data))], news) == whole


@EXAMPLES
@given(
    st.lists(st.binary(max_size=400).map(lambda b: b.replace(b"*", b"")), max_size=12),
    st.binary(max_size=300),
)
def test_frames_are_what_stands_between_stars(frames: list[bytes], rest: bytes) -> None:
    rest = rest.replace(b"*", b"")
    splitter = FrameSplitter()
    got = splitter.feed(b"".join(frame + b"*" for frame in frames) + rest)
    expected = [frame if len(frame) <= wire.MAX_FRAME else None for frame in frames]
    if len(rest) > wire.MAX_FRAME:
        expected.append(None)
        rest = b""
    assert got == expected
    assert splitter.pending == rest


@MANY_EXAMPLES
@given(st.lists(st.binary(max_size=700), max_size=8), st.booleans())
def test_garbage_never_raises_and_never_costs_the_next_good_message(pieces: list[bytes], news: bool) -> None:
    decoder = FeedDecoder(news)
    for piece in pieces:
        decoder.feed(piece)
    decoder.feed(b"*")
    expected: Message = NewsMessage("AAPL", 61, None) if news else GOOD_TICK
    assert decoder.feed(b"AAPL,61*" if news else GOOD) == [expected]


@MANY_EXAMPLES
@given(
    st.lists(st.one_of(st.tuples(symbols, prices, st.none() | times), st.binary(max_size=600)), max_size=15),
    st.lists(st.integers(0, 10_000), max_size=20),
)
def test_good_messages_among_garbage_all_arrive_in_order(
    items: list[tuple[str, float, int | None] | bytes], places: list[int]
) -> None:
    data = b""
    expected: list[Message | str] = []
    for item in items:
        if isinstance(item, bytes):
            junk = b"\xff" + item.replace(b"*", b"")
            data += junk + b"*"
            expected.append("not UTF-8" if len(junk) <= wire.MAX_FRAME else "frame too long")
        else:
            data += wire.encode_tick(*item)
            expected.append(T(*item))
    got = [m.reason if isinstance(m, Rejection) else m for m in decoded(cut(data, places))]
    assert got == expected


@pytest.mark.parametrize("size", [wire.MAX_FRAME - 1, wire.MAX_FRAME, wire.MAX_FRAME + 1])
def test_the_bound_of_a_frame_is_the_same_however_it_arrives(size: int) -> None:
    frame = b"x" * size
    expected = [frame if size <= wire.MAX_FRAME else None]
    assert FrameSplitter().feed(frame + b"*") == expected
    splitter = FrameSplitter()
    assert [f for piece in (frame, b"*") for f in splitter.feed(piece)] == expected


def test_ten_megabytes_without_a_star_are_one_rejection_and_no_memory() -> None:
    decoder = FeedDecoder()
    chunk = b"7" * 65536
    messages = decoder.feed(chunk)
    tracemalloc.start()
    try:
        for _ in range(160):
            messages += decoder.feed(chunk)
        held, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert messages == [wire.OVERSIZE]
    assert held < 4096
    assert peak < 4 * len(chunk)
    assert decoder.feed(b"7,1*" + GOOD) == [GOOD_TICK]


def test_what_is_pending_is_at_most_one_frame() -> None:
    splitter = FrameSplitter()
    for _ in range(2_000):
        splitter.feed(b"x")
        assert len(splitter.pending) <= wire.MAX_FRAME


# ------------------------------------------------------------------------------------------ ticks and news


@pytest.mark.parametrize(
    ("frame", "message"),
    [
        (b"AAPL,173.25", GOOD_TICK),
        (b" AAPL , 173.25 ", GOOD_TICK),
        (b"\r\nAAPL,173.25", GOOD_TICK),
        (b"AAPL,1.7325e2", GOOD_TICK),
        (b"AAPL,+173.250", GOOD_TICK),
        (b"AAPL,173.", T("AAPL", 173.0, None)),
        (b"AAPL,.5", T("AAPL", 0.5, None)),
        (b"SPY.BID,0.0001", T("SPY.BID", 0.0001, None)),
        (b"AAPL,1,1759311000000000000", T("AAPL", 1.0, 1_759_311_000_000_000_000)),
        (b"AAPL,1, 2025-10-01 09:30:00 ", T("AAPL", 1.0, 1_759_311_000_000_000_000)),
        (b"AAPL,1,1759311000", T("AAPL", 1.0, 1_759_311_000_000_000_000)),
        (b"!N,AAPL,61,1759311000000000000", NewsMessage("AAPL", 61, 1_759_311_000_000_000_000)),
        (b"!N , AAPL , 61", NewsMessage("AAPL", 61, None)),
        (b"!S,12,1759311000000000000", Control("S", ("12", "1759311000000000000"))),
        (b"!E, 5 ", Control("E", ("5",))),
        (b"!", Control("", ())),
    ],
)
def test_what_is_accepted_on_the_tick_port(frame: bytes, message: Message) -> None:
    assert decoded([frame + b"*"]) == [message]


@pytest.mark.parametrize(
    ("frame", "reason"),
    [
        (b"", "wrong number of fields"),
        (b"AAPL", "wrong number of fields"),
        (b"AAPL,1,1759311000,x", "wrong number of fields"),
        (b"AAPL,", "bad price"),
        (b"AAPL,text", "bad price"),
        (b"AAPL,nan", "bad price"),
        (b"AAPL,NaN", "bad price"),
        (b"AAPL,inf", "bad price"),
        (b"AAPL,-Infinity", "bad price"),
        (b"AAPL,1e999", "bad price"),
        (b"AAPL,1e-999", "bad price"),
        (b"AAPL,0", "bad price"),
        (b"AAPL,0.0", "bad price"),
        (b"AAPL,-0", "bad price"),
        (b"AAPL,-173.25", "bad price"),
        (b"AAPL,1_000", "bad price"),
        (b"AAPL,0x10", "bad price"),
        (b"AAPL,1 2", "bad price"),
        (b"AAPL,.", "bad price"),
        (b"AAPL,e5", "bad price"),
        ("AAPL,١٢".encode(), "bad price"),
        (b",1", "bad symbol"),
        (b"A B,1", "bad symbol"),
        (b"AAPL\x00,1", "bad symbol"),
        (b"A" * 25 + b",1", "bad symbol"),
        ("ÄAPL,1".encode(), "bad symbol"),
        (b"AAPL,1,", "bad timestamp"),
        (b"AAPL,1,yesterday", "bad timestamp"),
        (b"\xff\xfe,1", "not UTF-8"),
        (b"AAPL,\xc3", "not UTF-8"),
        (b"!N,AAPL,101,1759311000", "bad sentiment"),
        (b"!N", "wrong number of fields"),
        (b"!N,AAPL", "wrong number of fields"),
        (b"!N,AAPL,1,1759311000,x", "wrong number of fields"),
        (b"!T,\xff", "not UTF-8"),
        (b"AAPL,1" + b"0" * 251, "frame too long"),
    ],
)
def test_what_is_rejected_on_the_tick_port(frame: bytes, reason: str) -> None:
    first, second = decoded([frame + b"*" + GOOD])
    assert isinstance(first, Rejection)
    assert first.reason == reason
    assert len(first.detail) < 200
    assert second == GOOD_TICK


@pytest.mark.parametrize(
    ("frame", "message"),
    [
        (b"AAPL,0", NewsMessage("AAPL", 0, None)),
        (b"AAPL, 100 ", NewsMessage("AAPL", 100, None)),
        (b"AAPL,50,1", NewsMessage("AAPL", 50, 1_000_000_000)),  # a short number is seconds
        (b"AAPL,+50,2025-10-01 09:30:00", NewsMessage("AAPL", 50, 1_759_311_000_000_000_000)),
    ],
)
def test_what_is_accepted_on_the_news_port(frame: bytes, message: Message) -> None:
    assert decoded([frame + b"*"], news=True) == [message]


@pytest.mark.parametrize(
    ("frame", "reason"),
    [
        (b"AAPL,-1", "bad sentiment"),
        (b"AAPL,101", "bad sentiment"),
        (b"AAPL,good", "bad sentiment"),
        (b"AAPL,50.5", "bad sentiment"),
        (b"AAPL,5e1", "bad sentiment"),
        (b"AAPL,", "bad sentiment"),
        (b"AAPL,nan", "bad sentiment"),
        (b"AAPL,5_0", "bad sentiment"),
        (b"AAPL," + b"9" * 200, "bad sentiment"),
        ("AAPL,²".encode(), "bad sentiment"),
        (b"a b,50", "bad symbol"),
        (b"AAPL", "wrong number of fields"),
        (b"AAPL,50,1759311000,x", "wrong number of fields"),
    ],
)
def test_what_is_rejected_on_the_news_port(frame: bytes, reason: str) -> None:
    (message,) = decoded([frame + b"*"], news=True)
    assert isinstance(message, Rejection)
    assert message.reason == reason


@EXAMPLES
@given(symbols, prices, st.none() | times)
def test_a_tick_comes_back_bit_for_bit(symbol: str, price: float, ts: int | None) -> None:
    assert decoded([wire.encode_tick(symbol, price, ts)]) == [T(symbol, price, ts)]


@EXAMPLES
@given(st.integers(0, 10**18), st.integers(0, 17), st.integers(-99, 99))
def test_a_price_is_the_float_nearest_to_its_text(mantissa: int, places: int, exponent: int) -> None:
    digits = f"{mantissa:0{places + 1}d}"
    text = f"{digits[: len(digits) - places]}.{digits[len(digits) - places :]}e{exponent}"
    if float(Decimal(text)) > 0:
        assert wire.parse_price(text) == float(Decimal(text))
    else:
        with pytest.raises(Rejected):
            wire.parse_price(text)


@EXAMPLES
@given(st.text(max_size=30))
def test_a_price_is_finite_and_positive_or_rejected(text: str) -> None:
    try:
        price = wire.parse_price(text)
    except Rejected as fault:
        assert fault.reason == "bad price"
    else:
        assert 0 < price < math.inf
        assert price == float(text)


@EXAMPLES
@given(symbols, st.integers(0, 100), times)
def test_news_come_back(symbol: str, sentiment: int, ts: int) -> None:
    assert decoded([wire.encode_news(symbol, sentiment)], news=True) == [NewsMessage(symbol, sentiment, None)]
    assert decoded([wire.encode_session_news(symbol, sentiment, ts)]) == [NewsMessage(symbol, sentiment, ts)]


def test_numpy_numbers_are_written_as_numbers() -> None:
    assert wire.encode_tick("AAPL", np.float64(173.25)) == GOOD
    assert (
        wire.encode_plain_order(0, "BUY", np.float64(0.5), "X", np.float64(2.25)) == b"0.000,BUY,0.5,X,2.25*"
    )


# ----------------------------------------------------------------------------------------------- symbols


@pytest.mark.parametrize(
    "symbol", ["A", "z", "7", "SPY.BID", "BTC/USD", "EUR=X", "BRK-B", "^GSPC", "FX:EURUSD", "A" * 24]
)
def test_legal_symbols(symbol: str) -> None:
    assert wire.parse_symbol(symbol) == symbol


@EXAMPLES
@given(st.text(max_size=30))
def test_a_symbol_is_1_to_24_bytes_of_its_alphabet(text: str) -> None:
    alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._/=-^:"
    if 1 <= len(text) <= 24 and all(c in alphabet for c in text):
        assert wire.parse_symbol(text) == text
    else:
        with pytest.raises(Rejected, match="bad symbol"):
            wire.parse_symbol(text)


@pytest.mark.parametrize("byte", [bytes([b]) for b in range(256)])
def test_every_byte_is_in_the_alphabet_or_rejected(byte: bytes) -> None:
    legal = byte in b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._/=-^:"
    *messages, last = decoded([b"A" + byte + b"B,173.25*" + GOOD])
    assert last == GOOD_TICK
    assert (messages == [T(f"A{byte.decode('latin-1')}B", 173.25, None)]) == legal


# ------------------------------------------------------------------------------------------------- times


@pytest.mark.parametrize(
    ("text", "ns"),
    [
        ("1759311000000000001", 1_759_311_000_000_000_001),
        ("100000000000000000", 10**17),
        ("9223372036854775807", MAX_NS),
        ("0", 0),
        ("1759311000", 1_759_311_000 * 10**9),
        ("09223372036", 9_223_372_036 * 10**9),
        ("1759311000.123456789", 1_759_311_000_123_456_789),
        ("1759311000.1234567899", 1_759_311_000_123_456_789),
        ("1759311000.", 1_759_311_000 * 10**9),
        (".000000001", 1),
        ("9223372036.854775807", MAX_NS),
        ("2025-10-01 09:30:00", 1_759_311_000 * 10**9),
        ("1970-01-01 00:00:00", 0),
        ("2024-02-29 23:59:59", 1_709_251_199 * 10**9),
        ("2262-04-11 23:47:16", 9_223_372_036 * 10**9),
    ],
)
def test_the_three_forms_of_a_time(text: str, ns: int) -> None:
    assert wire.parse_time(text) == ns


@pytest.mark.parametrize(
    "text",
    [
        "",
        ".",
        "-1",
        "+1759311000",
        "1e9",
        "nan",
        "175931100000",  # 12 digits: neither seconds nor ns
        "1759311000000",  # milliseconds
        "1759311000000000",  # microseconds
        "99999999999",  # 11 digits, past 2262
        "9223372036854775808",
        "17593110000000000000",
        "9223372036.854775808",
        "1759311000.5.5",
        "1759311000 5",
        "2025-10-01",
        "2025-10-01T09:30:00",
        "2025-10-01 09:30",
        "2025-10-01 09:30:00Z",
        "2025-10-01 09:30:00.5",
        "2025-10-01  09:30:00",
        "2025-1-01 09:30:00",
        "2025-02-29 09:30:00",
        "2025-13-01 09:30:00",
        "2025-10-01 24:00:00",
        "2025-10-01 09:60:00",
        "2025-12-31 23:59:60",
        "0000-01-01 00:00:00",
        "1969-12-31 23:59:59",
        "2262-04-11 23:47:17",  # past what int64 ns can hold
        "9999-12-31 23:59:59",
        "٢٠٢٥-10-01 09:30:00",
        "١٧٥٩٣١١٠٠٠",
        "9" * 5000,
        "9" * 5000 + ".5",
    ],
)
def test_any_other_time_is_rejected(text: str) -> None:
    for _ in range(2):  # the second time, from whatever is cached
        with pytest.raises(Rejected) as rejected:
            wire.parse_time(text)
        assert rejected.value.reason == "bad timestamp"
        assert len(rejected.value.detail) < 100


@EXAMPLES
@given(st.datetimes(datetime(1970, 1, 1), datetime(2262, 4, 11)))
def test_dates_are_read_as_utc(moment: datetime) -> None:
    moment = moment.replace(microsecond=0)
    expected = int(moment.replace(tzinfo=UTC).timestamp()) * 10**9
    assert wire.parse_time(f"{moment:%Y-%m-%d %H:%M:%S}") == expected


@EXAMPLES
@given(st.integers(0, MAX_NS))
def test_seconds_and_ns_are_the_same_number(ns: int) -> None:
    text = wire.format_seconds(ns)
    assert Decimal(text) * 10**9 == ns
    assert len(text.partition(".")[2]) >= 3
    assert wire.parse_seconds(text) == ns
    assert wire.parse_seconds(f"{ns // 10**9}.{ns % 10**9:09d}") == ns


def test_seconds_never_pass_through_a_float() -> None:
    text = "1759311000.123456789"
    assert wire.parse_seconds(text) == 1_759_311_000_123_456_789
    assert int(float(text) * 1e9) != 1_759_311_000_123_456_789


# ------------------------------------------------------------------------------------------------ orders


def test_a_plain_order_of_a_plain_client() -> None:
    order = wire.parse_plain_order(b"1234567890.123,BUY,100,AAPL,172.53")
    assert order == (1_234_567_890_123_000_000, "BUY", 100.0, "AAPL", 172.53)
    assert wire.parse_plain_order(b"\n 1234567890.123, buy ,1e2, AAPL ,172.53") == order


@EXAMPLES
@given(numbers, sides, quantities, symbols, prices)
def test_a_plain_order_comes_back(ts: int, side: str, quantity: float, symbol: str, price: float) -> None:
    frame = wire.encode_plain_order(ts, side, quantity, symbol, price)
    assert len(frame) <= wire.MAX_FRAME
    (body,) = FrameSplitter().feed(frame)
    assert body is not None
    assert wire.parse_plain_order(body) == (ts, side, quantity, symbol, price)


@EXAMPLES
@given(times, sides, quantities, symbols, prices, numbers, numbers, numbers)
def test_a_session_order_comes_back(
    ts: int, side: str, quantity: float, symbol: str, price: float, cause: int, index: int, sent: int
) -> None:
    order = wire.SessionOrder(ts, side, quantity, symbol, price, cause, index, sent)
    frame = wire.encode_session_order(order)
    assert len(frame) <= wire.MAX_FRAME
    (body,) = FrameSplitter().feed(frame)
    assert body is not None
    assert wire.parse_session_order(body) == order


@pytest.mark.parametrize(
    ("frame", "reason"),
    [
        ("", "wrong number of fields"),
        ("1,BUY,1,AAPL", "wrong number of fields"),
        ("1,BUY,1,AAPL,1,1", "wrong number of fields"),
        ("x,BUY,1,AAPL,1", "bad timestamp"),
        ("-1,BUY,1,AAPL,1", "bad timestamp"),
        ("1e9,BUY,1,AAPL,1", "bad timestamp"),
        ("2025-10-01 09:30:00,BUY,1,AAPL,1", "bad timestamp"),
        ("99999999999,BUY,1,AAPL,1", "bad timestamp"),
        ("1,HOLD,1,AAPL,1", "bad side"),
        ("1,,1,AAPL,1", "bad side"),
        ("1,B,1,AAPL,1", "bad side"),
        ("1,\u017fell,1,AAPL,1", "bad side"),  # "\u017fell".upper() is "SELL"
        ("1,BUY,0,AAPL,1", "bad quantity"),
        ("1,BUY,-1,AAPL,1", "bad quantity"),
        ("1,BUY,text,AAPL,1", "bad quantity"),
        ("1,BUY,nan,AAPL,1", "bad quantity"),
        ("1,BUY,inf,AAPL,1", "bad quantity"),
        ("1,BUY,1e999,AAPL,1", "bad quantity"),
        ("1,BUY,,AAPL,1", "bad quantity"),
        ("1,BUY,1,A B,1", "bad symbol"),
        ("1,BUY,1,,1", "bad symbol"),
        ("1,BUY,1,AAPL,0", "bad price"),
        ("1,BUY,1,AAPL,-5", "bad price"),
        ("1,BUY,1,AAPL,nan", "bad price"),
        ("1,BUY,1,AAPL,", "bad price"),
        ("1,BUY,1,AAPL," + "1" * 300, "frame too long"),
        ("1" * 5000 + ",BUY,1,AAPL,1", "frame too long"),
    ],
)
def test_what_is_rejected_as_an_order(frame: str, reason: str) -> None:
    with pytest.raises(Rejected) as rejected:
        wire.parse_plain_order(frame.encode())
    assert rejected.value.reason == reason
    assert str(rejected.value).startswith(reason)


def test_a_giant_quantity_is_a_number_to_the_wire() -> None:
    """How much is too much is the risk check's to say, which knows the limit."""
    assert wire.parse_quantity("1e9") == 1e9


@pytest.mark.parametrize(
    ("tail", "reason"),
    [
        (b"", "wrong number of fields"),
        (b",1,2", "wrong number of fields"),
        (b",1,2,3,4", "wrong number of fields"),
        (b",-1,2,3", "bad control frame"),
        (b",1,x,3", "bad control frame"),
        (b",1,2,", "bad control frame"),
        (b",1,2,9223372036854775808", "bad control frame"),
        (b",1,2," + b"9" * 100, "bad control frame"),
        (",1,2,²".encode(), "bad control frame"),
    ],
)
def test_what_is_rejected_as_a_session_order(tail: bytes, reason: str) -> None:
    with pytest.raises(Rejected) as rejected:
        wire.parse_session_order(b"1759311000000000000,BUY,1,AAPL,1" + tail)
    assert rejected.value.reason == reason


@EXAMPLES
@given(
    st.binary(max_size=300),
    st.sampled_from([wire.parse_plain_order, wire.parse_session_order, wire.parse_control]),
)
def test_parsers_raise_nothing_but_a_rejection(frame: bytes, parse: Callable[[bytes], object]) -> None:
    try:
        parse(frame)
    except Rejected as fault:
        assert fault.reason


@EXAMPLES
@given(quantities)
def test_a_quantity_is_written_short_and_comes_back(quantity: float) -> None:
    text = wire.format_quantity(quantity)
    assert wire.parse_quantity(text) == quantity
    assert len(text) <= len(repr(float(quantity)))


def test_quantities_read_as_people_write_them() -> None:
    assert [wire.format_quantity(q) for q in (10, 10.0, 0.5, 1e6)] == ["10", "10", "0.5", "1000000"]


# -------------------------------------------------------------------------------------- control and HTTP


def test_control_frames() -> None:
    assert wire.encode_control("OK", "ab12", 7) == b"!OK,ab12,7*"
    assert wire.encode_control("X") == b"!X*"
    assert wire.encode_hello("orders", "me") == b"!HELLO,1,orders,me*"
    assert wire.parse_control(b"!HELLO,1,orders,me") == Control("HELLO", ("1", "orders", "me"))
    assert wire.join([b"!X*", GOOD]) == b"!X*AAPL,173.25*"


@pytest.mark.parametrize(
    "first",
    [
        b"GET / HTTP/1.1\r\nHost: localhost:9000\r\n\r\n",
        b"POST /x HTTP/1.1\r\n\r\n1,BUY,1,AAPL,1*",
        b"OPTIONS * HTTP/1.1",
        b"HEAD /",
        b"PUT /",
        b"DELETE /",
        b"PATCH /",
        b"CONNECT localhost:9000",
        b"TRACE /",
        b"PRI * HTTP/2.0",
    ],
)
def test_http_is_seen_by_its_first_bytes(first: bytes) -> None:
    assert wire.looks_like_http(first)


@pytest.mark.parametrize(
    "first",
    [b"", GOOD, b"GET,5*", b"POST,1*", b"GETTY,5*", b"!HELLO,1,feed*", b"1,BUY,1,GET,1*", b"\x16\x03"],
)
def test_what_is_not_http(first: bytes) -> None:
    assert not wire.looks_like_http(first)
