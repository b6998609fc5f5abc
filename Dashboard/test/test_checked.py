"""Whatever comes from outside is taken or answered in words: where, what stands there, and what may."""

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from Dashboard.checked import Wrong, from_json, from_values
from trading_lib.control import Costs, OperatorAction, PlaceOrder
from trading_lib.models import Side

ORDER = {"action": "order", "symbol": "AAPL", "side": "BUY", "qty": 1.0, "type": "market"}
values = st.recursive(
    st.none() | st.booleans() | st.integers(-2, 2**64) | st.floats(allow_nan=False) | st.text(max_size=4),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=3), inner, max_size=2),
    max_leaves=4,
)
KINDS = {kind.__struct_config__.tag: kind for kind in OperatorAction.__args__}


def refusal(body: bytes) -> str:
    with pytest.raises(Wrong) as caught:
        from_json("control", body, OperatorAction)
    return str(caught.value)


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        (
            {"action": "costs", "slippage_bps": -1},
            "control: slippage_bps = -1: expected a number at least 0 and",
        ),
        (
            {"action": "costs", "latency_ms": "x"},
            "control: latency_ms = 'x': expected a number at least 0 and",
        ),
        ({"action": "speed", "speed": 0}, "control: speed = 0: expected a number at least 1e-06 and at most"),
        ({"action": "speed"}, "control: speed: is missing"),
        (
            {"action": "reset", "seed": 1.5},
            "control: seed = 1.5: expected a whole number at least 0 and at most",
        ),
        (
            {"action": "schedule", "mode": "x", "dt_ms": 1},
            "control: mode = 'x': expected 'fixed' or 'poisson'",
        ),
        ({"action": "hot_reload", "on": 1}, "control: on = 1: expected true or false"),
        ({**ORDER, "side": "UP"}, "control: side = 'UP': expected 'BUY' or 'SELL'"),
        ({**ORDER, "qty": 0}, "control: qty = 0: expected a number above 0 and at most"),
        ({**ORDER, "type": "limit"}, "control: a limit order needs a price"),
        (
            {"action": "model", "changes": {}},
            "control: changes = {}: expected an object of at least 1 and at most 32",
        ),
        (
            {"action": "model", "changes": {"a b": 1}},
            "control: changes = {'a b': 1}: as keys expected text like ^[",
        ),
        (
            {"action": "model", "changes": {"a": "x"}},
            "control: changes = {'a': 'x'}: as values expected a number",
        ),
        ({"action": "fly"}, "control: action = 'fly': expected 'kill_switch' or "),
        ({"action": 3}, "control: action = 3: expected 'kill_switch' or "),
        ({}, "control: action: is missing"),
        ([], "control: top level = []: expected an object"),
    ],
)
def test_what_is_wrong_is_named_with_what_is_allowed(fields: object, said: str) -> None:
    assert refusal(msgspec.json.encode(fields)).startswith(said)


@pytest.mark.parametrize("body", [b"", b"{", b'"\xff"', b"[" * 5000, b'{"action": 1e999}'])
def test_what_is_no_json_is_said_to_be_none(body: bytes) -> None:
    assert refusal(body).startswith("control: not JSON: ")


def test_an_action_is_that() -> None:
    said = b'{"action": "costs", "slippage_bps": 5}'
    assert from_json("control", said, OperatorAction) == Costs(slippage_bps=5.0)
    assert from_values("order", ORDER, PlaceOrder) == PlaceOrder(
        symbol="AAPL", side=Side.BUY, qty=1.0, type="market"
    )


@given(
    st.sampled_from(sorted(KINDS)).flatmap(
        lambda tag: st.dictionaries(st.sampled_from(KINDS[tag].__struct_fields__ or ("x",)), values).map(
            lambda fields: {"action": tag, **fields}
        )
    )
    | values
)
def test_whatever_is_sent_it_is_taken_or_the_answer_says_in_our_words_why_not(fields: object) -> None:
    try:
        from_values("control", fields, OperatorAction)
    except Wrong as fault:
        assert str(fault).startswith("control: ") and "Expected `" not in str(fault)


@pytest.mark.parametrize("depth", [*range(50, 1050, 50), 5000])
def test_however_deep_something_is_nested_it_is_answered(depth: int) -> None:
    for text in ("[" * depth + "]" * depth, '{"x":' * depth + "1" + "}" * depth):
        assert refusal(text.encode()).startswith("control: ")
        assert refusal(b'{"action": "speed", "speed": %b}' % text.encode()).startswith("control: ")
