"""`/stream` over real sockets; the frames are made by the test, one at a time."""

import asyncio
import contextlib
import json
import re
import socket
import threading
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
import uvicorn
from hypothesis import given
from hypothesis import strategies as st
from starlette.applications import Starlette
from starlette.routing import WebSocketRoute
from websockets.exceptions import InvalidStatus
from websockets.sync.client import ClientConnection, connect

from Dashboard.frames import CHART, PRICES, TOPICS, Frames, Place
from Dashboard.hub import MAX_CHARTS, MAX_REQUEST, MAX_SYMBOLS, BadRequest, Hub, _apply
from Dashboard.market_watch import MarketWatch, NewsItem
from Dashboard.money_watch import MoneyWatch
from Dashboard.system_watch import SystemWatch
from Dashboard.test.statuses import status
from testing.harness import ROOT, free_port, segment_name, wait_until

Message = dict[str, Any]
MOST_FRAMES = 5000  # of 70 KB each: more than any kernel keeps for a connection
SYMBOLS = tuple(f"S{i:04}" for i in range(2000))


class _Server(uvicorn.Server):
    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


class Stage:
    """A hub behind a real server, and a market that moves when the test says so."""

    def __init__(self, most: int) -> None:
        self.market = MarketWatch(segment_name(), None, 60.0)
        self.market.run_id = "run-1"
        self.market.symbols = SYMBOLS
        for name in ("prices", "first", "sentiment", "rates"):
            setattr(self.market, name, np.ones(len(SYMBOLS)))
        self.market.times = np.ones(len(SYMBOLS), np.int64)
        self.market.changed = np.zeros(len(SYMBOLS), bool)
        self.money, self.system = MoneyWatch(), SystemWatch()
        self.frames = Frames(self.market, self.money, self.system)
        self.hub = Hub(self.frames, most)
        self.port = free_port()
        self._lines = contextlib.ExitStack()
        self._asked = 0
        app = Starlette(routes=[WebSocketRoute("/stream", self.hub.serve)])
        self.server = _Server(
            uvicorn.Config(app, port=self.port, log_config=None, ws_per_message_deflate=False, lifespan="off")
        )
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._run)
        self._thread.start()
        wait_until(lambda: self.server.started)

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        try:
            self._loop.run_until_complete(self.server.serve())
        finally:
            self._loop.close()

    def do(self, work: Callable[[], Any]) -> Any:
        """Have something done where the server runs."""

        async def doing() -> Any:
            return work()

        return asyncio.run_coroutine_threadsafe(doing(), self._loop).result(30)

    def frame(self, *slots: int, price: float = 2.0) -> int:
        """Another frame, in which these symbols have a new price; its number."""

        def make() -> int:
            self.market.prices[list(slots)] = price
            self.market.changed[list(slots)] = True
            self.frames.next()
            self.hub.publish()
            return self.frames.number

        number: int = self.do(make)
        return number

    @property
    def unsent(self) -> int:
        """Bytes that the server keeps for its connections, at the most."""
        sizes = self.do(
            lambda: [one.transport.get_write_buffer_size() for one in self.server.server_state.connections]
        )
        return max(sizes, default=0)

    def listen(self, *topics: str, symbols: list[str] | None = None, **more: Any) -> "Listener":
        """Another listener, whose request the server has taken."""
        line = self._lines.enter_context(
            connect(f"ws://127.0.0.1:{self.port}/stream", compression=None, proxy=None, max_size=None, **more)
        )
        listener = Listener(line)
        listener.ask(subscribe=list(topics), symbols=symbols)
        self._asked += 1
        wait_until(lambda: len(self.places(lambda place: place.wanted)) == self._asked)
        return listener

    def places(self, wanted: Callable[[Place], Any] = lambda _: True) -> list[Place]:
        """The listeners' places, as they are where the server runs."""
        found: list[Place] = self.do(lambda: [one for one in self.hub._places.values() if wanted(one)])
        return found

    def close(self) -> None:
        self._lines.close()
        self.server.should_exit = self.server.force_exit = True
        self._thread.join()


class Listener:
    """One client; `next` is its next message that is no heartbeat."""

    def __init__(self, line: ClientConnection) -> None:
        self.line = line
        self.heartbeat: Message = {}

    def ask(self, **request: Any) -> None:
        self.line.send(json.dumps({name: value for name, value in request.items() if value is not None}))

    def next(self, topic: str | None = None) -> Message:
        while True:
            message: Message = json.loads(self.line.recv(30))
            if message["topic"] == "heartbeat":
                self.heartbeat = message
            elif topic is None or message["topic"] == topic:
                return message


@pytest.fixture
def stage() -> Iterator[Stage]:
    made = Stage(most=150)
    yield made
    made.close()


def prices(message: Message) -> dict[str, float]:
    return {row[0]: row[1] for row in message["rows"]}


def test_who_joins_is_told_what_there_is_and_gets_everything_then_only_what_changes(stage: Stage) -> None:
    stage.frame(*range(2000))
    listener = stage.listen(PRICES)
    number = stage.frame(7)
    hello = listener.next()
    assert hello["topic"] == "hello" and hello["run_id"] == "run-1" and hello["topics"] == list(TOPICS)
    assert hello["price_columns"][:2] == ["symbol", "price"]
    first = listener.next(PRICES)
    assert len(first["rows"]) == 2000 and first["since"] == 0
    while first["seq"] < number:
        first = listener.next(PRICES)
    number = stage.frame(8, 9, price=3.5)
    later = listener.next(PRICES)
    assert prices(later) == {"S0008": 3.5, "S0009": 3.5} and later["seq"] == number


def test_of_the_symbols_asked_for_only_those_come(stage: Stage) -> None:
    stage.frame(*range(10))
    listener = stage.listen(PRICES, symbols=["S0003", "S0005", "NONE"])
    stage.frame(3, price=4.0)
    stage.frame(6)
    stage.frame(5, price=5.0)
    found: dict[str, float] = {}
    while found.get("S0005") != 5.0:
        found |= prices(listener.next(PRICES))
    assert set(found) == {"S0003", "S0005"} and found["S0003"] == 4.0


def test_numbers_grow_and_for_who_keeps_up_each_frame_begins_where_the_one_before_ended(stage: Stage) -> None:
    listener = stage.listen(PRICES)
    before = 0
    for _ in range(20):
        number = stage.frame(1)
        message = listener.next(PRICES)
        assert message["seq"] == number > before and message["since"] == before
        before = number
    assert listener.heartbeat["missed_frames"] == 0


def test_a_topic_that_is_ended_is_silent_and_one_asked_for_again_begins_with_everything(stage: Stage) -> None:
    stage.frame(*range(5))
    listener = stage.listen(PRICES, "news")
    stage.frame(0)
    assert len(listener.next(PRICES)["rows"]) == 2000
    listener.ask(unsubscribe=[PRICES])
    wait_until(lambda: not stage.places(lambda place: PRICES in place.wanted))

    def news() -> None:
        stage.market.news_count += 1
        stage.market.news.append(NewsItem(stage.market.news_count, 5, "S0001", 72))

    stage.do(news)
    stage.frame(1)
    told = listener.next("news")
    assert told["events"] == [{"ts": "5", "symbol": "S0001", "sentiment": 72}] and told["dropped"] == 0
    listener.ask(subscribe=[PRICES])
    wait_until(lambda: stage.places(lambda place: PRICES in place.wanted))
    stage.frame(1)
    assert len(listener.next(PRICES)["rows"]) == 2000


def test_another_run_begins_with_another_hello_and_everything_anew(stage: Stage) -> None:
    stage.frame(1)
    listener = stage.listen(PRICES)
    stage.frame(1)
    assert len(listener.next(PRICES)["rows"]) == 2000

    def begin() -> None:
        stage.market.run_id = "run-2"

    stage.do(begin)
    stage.frame(1)
    while (message := listener.next())["topic"] != "hello":
        pass
    assert message["run_id"] == "run-2"
    assert len(listener.next(PRICES)["rows"]) == 2000


def test_events_that_are_not_kept_any_more_are_counted_in_the_message(stage: Stage) -> None:
    for i in range(2500):
        stage.money.fills.add({"symbol": "A", "n": i})
    listener = stage.listen("fills")
    stage.frame(1)
    told = listener.next("fills")
    assert told["dropped"] == 500 and [event["n"] for event in told["events"]] == list(range(500, 2500))


def test_a_listener_that_never_reads_costs_nobody_anything_and_gets_the_newest_when_it_reads(
    stage: Stage,
) -> None:
    small = socket.socket()
    small.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    small.connect(("127.0.0.1", stage.port))
    every = range(2000)
    stage.frame(*every)
    # the client reads a few messages ahead into a queue of its own, and no more
    stuck = stage.listen(PRICES, sock=small, max_queue=1)
    keen = stage.listen(PRICES)
    stage.frame(*every)

    def behind() -> int:
        return max(stage.frames.number - place.frame for place in stage.places())

    number = before = keen.next(PRICES)["seq"]
    while behind() < 100 and number < MOST_FRAMES:  # until what the kernel keeps for it is full, too
        number = stage.frame(*every, price=float(number))
        message = keen.next(PRICES)
        assert (message["since"], message["seq"]) == (before, number)  # not one frame is missing
        before = number
        assert stage.unsent < 1 << 20, "a message or two, however many frames went by"
    assert behind() >= 100
    while (message := stuck.next(PRICES))["seq"] < number:
        pass
    assert message["since"] <= number - 100 and set(prices(message).values()) == {number - 1.0}
    missed = sorted(place.missed for place in stage.places())
    assert missed[0] == 0 and missed[1] >= 99


def test_a_hundred_listeners_who_keep_up_share_one_encoding(stage: Stage) -> None:
    listeners = [stage.listen(PRICES, "pnl", "system") for _ in range(100)]
    stage.frame(1)
    for listener in listeners:
        listener.next(PRICES)
    wait_until(lambda: not stage.places(lambda place: place.frame < stage.frames.number))
    encoded = stage.frames.encoded
    number = stage.frame(2)
    for listener in listeners:
        assert listener.next(PRICES)["seq"] == number
    assert stage.frames.encoded == encoded + 1
    assert stage.hub.listeners == 100
    for listener in listeners:
        listener.line.close()
    wait_until(lambda: stage.hub.listeners == 0)
    assert stage.hub.counters["disconnected"] == 100


def test_one_listener_too_many_is_told_so(stage: Stage) -> None:
    stage.hub._most = 1
    stage.listen(PRICES)
    with (
        pytest.raises(InvalidStatus, match="403"),
        connect(f"ws://127.0.0.1:{stage.port}/stream", proxy=None),
    ):
        pass
    assert stage.hub.counters["refused: too many listeners"] == 1


def test_charts_are_kept_only_while_somebody_looks(stage: Stage) -> None:
    listener = stage.listen(CHART, symbols=["S0001"])
    stage.frame(1)
    begin = listener.next(CHART)
    assert begin["begin"] and begin["symbol"] == "S0001"
    assert list(stage.market.charts) == ["S0001"]
    listener.line.close()
    wait_until(lambda: stage.hub.listeners == 0)
    stage.frame(1)
    assert not stage.market.charts


# ---------------------------------------------------------------------------------------------- requests


@pytest.mark.parametrize(
    "text",
    ["", "null", "[]", "{", '{"subscribe": "prices.tick"}', '{"subscribe": ["prices"]}', '{"unsubscribe": [3]}',
     '{"symbols": "AAPL"}', '{"kill": true}', "[" * 3000, '"' + "x" * MAX_REQUEST + '"',
     '{"subscribe": ["prices.chart"]}', '{"subscribe": ["prices.chart"], "symbols": []}'],
)  # fmt: skip
def test_a_request_that_means_nothing_is_answered_counted_and_changes_nothing(
    stage: Stage, text: str
) -> None:
    listener = stage.listen(PRICES)
    listener.line.send(text)
    assert listener.next("error")["error"]
    assert stage.hub.counters["rejected: bad request"] == 1
    number = stage.frame(1)
    assert listener.next(PRICES)["seq"] == number


def test_too_many_symbols_or_charts_are_refused() -> None:
    for topic, count in ((PRICES, MAX_SYMBOLS + 1), (CHART, MAX_CHARTS + 1)):
        with pytest.raises(BadRequest):
            _apply(json.dumps({"subscribe": [topic], "symbols": [f"{i}" for i in range(count)]}), Place())


WORDS = st.sampled_from(["subscribe", "unsubscribe", "symbols", "prices.chart", "news", "A"])
ASKED = st.recursive(
    st.none() | st.integers() | WORDS, lambda inner: st.lists(inner) | st.dictionaries(WORDS, inner)
)


@given(st.text() | ASKED.map(json.dumps))
def test_whatever_is_asked_the_place_stays_sound(text: str) -> None:
    place = Place()
    with contextlib.suppress(BadRequest):
        _apply(text, place)
    assert set(place.wanted) <= set(TOPICS)
    assert set(place.charts) <= (place.wanted.get(CHART) or frozenset())


def test_a_status_is_told_once_to_each(stage: Stage) -> None:
    listener = stage.listen("system", "strategies")
    stage.do(lambda: stage.system.take(status()))
    stage.frame(1)
    told = listener.next("system")
    while not told["parts"]:
        told = listener.next("system")
    assert told["parts"]["gateway"]["state"] == "ready"
    assert ["orderbook", "gaps", "", 1, True] in [row[:5] for row in told["counted"]]
    assert told["histograms"]["order_manager"]["tick→order"]["max"] == 2_500_000
    assert "histograms" not in told["parts"]["order_manager"]


def test_the_topics_that_the_docs_list_are_those_there_are() -> None:
    page = (
        (ROOT / "docs" / "DASHBOARD.md").read_text().partition("| topic | snapshot |")[2].partition("\n\n")[0]
    )
    listed = re.findall(r"^\| `([a-z.]+)`", page, re.MULTILINE)
    assert sorted(listed) == sorted([*TOPICS, "hello", "heartbeat", "error"])
