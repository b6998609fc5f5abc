"""The connections to a Gateway: real sockets, a scripted Gateway, one event loop."""

import logging
import socket
import time
from collections.abc import Callable, Iterator
from typing import Any, Self

import pytest

from OrderBook.feed_handler import FeedHandler, Link
from OrderBook.test.desk import T0, Desk, R
from OrderBook.test.gateway import HELLO, Port, session
from runtime.loop import EventLoop
from shared_memory_utils import FeedPosition
from testing.harness import PATIENCE_S, ConditionNotMet, free_port
from trading_lib.models import Kind

LOG = logging.getLogger("test.feed_handler")
LOG.propagate = False


class Stage:
    """A feed handler with its loop and sequencer, before a scripted Gateway. Everything in one thread."""

    def __init__(self, name: str) -> None:
        self.ticks, self.news = Port(free_port()), Port(free_port())
        self.desk = Desk(name)
        self.loop = EventLoop()
        self.handler = FeedHandler(
            self.loop, self.desk.order_book, "127.0.0.1", self.ticks.number, self.news.number, LOG
        )
        self.counters = self.handler.counters

    def round(self) -> None:
        """One turn of the OrderBook's loop."""
        self.loop.run_once(min(self.handler.tend(), 0.002))

    def until(self, condition: Callable[[], Any], what: str = "") -> None:
        """Turn the loop until something is so."""
        deadline = time.monotonic() + PATIENCE_S
        while not condition():
            if time.monotonic() > deadline:
                raise ConditionNotMet(what or repr(condition))
            self.round()

    def greet(self) -> None:
        """Accept on the tick port and take the hello."""
        self.until(self.ticks.accept, "a connection to the tick port")
        self.until(lambda: self.ticks.received() == HELLO, "the hello")

    def until_ticks(self, count: int) -> None:
        """Until so many ticks have been taken."""
        self.until(lambda: self.desk.counts.ticks >= count, f"{count} ticks")
        assert self.desk.counts.ticks == count

    def close(self) -> None:
        """Close all."""
        self.handler.close()
        self.loop.close()
        self.ticks.close()
        self.news.close()
        self.desk.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


@pytest.fixture
def stage(name: str) -> Iterator[Stage]:
    with Stage(name) as stage:
        yield stage


# ----------------------------------------------------------------------------------------------- sessions


def test_hello_answer_ticks(stage: Stage) -> None:
    assert stage.handler.state == "connecting"
    stage.greet()
    assert stage.handler.state == "plain"
    stage.ticks.send(session(5, 0, 1, 2), f"!N,MSFT,70,{T0 + 3}*!X,{T0 + 4}*")
    stage.until(lambda: stage.desk.tape.tail == 5)
    assert stage.handler.state == "session"
    assert stage.desk.seen() == [
        R(Kind.EPOCH, T0 + 1),
        R(Kind.TICK, T0 + 1, 1.5, "AAPL"),
        R(Kind.TICK, T0 + 2, 2.5, "AAPL"),
        R(Kind.NEWS, T0 + 3, 70, "MSFT"),
        R(Kind.END, T0 + 4),
    ]


def test_with_a_session_the_news_port_is_left_alone(stage: Stage) -> None:
    stage.greet()
    stage.ticks.send(session(5, 0, 1))
    stage.until_ticks(1)
    began = time.monotonic()
    stage.until(lambda: time.monotonic() > began + 0.4)  # longer than the wait before a Gateway is plain
    assert not stage.news.accept()
    assert stage.counters == {"ticks connected": 1}


@pytest.mark.parametrize("missed", [0, 4])
def test_after_a_drop_it_reconnects_greets_again_and_the_gap_is_exact(stage: Stage, missed: int) -> None:
    stage.greet()
    stage.ticks.send(session(5, 0, 1, 2), "AAPL,9")  # half a frame: it never happened
    stage.until_ticks(2)
    stage.ticks.hang_up()
    stage.greet()
    stage.ticks.send(session(5, 2 + missed, 3, 4))
    stage.until_ticks(4)
    gap = [R(Kind.GAP, T0 + 2, missed)] if missed else []
    assert stage.desk.seen(3) == [
        *gap,
        R(Kind.TICK, T0 + 3, 3.5, "AAPL"),
        R(Kind.TICK, T0 + 4, 4.5, "AAPL"),
    ]
    assert stage.counters == {"ticks connected": 2, "ticks disconnected": 1}
    assert stage.desk.order_book.position == FeedPosition(5, 4 + missed)


def test_another_gateway_on_the_port_is_another_epoch(stage: Stage) -> None:
    stage.greet()
    stage.ticks.send(session(5, 0, 1))
    stage.until_ticks(1)
    stage.ticks.close()
    stage.until(lambda: stage.handler.state == "connecting")
    stage.ticks.open()
    stage.greet()
    stage.ticks.send(session(6, 100, 1))
    stage.until_ticks(2)
    assert stage.desk.seen(2) == [R(Kind.EPOCH, T0 + 1), R(Kind.TICK, T0 + 1, 1.5, "AAPL")]


def test_a_gateway_that_starts_later_is_found(name: str) -> None:
    with Stage(name) as stage:
        stage.ticks.close()
        began = time.monotonic()
        stage.until(lambda: time.monotonic() > began + 0.3)
        assert stage.handler.state == "connecting"
        stage.ticks.open()
        stage.greet()
        stage.ticks.send(session(5, 0, 1))
        stage.until_ticks(1)


def test_attempts_on_a_port_that_is_closed_or_says_nothing_come_ever_more_slowly(stage: Stage) -> None:
    """Accepting and hanging up is no success: 20 ms, 40 ms, 80 ms … between attempts."""
    began = time.monotonic()
    for _ in range(6):
        stage.until(stage.ticks.accept)
        stage.ticks.hang_up()
    assert time.monotonic() - began > 0.02 + 0.04 + 0.08 + 0.16 + 0.32
    stage.greet()
    stage.ticks.send(session(5, 0, 1))
    stage.until_ticks(1)
    stage.ticks.hang_up()
    stage.until(lambda: stage.handler.state == "connecting")
    assert stage.handler._ticks.backoff.wait <= 0.02  # after data it starts from the shortest wait again


def test_a_connection_reset_in_any_phase_is_only_a_lost_connection(stage: Stage) -> None:
    for phase in range(4):
        stage.until(stage.ticks.accept)
        if phase > 0:
            stage.until(lambda: stage.ticks.received() == HELLO)
        if phase > 1:
            stage.ticks.send("!OK,5,0*")
            stage.round()
        if phase > 2:
            stage.ticks.send("garbage")
            stage.round()
        assert stage.ticks.connection is not None
        linger = b"\1\0\0\0\0\0\0\0"  # on, 0 s: closing resets
        stage.ticks.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
        stage.ticks.hang_up()
    stage.greet()
    stage.ticks.send(session(5, 0, 1))
    stage.until_ticks(1)


def test_a_hello_that_cannot_be_sent_is_only_a_lost_connection(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The peer may be gone between the look at the connection and the first send."""
    opened = stage.handler.opened
    failures = [BrokenPipeError(), ConnectionResetError()]

    def refuse_first(link: Link) -> Any:
        if failures:
            raise failures.pop()
        return opened(link)

    monkeypatch.setattr(stage.handler, "opened", refuse_first)
    stage.until(lambda: not failures)
    stage.until(lambda: stage.ticks.accept() and stage.ticks.accepted == 3)
    stage.until(lambda: stage.ticks.received() == HELLO)


# ------------------------------------------------------------------------------------------ plain gateways


def test_a_plain_gateway_on_two_ports_ignores_the_hello_and_feeds_the_tape(stage: Stage) -> None:
    """The third-party case: no tick late, none lost."""
    stage.greet()
    stage.until(stage.news.accept, "a connection to the news port")
    assert stage.handler.state == "plain"
    stage.news.send("AAPL,70*")
    stage.until(lambda: stage.desk.counts.news == 1)
    for second in range(10):
        stage.ticks.send(f"AAPL,{second + 1}.5,2025-10-01 09:30:0{second}*")
    stage.until_ticks(10)
    stage.news.send("MSFT,30*")
    stage.until(lambda: stage.desk.counts.news == 2)
    seen = stage.desk.seen()
    assert [record.kind for record in seen] == [
        Kind.EPOCH,
        Kind.NEWS,
        Kind.EPOCH,
        *[Kind.TICK] * 10,
        Kind.NEWS,
    ]
    first = seen[2].ts
    assert [record.ts - first for record in seen[3:]] == [n * 10**9 for n in [*range(10), 9]]
    assert [record.value for record in seen[3:13]] == [n + 1.5 for n in range(10)]
    assert (stage.desk.counts.late, stage.desk.counts.gaps) == (0, 0)
    assert not stage.ticks.received() and not stage.news.received()


def test_a_plain_gateways_lost_connection_is_a_gap_nobody_can_count(stage: Stage) -> None:
    stage.greet()
    stage.ticks.send(f"AAPL,1.5,{T0}*")
    stage.until_ticks(1)
    stage.ticks.hang_up()
    stage.greet()
    stage.ticks.send(f"AAPL,2.5,{T0 + 1}*")
    stage.until_ticks(2)
    assert stage.desk.seen(2) == [R(Kind.GAP, T0, -1), R(Kind.TICK, T0 + 1, 2.5, "AAPL")]


def test_a_news_port_that_comes_and_goes_never_disturbs_the_ticks(stage: Stage) -> None:
    stage.greet()
    for n in range(3):
        stage.until(stage.news.accept)
        stage.news.send("AAPL,50*")
        stage.until(lambda n=n: stage.desk.counts.news == n + 1)  # type: ignore[misc]
        stage.news.hang_up()
        stage.ticks.send(f"AAPL,1.5,{T0 + n}*")
        stage.until_ticks(n + 1)
    assert stage.ticks.accepted == 1
    assert stage.counters["news connected"] == 3


def test_an_answer_that_comes_late_makes_a_session_and_what_came_before_counts(stage: Stage) -> None:
    stage.greet()
    stage.until(stage.news.accept)
    stage.ticks.send("AAPL,7.5*")
    stage.until_ticks(1)
    stage.ticks.send(session(5, 0, 1, 2))
    stage.until_ticks(3)
    assert stage.handler.state == "session"
    stage.until(stage.news.hung_up, "the news port to be let go")
    assert [record.kind for record in stage.desk.seen()] == [
        Kind.EPOCH,
        Kind.TICK,
        Kind.EPOCH,
        Kind.TICK,
        Kind.TICK,
    ]
    assert stage.desk.seen(3) == [R(Kind.TICK, T0 + n, n + 0.5, "AAPL") for n in (1, 2)]
    assert stage.desk.counts.late == 0


def test_a_news_connection_that_stands_when_the_session_does_brings_nothing(stage: Stage) -> None:
    """Its news would be the session's a second time, and take numbers of the session's frames."""
    stage.greet()
    stage.until(stage.news.accept)
    stage.until(lambda: stage.counters["news connected"] == 1)
    stage.ticks.send(session(5, 0, 1))
    stage.news.send("AAPL,99*" * 5)
    stage.until(lambda: stage.counters["news disconnected"] == 1)
    stage.ticks.send(f"!S,1,7*AAPL,2.5,{T0 + 2}*")
    stage.until_ticks(2)
    assert (stage.desk.counts.gaps, stage.desk.counts.rejected) == (0, {})
    assert stage.desk.order_book.position == FeedPosition(5, 2)


def test_a_news_connection_that_comes_to_stand_after_the_answer_leaves_the_session_alone(
    stage: Stage,
) -> None:
    stage.greet()
    stage.ticks.send(session(5, 0, 1))
    stage.until_ticks(1)
    news = stage.handler._news
    news.start()  # as if it had been on its way when the answer came
    while not stage.counters["news connected"]:
        stage.loop.run_once(0.1)
    stage.ticks.send(f"!S,1,7*AAPL,2.5,{T0 + 2}*")
    stage.until_ticks(2)
    assert stage.handler.state == "session"
    assert stage.desk.counts.rejected == {}
    assert not news.open


def test_closing_hangs_up_and_forgets_its_sockets(stage: Stage) -> None:
    stage.greet()
    stage.until(stage.news.accept)
    stage.until(lambda: stage.counters["news connected"] == 1)
    stage.handler.close()
    assert stage.ticks.hung_up()
    assert stage.news.hung_up()
    assert stage.handler.state == "connecting"
    assert stage.counters["bytes not read at the end"] == 0


def test_what_has_come_and_was_not_read_when_closing_is_counted(stage: Stage) -> None:
    stage.greet()
    stage.ticks.send("x" * 1000)
    stage.ticks.hang_up()
    connection = stage.handler._ticks.connection
    assert connection is not None
    connection.setblocking(True)
    assert len(connection.recv(2000, socket.MSG_PEEK | socket.MSG_WAITALL)) == 1000, (
        "it is there, and then no more"
    )
    stage.handler.close()
    assert stage.counters["bytes not read at the end"] == 1000
