"""The domain types."""

import time
from collections.abc import Callable

import msgspec
import pytest

from trading_lib import wire
from trading_lib.models import Action, Kind, News, Order, Side, Tick


def test_kinds_keep_the_numbers_that_files_and_shared_memory_hold() -> None:
    assert {kind.name: kind.value for kind in Kind} == {
        "TICK": 1,
        "NEWS": 2,
        "TIME": 3,
        "EPOCH": 4,
        "GAP": 5,
        "CONTROL": 6,
        "END": 7,
    }


def test_sides_and_actions_are_their_names() -> None:
    assert [f"{side}" for side in Side] == ["BUY", "SELL"]
    assert [f"{action}" for action in Action] == ["BUY", "SELL", "HOLD"]
    assert (Side.BUY.sign, Side.SELL.sign) == (1, -1)
    assert Side("SELL") is Side.SELL


def test_a_tick_can_be_read_by_attribute_and_by_key() -> None:
    tick = Tick("AAPL", 173.25, 5, 7)
    assert (tick.symbol, tick.price, tick.ts, tick.seq) == ("AAPL", 173.25, 5, 7)
    assert (tick["symbol"], tick["price"], tick["ts"], tick["seq"]) == ("AAPL", 173.25, 5, 7)
    assert tick.asset_id == tick["asset_id"] == "AAPL"


def test_news_can_be_read_by_attribute_and_by_key() -> None:
    news = News("AAPL", 61, 5, 7)
    assert (news.symbol, news.sentiment, news.ts, news.seq) == ("AAPL", 61, 5, 7)
    assert (news["asset_id"], news["sentiment"]) == ("AAPL", 61)


@pytest.mark.parametrize("key", ["volume", "__class__", "", "sentiment"])
def test_a_key_that_is_no_field_is_a_key_error(key: str) -> None:
    with pytest.raises(KeyError):
        Tick("AAPL", 173.25, 5, 7)[key]


@pytest.mark.parametrize(
    "change",
    [
        lambda: setattr(Tick("AAPL", 1.0, 5, 7), "price", 2.0),
        lambda: setattr(News("AAPL", 50, 5, 7), "sentiment", 2),
        lambda: setattr(Order("AAPL", 1, 1.0, Side.BUY), "quantity", 2),
    ],
)
def test_facts_are_frozen(change: Callable[[], None]) -> None:
    with pytest.raises(AttributeError):
        change()


def test_an_order_without_a_time_is_of_now() -> None:
    before = time.time_ns()
    order = Order("AAPL", 10, 173.2, Side.BUY)
    assert order.timestamp is not None
    assert before <= order.timestamp <= time.time_ns()
    assert Order("AAPL", 10, 173.2, Side.BUY, timestamp=0).timestamp == 0


def test_a_client_order_id_is_the_cause_and_a_count() -> None:
    assert Order("AAPL", 10, 173.2, Side.BUY).client_order_id is None
    assert Order("AAPL", 10, 173.2, Side.BUY, cause_seq=0).client_order_id == "0.0"
    assert Order("AAPL", 10, 173.2, Side.BUY, cause_seq=41, index=2).client_order_id == "41.2"


def test_an_order_is_the_plain_frame_and_back() -> None:
    order = Order("AAPL", 100, 172.53, Side.BUY, timestamp=1_234_567_890_123_000_000)
    assert order.to_bytes() == b"1234567890.123,BUY,100,AAPL,172.53*"
    assert Order.from_bytes(order.to_bytes()) == order
    assert Order.from_bytes(order.to_bytes()[:-1]) == order


def test_a_copy_of_an_order_keeps_its_time() -> None:
    order = Order("AAPL", 100, 172.53, Side.BUY, timestamp=5)
    assert msgspec.structs.replace(order, quantity=1.0).timestamp == 5


@pytest.mark.parametrize(
    ("frame", "reason"),
    [
        (b"", "wrong number of fields"),
        (b"1,BUY,100,AAPL,172.53,x*", "wrong number of fields"),
        (b"1,HOLD,100,AAPL,172.53*", "bad side"),
        (b"1,BUY,0,AAPL,172.53*", "bad quantity"),
        (b"1,BUY,1,AAPL,172.53*2,SELL,1,AAPL,1*", "wrong number of fields"),
        (b"9" * 5000 + b",BUY,100,AAPL,172.53*", "frame too long"),
        (b"\xff,BUY,100,AAPL,172.53*", "not UTF-8"),
    ],
)
def test_bytes_that_are_no_order_say_why(frame: bytes, reason: str) -> None:
    with pytest.raises(wire.Rejected) as rejected:
        Order.from_bytes(frame)
    assert rejected.value.reason == reason
