"""Messages between processes of the Strategy, over a Unix stream socket, descriptors included.

    channel.send(Join(7, lane, b""), [session.fileno()])
    for message, descriptors in channel.receive(): ...

A message is its length (4 bytes), how many descriptors belong to it (1 byte), and JSON.
"""

import array
import os
import socket
import struct
from collections import deque
from collections.abc import Iterable, Sequence
from typing import Any, Final

import msgspec

from Strategy.messages import MAX_MESSAGE, Message

_HEAD: Final = struct.Struct("=IB")
READ_BYTES: Final = 1 << 16
MAX_DESCRIPTORS: Final = 8  # with one message
MAX_UNSENT: Final = 32 << 20  # bytes the peer has not taken; then it is given up


CLOSED: Final = "closed"  # by the peer, or with its process


class ChannelClosed(ConnectionError):
    """The peer has gone, does not read, or says what is no message."""


class Channel:
    """One end. Owns its socket, and copies of the descriptors it is to send. Nothing ever waits.

    `takes` is the union of messages it understands. `descriptors`: whether the peer may send some; who is
    not trusted may not, and the kernel throws away what it sends.
    """

    def __init__(self, connection: socket.socket, takes: Any, *, descriptors: bool) -> None:
        connection.setblocking(False)
        self._socket = connection
        self._decode = msgspec.json.Decoder(takes).decode
        self.descriptors = descriptors
        self._received = bytearray()
        self._waiting: deque[int] = deque()  # descriptors whose messages are not complete yet
        self._unsent: deque[tuple[bytes, tuple[int, ...]]] = deque()
        self._unsent_bytes = 0

    def fileno(self) -> int:
        """The socket's descriptor."""
        return self._socket.fileno()

    @property
    def unsent(self) -> int:
        """Bytes the peer has not taken yet."""
        return self._unsent_bytes

    def send(self, message: Message, descriptors: Sequence[int] = ()) -> None:
        """Send a message, now or with a later call; the descriptors may be closed as soon as this returns.

        Raises ChannelClosed, and OSError when there is no room for copies of the descriptors.
        """
        body = msgspec.json.encode(message)
        data = _HEAD.pack(len(body), len(descriptors)) + body
        self._unsent.append((data, _copies(descriptors)))
        self._unsent_bytes += len(data)
        self.flush()
        if self._unsent_bytes > MAX_UNSENT:
            raise ChannelClosed("it does not read")

    def flush(self) -> None:
        """Send what waits. Raises ChannelClosed."""
        try:
            while self._unsent:
                data, descriptors = self._unsent[0]
                ancillary = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", descriptors))]
                sent = self._socket.sendmsg([data], ancillary if descriptors else [])
                self._unsent_bytes -= sent
                _close(descriptors)  # they go with the first byte
                if sent < len(data):
                    self._unsent[0] = (data[sent:], ())
                else:
                    self._unsent.popleft()
        except BlockingIOError:
            return
        except OSError as fault:
            raise ChannelClosed(fault.strerror) from None

    def receive(self, limit: int = READ_BYTES) -> list[tuple[Any, list[int]]]:
        """What has come, at most `limit` bytes; the caller owns the descriptors. Raises ChannelClosed."""
        try:
            if self.descriptors:
                room = socket.CMSG_SPACE(MAX_DESCRIPTORS * 4)
                data, ancillary, _, _ = self._socket.recvmsg(limit, room)
                for level, kind, content in ancillary:
                    if (level, kind) == (socket.SOL_SOCKET, socket.SCM_RIGHTS):
                        found = array.array("i")
                        found.frombytes(content[: len(content) // 4 * 4])
                        self._waiting.extend(found)
            else:
                data = self._socket.recv(limit)
        except BlockingIOError:
            return []
        except OSError as fault:
            raise ChannelClosed(fault.strerror) from None
        if not data:
            raise ChannelClosed(CLOSED)
        self._received += data
        return list(self._messages())

    def _messages(self) -> "list[tuple[Any, list[int]]]":
        found = []
        received = self._received
        while len(received) >= _HEAD.size:
            size, count = _HEAD.unpack_from(received)
            if size > MAX_MESSAGE or count > (len(self._waiting) if self.descriptors else 0):
                raise ChannelClosed("what it says is no message")
            if len(received) < _HEAD.size + size:
                break
            try:
                message = self._decode(bytes(received[_HEAD.size : _HEAD.size + size]))
            except (msgspec.DecodeError, RecursionError) as fault:
                raise ChannelClosed(f"what it says is no message: {fault}") from None
            del received[: _HEAD.size + size]
            found.append((message, [self._waiting.popleft() for _ in range(count)]))
        return found

    def close(self) -> None:
        """Hang up; what was not sent will not be."""
        for _, descriptors in self._unsent:
            _close(descriptors)
        self._unsent.clear()
        self._unsent_bytes = 0
        _close(self._waiting)
        self._waiting.clear()
        self._socket.close()


def _copies(descriptors: Sequence[int]) -> tuple[int, ...]:
    copies: list[int] = []
    try:
        copies.extend(map(os.dup, descriptors))
    except OSError:
        _close(copies)
        raise
    return tuple(copies)


def _close(descriptors: Iterable[int]) -> None:
    for fd in descriptors:
        os.close(fd)
