"""A worker as its parent has it: what it prints, and what it may not call."""

import logging
import os
import socket
from collections.abc import Iterator
from contextlib import closing
from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runtime.loop import EventLoop
from Strategy import nursery, seccomp, worker_handle
from Strategy.channel import Channel
from Strategy.messages import FromWorker
from Strategy.nursery import DENIALS_A_ROUND, ROUND_S
from Strategy.pulse import Pulse, make_pulse
from Strategy.sandbox import DenialCounter
from Strategy.worker_handle import OUTPUT_AT_ONCE, OUTPUT_LINE, WorkerHandle


class Puppet:
    """A worker that the test plays: `handle` is what the Strategy has of it."""

    def __init__(self) -> None:
        ours, self.link = socket.socketpair()
        reading, self.output = os.pipe()
        os.set_blocking(reading, False)
        pulse_fd = make_pulse()
        channel = Channel(ours, FromWorker, descriptors=True)
        self.handle = WorkerHandle(1, "/strategy.py", channel, reading, Pulse(pulse_fd))
        os.close(pulse_fd)

    def prints(self, data: bytes) -> None:
        assert os.write(self.output, data) == len(data)

    def close(self) -> None:
        self.link.close()
        os.close(self.output)
        self.handle.close()


@pytest.fixture
def puppet() -> Iterator[Puppet]:
    with closing(Puppet()) as made:
        yield made


def test_all_that_waits_in_its_pipe_at_the_end_is_read_also_a_last_line_without_an_end(
    puppet: Puppet,
) -> None:
    puppet.prints(b"a line\n" * 9000 + b"its last words")
    puppet.handle.read_last_output()
    assert puppet.handle.printed == ["a line"] * 9000 + ["its last words"]


def test_who_goes_on_printing_is_read_for_a_while_and_that_there_is_more_is_said(
    puppet: Puppet, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(worker_handle, "LAST_READS", 2)
    puppet.prints((b"x" * (OUTPUT_AT_ONCE - 1) + b"\n") * 3)
    puppet.handle.read_last_output()
    shown = "x" * OUTPUT_LINE + "…"
    assert puppet.handle.printed == [shown, shown, "… and more, which is not read"]


def test_a_line_without_an_end_is_shown_in_pieces_and_no_piece_is_long(puppet: Puppet) -> None:
    for _ in range(4):
        puppet.prints(b"x" * OUTPUT_AT_ONCE)
        puppet.handle.read_output()
    assert puppet.handle.printed == ["x" * OUTPUT_LINE + "…"] * 2


@given(st.lists(st.binary(min_size=1, max_size=50), max_size=20))
def test_output_may_come_in_any_pieces(pieces: list[bytes]) -> None:
    with closing(Puppet()) as puppet:
        for piece in pieces:
            puppet.prints(piece)
            assert puppet.handle.read_output()
        puppet.handle.read_last_output()
        lines = b"".join(pieces).split(b"\n")
        expected = lines if lines[-1] else lines[:-1]
        assert puppet.handle.printed == [line.decode(errors="replace") for line in expected]


# ---------------------------------------------------------------------------------------- denied system calls


class EndlessDenials(DenialCounter):
    """Of a worker that always makes another call."""

    def __init__(self, fd: int) -> None:
        super().__init__(fd)
        self.answered = 0

    def turn(self, most: int = seccomp.AT_ONCE) -> int:
        self.answered += most
        return most


def test_who_calls_without_end_gets_so_many_answers_a_round_however_often_it_is_looked_at(
    puppet: Puppet, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = 100.0
    monkeypatch.setattr(nursery, "time", SimpleNamespace(monotonic=lambda: now))
    calls, caller = os.pipe()
    os.write(caller, b"x")  # there is always one that waits
    denials = puppet.handle.denials = EndlessDenials(calls)
    with closing(EventLoop()) as loop:
        workers = nursery.Nursery(loop, logging.getLogger("nursery"))
        workers.workers[1] = puppet.handle
        workers.answer_denials(puppet.handle)
        workers.next_round()
        for number in (1, 2, 3):
            for _ in range(5):
                loop.run_once(0)
                workers.next_round()
            assert denials.answered == number * DENIALS_A_ROUND
            now += 1.5 * ROUND_S
    os.close(caller)
