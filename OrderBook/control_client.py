"""An operator's side of the control port: for the command line, the dashboard, and scripts.

with ControlClient(9002, token) as control:
    control.send(Pause())
    answer = control.send(Model(changes={"kappa": 2.0}))   # it takes effect at record answer.seq
"""

import socket
from typing import Final, NamedTuple, Self

import msgspec

from trading_lib.control import OperatorAction

PATIENCE_S: Final = 15.0  # the OrderBook answers within 5 s, whatever the Gateway does
READ_BYTES: Final = 4096


class Answer(NamedTuple):
    """An action that has taken effect: its number in `control.jsonl`, and its record on the tape."""

    id: int
    seq: int


class ActionRefused(Exception):
    """An action that has not taken effect; the message says why."""


class _Line(msgspec.Struct):
    ok: bool
    id: int = 0
    seq: int = 0
    error: str = ""


class ControlClient:
    """One connection to the control port, made with the run's token. Raises OSError when nobody listens."""

    def __init__(self, port: int, token: str, host: str = "127.0.0.1", patience: float = PATIENCE_S) -> None:
        self._connection = socket.create_connection((host, port), timeout=patience)
        self._received = b""
        self._greeting = msgspec.json.encode({"token": token}) + b"\n"  # goes with the first action

    def send(self, action: OperatorAction) -> Answer:
        """Have an action done. Raises ActionRefused; OSError when the OrderBook goes, or says nothing."""
        greeting, self._greeting = self._greeting, b""
        self._connection.sendall(greeting + msgspec.json.encode(action) + b"\n")
        line = msgspec.json.decode(self._next_line(), type=_Line)
        if not line.ok:
            raise ActionRefused(line.error)
        return Answer(line.id, line.seq)

    def _next_line(self) -> bytes:
        while b"\n" not in self._received:
            data = self._connection.recv(READ_BYTES)
            if not data:
                raise ConnectionResetError("the OrderBook has hung up")
            self._received += data
        line, _, self._received = self._received.partition(b"\n")
        return line

    def close(self) -> None:
        """Hang up."""
        self._connection.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
