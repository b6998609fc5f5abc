"""A handle on a worker: what it prints and says, whoever is at the other end."""

import os
import socket
from collections.abc import Iterator
from contextlib import closing
from typing import Final

import pytest
from hypothesis import given
from hypothesis import strategies as st

from Strategy import nursery
from Strategy.channel import Channel
from Strategy.messages import Fork, FromWorker
from Strategy.nursery import OUTPUT_AT_ONCE, OUTPUT_LINE, WorkerHandle
from Strategy.pulse import Pulse, make_pulse

ORDER: Final = Fork(1, b"", "mine", "/strategy.py", b"", {}, "tape", 0, "")


class Puppet:
    """A worker that the test plays: `handle` is what the Strategy has of it."""

    def __init__(self) -> None:
        ours, self.link = socket.socketpair()
        reading, self.output = os.pipe()
        os.set_blocking(reading, False)
        pulse_fd = make_pulse()
        channel = Channel(ours, FromWorker, descriptors=True)
        self.handle = WorkerHandle(1, ORDER, channel, reading, Pulse(pulse_fd))
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
    monkeypatch.setattr(nursery, "LAST_READS", 2)
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
