"""The control frames of the feed session."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trading_lib import wire
from trading_lib.control import MarketAction, Model, Pause, Reset, Resume, Schedule, Speed
from trading_lib.control_wire import (
    MAX_REQUEST,
    encode_refusal,
    encode_request,
    parse_action,
    parse_refusal,
    parse_request,
)

NAMES = st.from_regex(r"[A-Za-z0-9_]{1,32}", fullmatch=True)
NUMBERS = st.floats(allow_nan=False, allow_infinity=False)
IDS = st.integers(0, 2**63 - 1)
ACTIONS: st.SearchStrategy[MarketAction] = st.one_of(
    st.sampled_from([Pause(), Resume(), Reset()]),
    st.builds(lambda seed: Reset(seed=seed), IDS),
    st.builds(
        lambda mode, dt_ms: Schedule(mode=mode, dt_ms=dt_ms),
        st.sampled_from(["fixed", "poisson"]),
        st.floats(1e-6, 1e12),
    ),
    st.builds(lambda speed: Speed(speed=speed), st.floats(1e-6, 1e9)),
    st.builds(
        lambda changes: Model(changes=changes), st.dictionaries(NAMES, NUMBERS, min_size=1, max_size=32)
    ),
)


@given(number=IDS, action=ACTIONS)
def test_an_action_is_one_frame_and_comes_back_as_it_was(number: int, action: MarketAction) -> None:
    frame = encode_request(number, action)
    assert frame.endswith(b"*") and frame.count(b"*") == 1 and len(frame) <= MAX_REQUEST
    found, body = parse_request(frame[:-1])
    assert (found, parse_action(body)) == (number, action)


@given(number=IDS, reason=st.text(max_size=400))
def test_a_refusal_is_one_frame_of_the_feed_whatever_its_reason(number: int, reason: str) -> None:
    frame = encode_refusal(number, reason)
    messages = wire.FeedDecoder().feed(frame)
    assert len(messages) == 1 and isinstance(messages[0], wire.Control)
    assert parse_refusal(messages[0])[0] == number


def test_a_reason_with_commas_is_read_as_it_was_written() -> None:
    reason = "no parameter kapa, only kappa, theta, sigma"
    assert parse_refusal(wire.parse_control(encode_refusal(7, reason)[:-1])) == (7, reason)


@pytest.mark.parametrize(
    "frame", [b"", b"!CONTROL", b"!CONTROL,1", b"!CONTROL,x,{}", b"!HELLO,1,{}", b"\xff,1,2"]
)
def test_what_is_no_request_is_rejected(frame: bytes) -> None:
    with pytest.raises(wire.Rejected, match="bad control frame"):
        parse_request(frame)


@pytest.mark.parametrize(
    "body",
    [
        "",
        "{}",
        '{"action":"costs"}',
        '{"action":"speed","speed":0}',
        "[" * 4000,
        '{"x":' * 800,
        '{"action":"pause","x":' + "[" * 4000,
    ],
)
def test_what_is_no_action_of_the_gateway_is_rejected_with_its_reason(body: str) -> None:
    with pytest.raises(wire.Rejected, match=r"bad action: ."):
        parse_action(body)


@pytest.mark.parametrize("fields", [(), ("1",), ("x", "why")])
def test_what_is_no_refusal_is_rejected(fields: tuple[str, ...]) -> None:
    with pytest.raises(wire.Rejected, match="bad control frame"):
        parse_refusal(wire.Control("REFUSED", fields))
