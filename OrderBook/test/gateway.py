"""A scripted Gateway: ports that accept, say what the test says, and hang up."""

import socket
from typing import Self

from OrderBook.test.desk import T0
from trading_lib import wire

HELLO = b"!HELLO,1,feed,wait,control*"


class Port:
    """One listening port of a scripted Gateway, and the last connection made to it."""

    def __init__(self, number: int) -> None:
        self.number = number
        self.accepted = 0
        self.connection: socket.socket | None = None
        self._server: socket.socket | None = None
        self.open()

    def open(self) -> None:
        """Listen."""
        self._server = socket.create_server(("127.0.0.1", self.number))
        self._server.setblocking(False)

    def accept(self) -> bool:
        """Whether a connection has come since the last one."""
        assert self._server is not None
        try:
            connection, _ = self._server.accept()
        except BlockingIOError:
            return False
        self.hang_up()
        self.connection = connection
        self.connection.setblocking(False)
        self.accepted += 1
        return True

    def send(self, *frames: str) -> None:
        """Send on the connection."""
        assert self.connection is not None
        self.connection.sendall("".join(frames).encode())

    def received(self) -> bytes:
        """What has arrived on the connection."""
        assert self.connection is not None
        try:
            return self.connection.recv(4096)
        except BlockingIOError:
            return b""

    def hung_up(self) -> bool:
        """Whether the peer has closed the connection."""
        assert self.connection is not None
        try:
            return self.connection.recv(4096) == b""
        except BlockingIOError:
            return False
        except ConnectionError:
            return True

    def hang_up(self) -> None:
        """Close the connection."""
        if self.connection is not None:
            self.connection.close()
            self.connection = None

    def close(self) -> None:
        """Close everything: nobody listens any more."""
        self.hang_up()
        if self._server is not None:
            self._server.close()
            self._server = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def session(number: int, next_seq: int, *ticks: int) -> str:
    """An answer to the hello, and ticks at T0 + each."""
    frames = "".join(f"AAPL,{n}.5,{T0 + n}*" for n in ticks)
    return wire.encode_control("OK", number, next_seq).decode() + f"!S,{next_seq},7*" + frames
