"""The compiled encoder and the plain one write the same bytes, and what they write is read back bit-equal."""

import struct
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from Gateway.encoder import WORTH_COMPILING, Encoder
from Gateway.providers.provider import Batch, empty_batch, mark, ticks
from trading_lib import wire
from trading_lib.jit import compiled
from trading_lib.models import Kind
from trading_lib.wire import Control, FeedDecoder, NewsMessage, TickMessage

EXAMPLES = settings(deadline=None, max_examples=400)
LONGEST = "ABCDEFGHIJKLMNOPQRSTUVWX"  # 24 bytes
MAX_NS = 2**63 - 1
needs_kernels = pytest.mark.skipif(not compiled(), reason="there are no kernels in plain Python")

Record = tuple[Kind, int, int, int]

symbols = st.text("ABCabc019._/=-^:", min_size=1, max_size=24)
instruments = st.lists(
    st.tuples(symbols, st.integers(0, 12)), min_size=1, max_size=6, unique_by=lambda i: i[0]
)
mantissas = st.one_of(
    st.integers(1, 10**6),
    st.integers(1, 10**15 + 10),
    st.integers(1, MAX_NS),
    st.integers(0, 18).map(lambda k: 10**k),
    st.integers(1, 18).map(lambda k: 10**k - 1),
)
times = st.one_of(st.integers(0, MAX_NS), st.integers(1_600_000_000 * 10**9, 1_800_000_000 * 10**9))


def records(count: int) -> st.SearchStrategy[list[Record]]:
    """Records of `count` symbols."""
    which = st.integers(0, count - 1)
    record = st.one_of(
        st.tuples(st.just(Kind.TICK), which, mantissas, times),
        st.tuples(st.just(Kind.NEWS), which, st.integers(0, 100), times),
        st.tuples(st.sampled_from([Kind.TIME, Kind.EPOCH, Kind.END]), st.just(0), st.just(0), times),
        st.tuples(st.just(Kind.GAP), st.just(0), st.integers(1, 10**6), times),
    )
    return st.lists(record, max_size=30)


@st.composite
def batches(draw: Callable[..., list[tuple[str, int]]]) -> tuple[list[tuple[str, int]], list[Record]]:
    drawn = draw(instruments)
    rows: list[Record] = draw(records(len(drawn)))  # type: ignore[assignment]
    return drawn, rows


def batch_of(rows: list[Record]) -> Batch:
    kinds, which, values, moments = zip(*rows, strict=True) if rows else ((), (), (), ())
    return Batch(
        np.array(kinds, np.uint8),
        np.array(which, np.int32),
        np.array(values, np.int64),
        np.array(moments, np.int64),
    )


def encoders(drawn: list[tuple[str, int]]) -> tuple[Encoder, Encoder]:
    """One that is compiled where it can be, and one that is plain."""
    names, decimals = zip(*drawn, strict=True)
    plain = Encoder(names, decimals)
    plain._compiled = None
    return Encoder(names, decimals), plain


@needs_kernels
@EXAMPLES
@given(batches())
def test_compiled_and_plain_bytes_are_the_same(case: tuple[list[tuple[str, int]], list[Record]]) -> None:
    drawn, rows = case
    fast, plain = encoders(drawn)
    batch = batch_of(rows)
    assert fast.session(batch) == plain.session(batch)
    assert fast.plain_ticks(batch) == plain.plain_ticks(batch)
    assert fast.plain_news(batch) == plain.plain_news(batch)


@needs_kernels
@EXAMPLES
@given(batches(), st.integers(0, 12))
def test_what_the_kernel_writes_itself_is_what_wire_writes(
    case: tuple[list[tuple[str, int]], list[Record]], cut: int
) -> None:
    """Without the way out to `wire`: for the kernel as such, a record at a time and all at once."""
    drawn, rows = case
    fast, plain = encoders(drawn)
    assert fast._compiled is not None
    for some in (rows, rows[:cut], *([row] for row in rows)):
        batch = batch_of(some)
        session = fast._compiled.session(batch)
        assert session is None or session == plain.session(batch)
        frames = fast._compiled.plain_ticks(batch)
        assert frames is None or frames == plain.plain_ticks(batch)


@needs_kernels
def test_quantised_prices_never_leave_the_kernel() -> None:
    rng = np.random.default_rng(1)
    count = 5000
    fast, plain = encoders([("A", 4), (LONGEST, 2), ("C", 0), ("D", 8)])
    which = rng.integers(0, 4, count).astype(np.int32)
    batch = ticks(which, rng.integers(10**4, 10**12, count), rng.integers(10**17, MAX_NS, count))
    assert fast._compiled is not None
    assert fast._compiled.session(batch) == plain.session(batch)


@EXAMPLES
@given(batches())
def test_what_is_written_is_read_back_bit_equal(case: tuple[list[tuple[str, int]], list[Record]]) -> None:
    drawn, rows = case
    encoder, _ = encoders(drawn)
    read = FeedDecoder().feed(encoder.session(batch_of(rows)))
    assert len(read) == len(rows)
    for message, (kind, which, value, moment) in zip(read, rows, strict=True):
        symbol, places = drawn[which]
        expected: wire.Message
        if moment < 10**17 and kind in (Kind.TICK, Kind.NEWS):
            continue  # before 1973 the text has too few digits to be ns
        if kind is Kind.TICK:
            expected = TickMessage(symbol, value / 10**places, moment)
            assert isinstance(message, TickMessage)
            assert struct.pack("<d", message.price) == struct.pack("<d", value / 10**places)
        elif kind is Kind.NEWS:
            expected = NewsMessage(symbol, value, moment)
        elif kind is Kind.GAP:
            expected = Control("G", (str(value), str(moment)))
        else:
            expected = Control({Kind.TIME: "T", Kind.EPOCH: "E", Kind.END: "X"}[kind], (str(moment),))
        assert message == expected


@EXAMPLES
@given(batches())
def test_plain_clients_get_ticks_and_news_without_times(
    case: tuple[list[tuple[str, int]], list[Record]],
) -> None:
    drawn, rows = case
    encoder, _ = encoders(drawn)
    batch = batch_of(rows)
    tick_bytes, tick_count = encoder.plain_ticks(batch)
    news_bytes, news_count = encoder.plain_news(batch)
    assert FeedDecoder().feed(tick_bytes) == [
        TickMessage(drawn[which][0], value / 10 ** drawn[which][1], None)
        for kind, which, value, _ in rows
        if kind is Kind.TICK
    ]
    assert FeedDecoder(news=True).feed(news_bytes) == [
        NewsMessage(drawn[which][0], value, None) for kind, which, value, _ in rows if kind is Kind.NEWS
    ]
    assert tick_count == tick_bytes.count(b"*")
    assert news_count == news_bytes.count(b"*")


@pytest.mark.parametrize(
    ("mantissa", "places", "text"),
    [
        (1_732_000, 4, "173.2"),
        (1_732_512, 4, "173.2512"),
        (100_000, 4, "10.0"),
        (7, 0, "7.0"),
        (1, 4, "0.0001"),
        (1, 5, "1e-05"),
        (123, 8, "1.23e-06"),
        (10**15 - 1, 2, "9999999999999.99"),
        (10**15, 2, "10000000000000.0"),
        (10**18, 0, "1e+18"),
        (2**53 + 1, 0, "9007199254740992.0"),
    ],
)
def test_a_price_is_its_shortest_text(mantissa: int, places: int, text: str) -> None:
    encoder, _ = encoders([("A", places)])
    row: Record = (Kind.TICK, 0, mantissa, 1_759_311_000_123_456_789)
    one = f"A,{text},1759311000123456789*".encode()
    for n in (1, WORTH_COMPILING):
        assert encoder.session(batch_of([row] * n)) == one * n
        assert encoder.plain_ticks(batch_of([row] * n)) == (f"A,{text}*".encode() * n, n)


def test_an_empty_batch_is_no_bytes() -> None:
    encoder, _ = encoders([("A", 4)])
    assert encoder.session(empty_batch()) == b""
    assert encoder.plain_ticks(empty_batch()) == encoder.plain_news(empty_batch()) == (b"", 0)
    assert encoder.plain_ticks(mark(Kind.END, 5)) == (b"", 0)


def test_warming_says_so_at_most_once() -> None:
    said: list[str] = []
    Encoder.warm(said.append)
    first = len(said)
    Encoder.warm(said.append)
    assert len(said) == first <= 1
