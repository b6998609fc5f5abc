"""`python -m Dashboard.probe`: what `/stream` says, on a terminal.

A line for each event, the message itself with --json, or a line a second with --summary. The connection is
made again when it breaks; when there is nobody at all it exits 2.
"""

import argparse
import asyncio
import contextlib
import json
import os
import signal
import sys
import time
from collections.abc import Iterator, Mapping
from typing import Any, Final

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidHandshake, InvalidStatus, InvalidURI

URL: Final = "ws://127.0.0.1:8080/stream"
TOPICS: Final = ("prices.tick", "news", "orders", "fills", "pnl")
RETRY_S: Final = 0.5
LARGEST: Final = 1 << 26  # bytes of a message: the beginning of a chart or of many curves
EXIT_NOBODY: Final = 2
_QUIET: Final = ("hello", "heartbeat")  # of the connection itself: no events


class Finished(Exception):
    """As many messages as were asked for."""


class Refused(Exception):
    """The other end does not want this request; the text says why."""


class Probe:
    """Follows a stream and prints it. `arguments` are the command line's."""

    def __init__(self, arguments: argparse.Namespace) -> None:
        self._arguments = arguments
        self._seen = 0
        self._columns: list[str] = []
        self.tally = Tally()

    async def run(self) -> None:
        """Until finished. Raises OSError or InvalidHandshake when the first connection cannot be made."""
        told = asyncio.create_task(self._tell()) if self._arguments.summary else None
        connected = False
        try:
            while True:
                try:
                    async with self._connect() as connection:
                        connected = True
                        await self._follow(connection)
                        _complain("the stream has ended; waiting for the next")
                except ConnectionClosed as closed:
                    _complain(f"connection lost ({closed}); waiting for the next")
                except (OSError, InvalidHandshake):
                    if not connected:
                        raise
                await asyncio.sleep(RETRY_S)
        finally:
            if told is not None:
                told.cancel()

    def _connect(self) -> connect:
        token = self._arguments.token
        return connect(
            self._arguments.url,
            additional_headers={"Authorization": f"Bearer {token}"} if token else None,
            max_size=LARGEST,
            proxy=None,
            compression=None,
        )

    async def _follow(self, connection: ClientConnection) -> None:
        await connection.send(
            json.dumps(
                {"subscribe": self._arguments.topic or TOPICS, "symbols": self._arguments.symbol or None}
            )
        )
        async for text in connection:
            assert isinstance(text, str)
            self._take(text)

    def _take(self, text: str) -> None:
        message = json.loads(text)
        topic = message["topic"]
        if topic == "error":
            raise Refused(message["error"])
        if topic == "hello":
            self._columns = message["price_columns"]
        self.tally.add(message, len(text))
        if self._arguments.json:
            print(text, flush=True)
        elif not self._arguments.summary:
            for line in lines(message, self._columns):
                print(line)
            sys.stdout.flush()
        self._seen += topic not in _QUIET
        if self._arguments.count and self._seen >= self._arguments.count:
            raise Finished

    async def _tell(self) -> None:
        while True:
            await asyncio.sleep(1)
            print(self.tally.line(), flush=True)


class Tally:
    """What came within a second: messages, rows, bytes, and how old the newest prices were when they came."""

    def __init__(self) -> None:
        self._since = time.monotonic()
        self.messages = self.rows = self.bytes = 0
        self.age_ms: float | None = None
        self.missed = self.dropped = 0  # since the connection began

    def add(self, message: Mapping[str, Any], size: int) -> None:
        """Count one message of so many characters."""
        self.messages += 1
        self.bytes += size
        self.rows += len(message.get("rows", ())) + len(message.get("events", ()))
        self.missed = message.get("missed_frames", self.missed)
        self.dropped += message.get("dropped", 0)
        if message["topic"] == "prices.tick":
            self.age_ms = (time.time_ns() - int(message["ts_wall"])) / 1e6

    def line(self) -> str:
        """Of the time since the last call, which begins the next."""
        now = time.monotonic()
        elapsed = max(now - self._since, 1e-9)
        age = "–" if self.age_ms is None else f"{self.age_ms:.1f} ms"
        text = (
            f"{self.messages / elapsed:6.1f} messages/s  {self.rows / elapsed:8,.0f} rows/s  "
            f"{self.bytes / elapsed / 1000:8,.1f} kB/s  prices {age} old  "
            f"missed frames {self.missed:,}  dropped {self.dropped:,}"
        )
        self._since = now
        self.messages = self.rows = self.bytes = 0
        self.age_ms = None
        return text


def lines(message: Mapping[str, Any], columns: list[str]) -> Iterator[str]:
    """A message for a person: a line for each event in it."""
    topic = message["topic"]
    if "rows" in message:
        for row in message["rows"]:
            yield f"{topic}  {_brief(dict(zip(columns, row, strict=True)))}"
    elif "events" in message:
        if message["dropped"]:
            yield f"{topic}  dropped={message['dropped']}"
        for event in message["events"]:
            yield f"{topic}  {_brief(event)}"
    else:
        told = message["total"] if topic == "pnl" else message
        yield f"{topic}  {_brief({key: value for key, value in told.items() if key != 'topic'})}"


def _brief(values: Mapping[str, Any]) -> str:
    """`name=value …`; of what has values of its own only how many, of what is empty nothing."""
    texts = []
    for name, value in values.items():
        if isinstance(value, dict | list):
            texts.append(f"{name}({len(value)})")
        elif value not in (None, ""):
            texts.append(f"{name}={value:.15g}" if isinstance(value, float) else f"{name}={value}")
    return " ".join(texts)


def _complain(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


async def _run(arguments: argparse.Namespace) -> int:
    """The exit code."""
    task = asyncio.current_task()
    assert task is not None
    asyncio.get_running_loop().add_signal_handler(signal.SIGINT, task.cancel)
    try:
        async with asyncio.timeout(arguments.seconds) as limit:
            await Probe(arguments).run()
    except (Finished, asyncio.CancelledError):
        return 0
    except Refused as fault:
        _complain(f"{arguments.url} refuses that: {fault}")
    except InvalidStatus as fault:
        status = fault.response.status_code
        why = "--token is needed" if status == 401 else "a name or an address it does not go by, or no token"
        _complain(f"{arguments.url} refuses: HTTP {status} ({why})")
    except (OSError, InvalidHandshake) as fault:
        if limit.expired():
            return 0
        _complain(f"nobody listens at {arguments.url}: {fault}\nIs a run going on, with Dashboard.enabled?")
    except InvalidURI as fault:
        _complain(f"--url: {fault}")
    return EXIT_NOBODY


def main(argv: list[str] | None = None) -> int:
    """The command line; returns the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m Dashboard.probe", description="What the dashboard's /stream says."
    )
    parser.add_argument("--url", default=URL, help=f"default {URL}")
    parser.add_argument(
        "--topic", action="append", metavar="T", help=f"again for more; default {', '.join(TOPICS)}"
    )
    parser.add_argument("--symbol", action="append", metavar="S", help="again for more; default all")
    parser.add_argument("--count", type=int, default=0, metavar="N", help="end after so many messages")
    parser.add_argument("--seconds", type=float, metavar="S", help="end after so long")
    parser.add_argument("--token", default="", metavar="T", help="Dashboard.token, from another machine")
    how = parser.add_mutually_exclusive_group()
    how.add_argument("--json", action="store_true", help="messages as they come, one a line")
    how.add_argument("--summary", action="store_true", help="a line a second: rates, sizes, age, losses")
    try:
        return asyncio.run(_run(parser.parse_args(argv)))
    except BrokenPipeError:  # what reads our lines has had enough
        with contextlib.suppress(OSError):
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0


if __name__ == "__main__":
    sys.exit(main())
