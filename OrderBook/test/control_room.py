"""A sequencer with its control port, a scripted Gateway, and operators, in one thread."""

import json
import logging
import socket
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

from OrderBook.control import HOST, ControlPort
from OrderBook.control_log import ControlLog
from OrderBook.feed_handler import FeedHandler
from OrderBook.test.desk import Desk
from OrderBook.test.gateway import HELLO, Port
from runtime.loop import EventLoop
from testing.harness import free_port, segment_name, wait_until
from trading_lib.control import (
    read_actions,
)
from trading_lib.models import Kind

TOKEN = "0123456789abcdef"
GREETING = json.dumps({"token": TOKEN}) + "\n"
KILL = '{"action": "kill_switch", "strategy": null, "flatten": true}\n'


class Room:
    """A sequencer, its control port, and the clients of a test, in one thread."""

    def __init__(self, folder: Path, name: str) -> None:
        self.path = folder / "control.jsonl"
        self.desk = Desk(name)
        self.loop = EventLoop()
        self.log = ControlLog(self.path)
        self.number = free_port()
        self.said: list[str] = []
        self.gateway = Port(free_port())
        self.feed = FeedHandler(
            self.loop, self.desk.order_book, HOST, self.gateway.number, free_port(), logging.getLogger("test")
        )
        self.port = ControlPort(
            *(self.loop, self.desk.order_book, self.feed, self.log, TOKEN, self.number, ["mine"]),
            say=self.said.append,
        )
        self._clients: list[socket.socket] = []

    def connect(self, said: str = "") -> socket.socket:
        """A client that has said something."""
        client = socket.create_connection((HOST, self.number))
        client.setblocking(False)
        self._clients.append(client)
        client.sendall(said.encode())
        return client

    def until(self, condition: Callable[[], Any]) -> Any:
        def turned() -> Any:
            self.loop.run_once(0.001)
            return condition()

        return wait_until(turned)

    def answers(self, client: socket.socket, count: int) -> list[dict[str, Any]]:
        """The next answers."""
        text = b""

        def enough() -> bool:
            nonlocal text
            try:
                text += client.recv(1 << 16)
            except BlockingIOError:
                return False
            return text.count(b"\n") >= count

        self.until(enough)
        return [json.loads(line) for line in text.splitlines()]

    def closed(self, client: socket.socket) -> bool:
        """Whether the port has hung up, what it said before that passed over."""
        try:
            return client.recv(1 << 16) == b""
        except BlockingIOError:
            return False
        except ConnectionError:
            return True

    def marks(self) -> list[int]:
        """The ids of the CONTROL records on the tape."""
        return [int(record.value) for record in self.desk.records() if record.kind == Kind.CONTROL]

    def assert_every_mark_has_its_line(self) -> None:
        assert set(self.marks()) <= set(read_actions(self.path))

    def meet_gateway(self, *frames: str) -> None:
        """Connect to the scripted Gateway; `frames` is what it says to the hello."""

        def accepted() -> bool:
            self.feed.tend()
            return self.gateway.accept()

        self.until(accepted)
        self.until(lambda: self.gateway.received() == HELLO)
        self.gateway.send(*frames)
        before = self.desk.tape.tail
        self.until(lambda: self.desk.tape.tail > before)

    def asked(self) -> str:
        """The next frames that the Gateway is asked with."""
        return str(self.until(self.gateway.received).decode())

    def close(self) -> None:
        for client in self._clients:
            client.close()
        self.port.close()
        self.feed.close()
        self.gateway.close()
        self.log.close()
        self.desk.close()
        self.loop.close()


@contextmanager
def open_room(folder: Path) -> Iterator[Room]:
    with closing(Room(folder, segment_name())) as room:
        yield room
