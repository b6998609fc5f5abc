"""A Gateway process, and the feed session of who listens to it."""

import contextlib
import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from testing.harness import Process, read_available, running_part, system_config, wait_until, write_config
from trading_lib import wire
from trading_lib.control import MarketAction
from trading_lib.control_wire import encode_request, parse_refusal
from trading_lib.wire import Control, Message, NewsMessage, TickMessage

CSV = """timestamp,symbol,price
2025-01-02T14:30:00Z,AAPL,173.2
2025-01-02T14:30:00Z,MSFT,410.55
2025-01-02T14:30:01Z,AAPL,173.21
2025-01-02T14:30:02Z,IBM,0.0001
"""
FLAT_OUT = {"mode": "ticks_per_s", "ticks_per_s": 0}


class Running:
    """A Gateway process and its ports."""

    def __init__(self, process: Process, tree: dict[str, Any]) -> None:
        self.process = process
        self.md_port: int = tree["Gateway"]["md_port"]
        self.news_port: int = tree["Gateway"]["news_port"]

    def plain(self, port: int, enough: Callable[[bytes], bool]) -> bytes:
        """What a client that just connects receives."""
        with socket.create_connection(("127.0.0.1", port)) as client:
            return read_available(client, enough)


class Session:
    """A feed session: its messages in order, each `!S` checked to name the number its frames have."""

    def __init__(self, port: int, *asks: str) -> None:
        self._socket = socket.create_connection(("127.0.0.1", port))
        self._socket.settimeout(0.05)
        self._socket.sendall(wire.encode_hello("feed", *asks))
        self._decoder = wire.FeedDecoder()
        self.id = self.first_seq = self._seq = -1
        self.messages: list[Message] = []
        self.dues: list[int] = []
        self.refused: dict[int, str] = {}
        self.ended = False

    def read(self) -> None:
        """Take what has come."""
        with contextlib.suppress(TimeoutError):
            data = self._socket.recv(1 << 20)
            self.ended = not data
            for message in self._decoder.feed(data):
                self._take(message)

    def _take(self, message: Message) -> None:
        if isinstance(message, Control) and message.name == "OK":
            self.id, self._seq = map(int, message.fields)
            self.first_seq = self._seq
        elif isinstance(message, Control) and message.name == "S":
            assert int(message.fields[0]) == self._seq, "a number was left out or used twice"
            self.dues.append(int(message.fields[1]))
        elif isinstance(message, Control) and message.name == "REFUSED":
            number, reason = parse_refusal(message)
            self.refused[number] = reason
        else:
            self._seq += 1
            self.messages.append(message)

    def until(self, condition: Callable[[], object]) -> None:
        def look() -> object:
            self.read()
            return condition()

        wait_until(look)

    def marks(self, name: str) -> list[int]:
        """The times of the marks of a kind."""
        return [int(m.fields[-1]) for m in self.messages if isinstance(m, Control) and m.name == name]

    def send(self, data: bytes) -> None:
        """Say something to the Gateway."""
        self._socket.sendall(data)

    def request(self, number: int, action: MarketAction) -> None:
        """Ask for an action, and wait for its mark or its refusal."""
        self.send(encode_request(number, action))
        self.until(lambda: str(number) in self.controls or number in self.refused)

    @property
    def controls(self) -> list[str]:
        """The ids of the CONTROL marks."""
        return [m.fields[0] for m in self.messages if isinstance(m, Control) and m.name == "C"]

    @property
    def ticks(self) -> list[TickMessage]:
        return [message for message in self.messages if isinstance(message, TickMessage)]

    @property
    def news(self) -> list[NewsMessage]:
        return [message for message in self.messages if isinstance(message, NewsMessage)]

    def close(self) -> None:
        self._socket.close()


@contextlib.contextmanager
def gateway(folder: Path, csv: str | None = CSV, **changes: Any) -> Iterator[Running]:
    """A Gateway over a CSV text, flat out and once unless told otherwise; not waited for."""
    data = folder / "data.csv"
    if csv is not None:
        data.write_text(csv)
    settings = {"data_path": str(data), "loop": False, "pace": FLAT_OUT, "news": {"every_ticks": 0}}
    tree = system_config(folder, **{**changes, "Gateway": {**settings, **changes.get("Gateway", {})}})
    with running_part("Gateway", write_config(folder, tree), folder) as process:
        yield Running(process, tree)


@contextlib.contextmanager
def session(running: Running, *asks: str) -> Iterator[Session]:
    """A session that asks for what it is told to, by default for the source to wait."""
    running.process.wait_for("ready")
    opened = Session(running.md_port, *(asks or ("wait",)))
    try:
        yield opened
    finally:
        opened.close()
