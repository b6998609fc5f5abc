"""The order session's frames: what is written is read back, and what cannot be read says why."""

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from trading_lib import order_wire, wire
from trading_lib.models import CancelRequest, Order, OrderStatus, OrderType, Report, Side, TimeInForce

EXAMPLES = settings(deadline=None, max_examples=300)
SYMBOL_CHARACTERS = "ABCXYZabcxyz0123456789._/=-^:"

symbols = st.text(SYMBOL_CHARACTERS, min_size=1, max_size=24)
tags = st.text(SYMBOL_CHARACTERS + "+#() ", min_size=1, max_size=32).filter(lambda tag: tag == tag.strip())
times = st.integers(10**17, 2**63 - 1)
amounts = st.one_of(
    st.floats(1e-300, 1e300),
    st.integers(1, 10**9).map(float),
    st.decimals("0.0001", "99999", places=4).map(float),
)
numbers = st.integers(0, 10**15)


def orders_of(kind: OrderType) -> st.SearchStrategy[Order]:
    limited = kind in (OrderType.LIMIT, OrderType.STOP_LIMIT)
    stopped = kind in (OrderType.STOP, OrderType.STOP_LIMIT)
    return st.builds(
        Order,
        symbols,
        amounts,
        amounts,
        st.sampled_from(Side),
        times,
        numbers,
        st.integers(0, 10**6),
        st.integers(0, 2**63 - 1),
        st.just(kind),
        st.sampled_from(TimeInForce),
        amounts if limited else st.just(0.0),
        amounts if stopped else st.just(0.0),
        st.one_of(st.just(""), tags),
    )


orders = st.one_of([orders_of(kind) for kind in OrderType])
cancels = st.builds(
    CancelRequest,
    st.tuples(numbers, numbers).map(lambda pair: f"{pair[0]}.{pair[1]}"),
    times,
    numbers,
    numbers,
)
texts = st.text(SYMBOL_CHARACTERS + " :+-%,'\"\\", max_size=60)
money = st.floats(allow_nan=False, allow_infinity=False)
reports = st.builds(
    Report,
    symbols,
    st.tuples(numbers, st.integers(-5, 10**6)).map(lambda pair: f"{pair[0]}.{pair[1]}"),
    numbers,
    numbers,
    st.sampled_from(OrderStatus),
    st.one_of(st.just(""), symbols),
    st.sampled_from(Side),
    amounts,
    numbers,
    numbers,
    times,
    money,
    money,
    money,
    money,
    money,
    money,
    money,
    numbers,
    texts,
    st.one_of(st.just(""), tags),
)

# ---------------------------------------------------------------------------------------------- requests


@given(orders)
@EXAMPLES
def test_an_order_of_any_kind_survives_its_frame(order: Order) -> None:
    frame = order_wire.encode_request(order)
    assert frame.count(b"*") == 1
    assert frame.endswith(b"*")
    assert len(frame) <= wire.MAX_FRAME
    assert order_wire.parse_order(frame[:-1]) == order


@given(orders)
@EXAMPLES
def test_the_quick_way_to_read_an_order_reads_what_the_thorough_one_reads(order: Order) -> None:
    frame = order_wire.encode_request(order)[:-1]
    spaced = frame.replace(b",", b" , ", 1)  # spaces are trimmed, but not by who is in a hurry
    assert order_wire.parse_order(spaced) == order_wire.parse_order(frame)


@given(cancels)
@EXAMPLES
def test_a_cancel_survives_its_frame(request: CancelRequest) -> None:
    frame = order_wire.encode_request(request)
    assert len(frame) <= wire.MAX_FRAME
    control = wire.parse_control(frame[:-1])
    assert control.name == "CANCEL"
    assert order_wire.parse_cancel(control) == request


PLAIN = "1735828200000000000,BUY,10,AAPL,173.2,417,0,99"


@pytest.mark.parametrize(
    ("frame", "reason"),
    [
        ("", "wrong number of fields"),
        ("1735828200,BUY,10,AAPL,173.2", "wrong number of fields"),
        (PLAIN + ",LIMIT", "wrong number of fields"),
        (PLAIN + ",LIMIT,ROD,173,0,tag,more", "wrong number of fields"),
        (PLAIN.replace("BUY", "HOLD"), "bad side"),
        (PLAIN.replace(",10,", ",0,"), "bad quantity"),
        (PLAIN.replace(",10,", ",-1,"), "bad quantity"),
        (PLAIN.replace(",10,", ",nan,"), "bad quantity"),
        (PLAIN.replace("173.2", "0"), "bad price"),
        (PLAIN.replace("173.2", "inf"), "bad price"),
        (PLAIN.replace("AAPL", "TWO WORDS"), "bad symbol"),
        (PLAIN.replace("1735828200000000000", "yesterday"), "bad timestamp"),
        (PLAIN.replace("417", "-1"), "bad control frame"),
        (PLAIN.replace("417", "x"), "bad control frame"),
        (PLAIN + ",ICEBERG,ROD,173,0,", "bad order type"),
        (PLAIN + ",LIMIT,DAY,173,0,", "bad time in force"),
        (PLAIN + ",LIMIT,ROD,0,0,", "bad price"),
        (PLAIN + ",LIMIT,ROD,nan,0,", "bad price"),
        (PLAIN + ",STOP,ROD,0,0,", "bad price"),
        (PLAIN + ",STOP_LIMIT,ROD,173,0,", "bad price"),
        (PLAIN + ",LIMIT,ROD,173,0,a;b", "bad tag"),
        (PLAIN + ",LIMIT,ROD,173,0," + "x" * 33, "bad tag"),
    ],
)
def test_an_order_that_cannot_be_read_is_rejected_with_its_reason(frame: str, reason: str) -> None:
    with pytest.raises(wire.Rejected) as rejected:
        order_wire.parse_order(frame.encode())
    assert rejected.value.reason == reason


@pytest.mark.parametrize("frame", [b"\xff" * 10, PLAIN.encode() + b"\xff"])
def test_an_order_that_is_no_text_is_rejected(frame: bytes) -> None:
    with pytest.raises(wire.Rejected):
        order_wire.parse_order(frame)


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ("", "bad control frame"),
        (",1735828200000000000,8,0", "bad control frame"),
        (",1735828200000000000,8,0,7.0,more", "bad control frame"),
        (",now,8,0,7.0", "bad timestamp"),
        (",1735828200000000000,-8,0,7.0", "bad control frame"),
        (",1735828200000000000,8,k,7.0", "bad control frame"),
        (",1735828200000000000,8,0,7", "bad control frame"),
        (",1735828200000000000,8,0,order 7", "bad control frame"),
    ],
)
def test_a_cancel_that_cannot_be_read_is_rejected_with_its_reason(fields: str, reason: str) -> None:
    with pytest.raises(wire.Rejected) as rejected:
        order_wire.parse_cancel(wire.parse_control(f"!CANCEL{fields}".encode()))
    assert rejected.value.reason == reason


# ----------------------------------------------------------------------------------------------- hellos


@pytest.mark.parametrize(
    ("arguments", "frame"),
    [
        (("sma", "t0ken"), b"!HELLO,1,orders,sma,t0ken*"),
        (("sma", "t0ken", "new", 17), b"!HELLO,1,orders,sma,t0ken,new,17*"),
        (("sma", "t0ken", "again", 3), b"!HELLO,1,orders,sma,t0ken,again,3*"),
    ],
)
def test_a_hello_says_who_it_is_and_how_it_comes(arguments: tuple[str, str], frame: bytes) -> None:
    assert order_wire.encode_order_hello(*arguments) == frame


# ---------------------------------------------------------------------------------------------- answers


def read_welcome(
    data: bytes, cuts: list[int]
) -> tuple[order_wire.Welcome | order_wire.Refusal | None, bytes]:
    """What a reader makes of bytes that come in such pieces, and what it was not given any more."""
    reader, at = order_wire.WelcomeReader(), 0
    for cut in [*sorted(cut % (len(data) + 1) for cut in cuts), len(data)]:
        if (answer := reader.feed(data[at:cut])) is not None:
            return answer, data[cut:]
        at = cut
    return None, b""


@given(
    st.binary(max_size=5000), numbers, numbers, st.binary(max_size=50), st.lists(st.integers(0), max_size=8)
)
@EXAMPLES
def test_a_welcome_is_read_whole_however_its_bytes_come_and_nothing_behind_it_is_lost(
    lane: bytes, session: int, next_seq: int, more: bytes, cuts: list[int]
) -> None:
    frames = list(order_wire.encode_lane(lane))
    assert all(len(frame) <= order_wire.MAX_REPLY for frame in frames)
    data = b"".join(frames) + order_wire.encode_welcome(session, next_seq) + more
    answer, unread = read_welcome(data, cuts)
    assert isinstance(answer, order_wire.Welcome)
    assert (answer.session, answer.next_seq, answer.lane) == (session, next_seq, lane)
    assert answer.rest + unread == more


def test_a_refusal_is_read_with_its_reason() -> None:
    answer, _ = read_welcome(order_wire.encode_error("wrong token: it is in run-1, in token"), [7])
    assert answer == order_wire.Refusal("wrong token: it is in run-1, in token")


@pytest.mark.parametrize("data", [b"", b"!LANE,AAAA*", b"!OK,1,1", b"!WEATHER,fine*"])
def test_before_the_end_of_the_answer_there_is_none(data: bytes) -> None:
    assert order_wire.WelcomeReader().feed(data) is None


@pytest.mark.parametrize(
    "data",
    [b"!OK*", b"!OK,1*", b"!OK,x,1*", b"!OK,-1,1*", b"!LANE,A*", b"!LANE,A!A=*", b"\xff*", b"x" * 2000],
)
def test_an_answer_that_cannot_be_read_is_rejected(data: bytes) -> None:
    with pytest.raises(wire.Rejected):
        order_wire.WelcomeReader().feed(data)


@given(numbers, numbers)
@EXAMPLES
def test_an_acknowledgement_survives_its_frame(cause: int, index: int) -> None:
    frame = order_wire.encode_acknowledgement(cause, index)
    (read,) = order_wire.split_frames(frame)
    assert order_wire.is_acknowledgement(read)
    assert not order_wire.is_report(read)
    assert order_wire.parse_acknowledgement(read) == (cause, index)


@pytest.mark.parametrize("frame", [b"!A,", b"!A,1", b"!A,1,", b"!A,1,2,3", b"!A,-1,2", b"!A,1,x"])
def test_an_acknowledgement_that_cannot_be_read_is_rejected(frame: bytes) -> None:
    with pytest.raises(wire.Rejected):
        order_wire.parse_acknowledgement(frame)


@given(st.text(max_size=400))
@example("…" * 150)
@EXAMPLES
def test_a_farewell_is_one_frame_that_fits(text: str) -> None:
    frame = order_wire.encode_farewell(text)
    assert frame.count(b"*") == 1
    assert len(frame) <= wire.MAX_FRAME
    assert wire.parse_control(frame[:-1]).name == ("DIVERGED" if text else "BYE")


# ----------------------------------------------------------------------------------------------- reports


@given(reports)
@EXAMPLES
def test_a_report_survives_its_frame_in_every_field(report: Report) -> None:
    frame = order_wire.encode_report(report)
    assert frame.count(b"*") == 1
    assert len(frame) <= order_wire.MAX_REPLY
    assert order_wire.parse_report(frame[:-1]) == report


@given(reports)
@EXAMPLES
def test_equal_reports_are_equal_bytes(report: Report) -> None:
    frame = order_wire.encode_report(report)
    assert order_wire.encode_report(order_wire.parse_report(frame[:-1])) == frame


def test_the_longest_reason_of_a_lane_fits_into_a_frame() -> None:
    reason = (
        "max_position: -999999.123456789 held and 999999.123456789 on order, with SELL 999999.123456789 more "
        "-2999997.37037037: beyond 1000000"
    )
    small, wide = -1.2345678901234567e-300, 2**63 - 1
    longest = Report(
        strategy_id="s" * 24,
        client_order_id=f"{wide}.{wide}",
        order_id=wide,
        exec_id=wide,
        status=OrderStatus.PARTIALLY_FILLED,
        symbol="S" * 24,
        side=Side.SELL,
        qty=small,
        epoch=wide,
        seq=wide,
        ts=wide,
        last_qty=small,
        last_px=small,
        cum_qty=small,
        leaves_qty=small,
        avg_px=small,
        commission=small,
        reference=small,
        latency_ns=wide,
        reason=reason,
        tag="t" * 32,
    )
    assert len(order_wire.encode_report(longest)) < order_wire.MAX_REPLY


@pytest.mark.parametrize("frame", [b"!R,", b"!R,nonsense", b"!R,[]", b"!R,{}", b'!R,["report"]', b"!R,\xff"])
def test_a_report_that_cannot_be_read_is_rejected(frame: bytes) -> None:
    with pytest.raises(wire.Rejected) as rejected:
        order_wire.parse_report(frame)
    assert rejected.value.reason == "bad report"
