"""Messages over a socket that may be full: whole, in order, and with their descriptors."""

import errno
import os
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from Strategy.channel import Channel
from Strategy.messages import Join, Lines, Session, ToWorker


@pytest.fixture
def ends() -> Iterator[tuple[Channel, Channel]]:
    """Who sends, and who receives."""
    one, other = socket.socketpair()
    sender, receiver = Channel(one, Lines, descriptors=False), Channel(other, ToWorker, descriptors=True)
    yield sender, receiver
    sender.close()
    receiver.close()


def fill(sender: Channel) -> None:
    """Send more than the kernel takes."""
    sender.send(Join(1, b"x" * (1 << 20), b""))
    assert sender.unsent


def taken(sender: Channel, receiver: Channel, count: int) -> list[tuple[object, list[int]]]:
    """The next so many messages."""
    found: list[tuple[object, list[int]]] = []
    while len(found) < count:
        sender.flush()
        found += receiver.receive()
    return found


def open_now() -> int:
    """How many descriptors this process has open."""
    return len(list(Path("/dev/fd").iterdir()))


def readable(content: bytes) -> int:
    """A pipe's reading end, with something in it."""
    reading, writing = os.pipe()
    os.write(writing, content)
    os.close(writing)
    return reading


def test_a_descriptor_may_be_closed_by_its_owner_while_it_waits_behind_what_is_not_sent(
    ends: tuple[Channel, Channel],
) -> None:
    sender, receiver = ends
    fill(sender)
    for content in (b"one", b"two"):
        fd = readable(content)
        sender.send(Session(content), [fd])
        os.close(fd)
    _, *sessions = taken(sender, receiver, 3)
    assert [message for message, _ in sessions] == [Session(b"one"), Session(b"two")]
    for content, (_, (fd,)) in zip((b"one", b"two"), sessions, strict=True):
        assert os.read(fd, 10) == content
        os.close(fd)


@pytest.mark.parametrize("sent", [True, False])
def test_no_copy_of_a_descriptor_is_left(ends: tuple[Channel, Channel], sent: bool) -> None:
    sender, receiver = ends
    before = open_now()
    fill(sender)
    fd = readable(b"")
    sender.send(Session(b""), [fd])
    os.close(fd)
    if sent:
        for _, descriptors in taken(sender, receiver, 2):
            for found in descriptors:
                os.close(found)
    else:
        sender.close()
        before -= 1  # its socket
    assert open_now() == before


def test_descriptors_whose_message_never_comes_are_closed_with_the_channel() -> None:
    one, other = socket.socketpair()
    receiver = Channel(other, ToWorker, descriptors=True)
    before = open_now()
    fd = readable(b"")
    socket.send_fds(one, [b"half"], [fd])
    os.close(fd)
    assert receiver.receive() == []
    receiver.close()
    assert open_now() == before - 1
    one.close()


def test_without_room_for_a_copy_nothing_is_sent(
    ends: tuple[Channel, Channel], monkeypatch: pytest.MonkeyPatch
) -> None:
    sender, receiver = ends
    fd, dup, calls = readable(b""), os.dup, 0

    def once(fd: int) -> int:
        nonlocal calls
        calls += 1
        if calls > 1:
            raise OSError(errno.EMFILE, "Too many open files")
        return dup(fd)

    before = open_now()
    monkeypatch.setattr(os, "dup", once)
    with pytest.raises(OSError, match="Too many open files"):
        sender.send(Session(b""), [fd, fd])
    assert (sender.unsent, receiver.receive()) == (0, [])
    assert open_now() == before
    os.close(fd)
