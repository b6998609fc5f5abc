"""What a client of a stream has yet to be sent: bounded, and nobody waits for it unless told to."""

import socket
from collections import deque
from typing import Final, Literal

MAX_PIECES_PER_SEND: Final = 64  # well under IOV_MAX (1024 on Linux)

OnSlow = Literal["drop", "disconnect", "wait"]


class Outbox:
    """What one client has yet to be sent: whole pieces (some frames each), at most `limit` bytes of them."""

    def __init__(self, connection: socket.socket, limit: int, on_slow: OnSlow) -> None:
        self._connection = connection
        self._limit = limit
        self.on_slow = on_slow
        self._pieces: deque[tuple[memoryview, int]] = deque()
        self._begun = False  # the first piece is partly sent: it must be finished, whatever happens
        self.size = 0
        self.dropped = 0  # frames
        self.overflowed = False  # the policy is `disconnect`, and it is time

    def push(self, piece: bytes, frames: int) -> None:
        """Send a piece, or keep it for later. Raises ConnectionError when the peer has gone."""
        if not self._pieces:
            sent = self._send(piece)
            if sent == len(piece):
                return
            self._pieces.append((memoryview(piece)[sent:], frames))
            self._begun = sent > 0
            self.size = len(piece) - sent
        else:
            self._pieces.append((memoryview(piece), frames))
            self.size += len(piece)
        if self.size > self._limit and self.on_slow != "wait":
            self._overflow()

    def _overflow(self) -> None:
        if self.on_slow == "disconnect":
            self.overflowed = True
            return
        oldest = 1 if self._begun else 0
        while self.size > self._limit and len(self._pieces) > oldest:
            piece, frames = self._pieces[oldest]
            del self._pieces[oldest]
            self.size -= len(piece)
            self.dropped += frames

    def flush(self) -> None:
        """Send what the peer will take. Raises ConnectionError when it has gone."""
        while self._pieces:
            pieces = [self._pieces[i][0] for i in range(min(len(self._pieces), MAX_PIECES_PER_SEND))]
            try:
                sent = self._connection.sendmsg(pieces)
            except BlockingIOError:
                return
            self.size -= sent
            while sent:
                piece, frames = self._pieces[0]
                if sent < len(piece):
                    self._pieces[0] = (piece[sent:], frames)
                    self._begun = True
                    return
                sent -= len(piece)
                self._pieces.popleft()
                self._begun = False

    def _send(self, piece: bytes) -> int:
        try:
            return self._connection.send(piece)
        except BlockingIOError:
            return 0

    @property
    def empty(self) -> bool:
        """Whether everything was handed to the kernel."""
        return not self._pieces

    @property
    def full(self) -> bool:
        """Whether a source that waits for this client should pause."""
        return self.size > self._limit
