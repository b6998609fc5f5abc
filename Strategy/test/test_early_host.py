"""A host that expects a record: awake before it, and never longer than it should be."""

import os
import threading
from collections.abc import Iterator
from contextlib import closing
from types import SimpleNamespace
from typing import Any

import msgspec
import pytest

from config import Config, StrategyEntry
from shared_memory.layout import STATE, STATE_CLOSED
from shared_memory_utils import Entry, TapeReader, TapeWriter
from Strategy import worker
from Strategy.host import Host
from Strategy.order_link import OrderLink
from Strategy.pulse import Pulse, make_pulse
from testing.harness import segment_name
from trading_lib.engine import Engine
from trading_lib.models import Kind

LONG_NS = 60_000_000_000


class Expecting:
    """In a rhythm's place: what it expects is the test's."""

    def __init__(self, begin: int, end: int) -> None:
        self.expected = (begin, end)
        self.found: list[bool] = []

    def heard(self, due: int) -> None:
        pass

    def watch(self, _: int) -> tuple[int, int]:
        return self.expected

    def looked(self, *, found: bool) -> None:
        self.found.append(found)


class Room:
    """A tape, its host, and what that expects."""

    def __init__(self) -> None:
        name = segment_name()
        self.writer = TapeWriter.open(name, 1 << 12, "run-1")
        self.tape = TapeReader(name)
        self.ticks: list[Any] = []
        strategy: Any = SimpleNamespace(on_tick=lambda _, tick: self.ticks.append(tick))
        engine = Engine("one", strategy, {}, ["AAPL"].__getitem__, self.ticks.append)
        fd = make_pulse()
        self.pulse = Pulse(fd)
        os.close(fd)
        link = OrderLink(lambda *_: None, lambda *_: None)
        self.host = Host(self.tape, engine, link, self.pulse, budget=1.0, early=1)

    def expect(self, begin: int, end: int) -> Expecting:
        made: Any = Expecting(begin, end)
        self.host._rhythm = made
        return made  # type: ignore[no-any-return]

    def append(self) -> None:
        """A tick that nobody is rung for."""
        self.writer.append([Entry(1, 2.5, 1, 0, int(Kind.TICK))])

    def close(self) -> None:
        self.tape.close()
        self.pulse.close()
        self.writer.close()


@pytest.fixture
def room() -> Iterator[Room]:
    with closing(Room()) as made:
        yield made


def test_a_record_that_is_expected_is_taken_without_a_ring(room: Room) -> None:
    expecting = room.expect(0, LONG_NS)
    threading.Timer(0.01, room.append).start()
    room.host._sleep()
    assert expecting.found == [True]
    assert room.host._work(1) and [tick.price for tick in room.ticks] == [2.5]


def test_who_is_rung_before_the_time_has_come_does_not_look(
    room: Room, monkeypatch: pytest.MonkeyPatch
) -> None:
    expecting = room.expect(40_000_000, LONG_NS)
    monkeypatch.setattr(room.tape, "wait", lambda _: None)
    room.host._sleep()
    assert expecting.found == []


def test_at_the_end_of_the_tape_nothing_is_expected(room: Room) -> None:
    expecting = room.expect(0, LONG_NS)
    room.writer.segment.words[STATE] = STATE_CLOSED
    room.host._sleep()
    assert expecting.found == []


def test_an_end_of_the_tape_ends_the_look(room: Room) -> None:
    expecting = room.expect(0, LONG_NS)

    def end() -> None:
        room.writer.segment.words[STATE] = STATE_CLOSED

    threading.Timer(0.01, end).start()
    room.host._sleep()
    assert expecting.found == [False]


def test_what_does_not_come_is_given_up(room: Room) -> None:
    expecting = room.expect(-1000, 1000)
    room.host._sleep()
    assert expecting.found == [False]


def test_what_is_due_much_later_is_slept_for(room: Room, monkeypatch: pytest.MonkeyPatch) -> None:
    slept: list[float] = []
    monkeypatch.setattr(room.tape, "wait", slept.append)
    expecting = room.expect(LONG_NS, 2 * LONG_NS)
    room.host._sleep()
    assert len(slept) == 1 and slept[0] < 1 and expecting.found == []


@pytest.mark.parametrize(
    ("strategies", "processors", "pin", "early"),
    [(1, 2, False, 45_000), (1, 1, False, 0), (1, 1, True, 45_000), (2, 4, False, 0)],
)
def test_only_a_lone_strategy_with_a_processor_to_spare_wakes_early(
    monkeypatch: pytest.MonkeyPatch, strategies: int, processors: int, pin: bool, early: int
) -> None:
    monkeypatch.setattr(worker, "_processors", lambda: processors)
    config = Config(("AAPL",))
    entries = tuple(StrategyEntry(id=f"s{n}", path="strategies/sma/strategy.py") for n in range(strategies))
    section = msgspec.structs.replace(config.Strategy, strategies=entries)
    run = msgspec.structs.replace(config.run, pin=pin)
    assert worker._early(msgspec.structs.replace(config, Strategy=section, run=run)) == early
