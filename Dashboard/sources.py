"""The two lines the dashboard listens on: the OrderManager's events, and main.py's status once a second.

Both are made again whenever they break; nobody at the other end waits for us: what is not read in time is
dropped there, or the line is cut, and a snapshot begins the next one.
"""

import asyncio
import contextlib
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import msgspec

from runtime.status_socket import connect

RETRY_S: Final = 0.25
AT_ONCE: Final = 256  # lines, some 2 ms
LINE_LIMIT: Final = 1 << 24  # bytes of a line; a status of 64 strategies is some 300 KB

_decode: Final = msgspec.json.Decoder(dict[str, Any]).decode
Take = Callable[[dict[str, Any]], None]


class Source:
    """One line of JSON objects: `open` connects, `take` gets each; `connected` says how it stands."""

    def __init__(self, take: Take, on_lost: Callable[[], None]) -> None:
        self._take = take
        self._on_lost = on_lost
        self.connected = False

    async def follow(self, connection: socket.socket) -> None:
        """Read one connection until it ends. Owns it."""
        connection.setblocking(False)
        try:
            reader, writer = await asyncio.open_connection(sock=connection, limit=LINE_LIMIT)
        except OSError:
            connection.close()
            return
        self.connected = True
        taken = 0
        try:
            while (message := await _next_message(reader)) is not None:
                self._take(message)
                taken += 1
                if taken % AT_ONCE == 0:  # lines that are there already do not let anybody else have a turn
                    await asyncio.sleep(0)
        finally:
            self.connected = False
            writer.close()
            with contextlib.suppress(OSError):
                await writer.wait_closed()
            self._on_lost()


async def _next_message(reader: asyncio.StreamReader) -> dict[str, Any] | None:
    """The next line's; None at the end, or when the line is too long, or no JSON: then it is made again."""
    try:
        line = await reader.readline()
        return _decode(line) if line else None
    except (OSError, ValueError, msgspec.DecodeError):
        return None


async def follow_events(source: Source, host: str, port: int) -> None:
    """The event stream, for ever."""
    loop = asyncio.get_running_loop()
    while True:
        connection = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET)
        connection.setblocking(False)
        try:
            await loop.sock_connect(connection, (host, port))
        except OSError:
            connection.close()
        else:
            await source.follow(connection)
        await asyncio.sleep(RETRY_S)


async def follow_status(source: Source, where: Callable[[], Path | None]) -> None:
    """The status of whichever run there is, for ever; `where` gives its socket."""
    while True:
        path = where()
        if path is not None:
            with contextlib.suppress(OSError):
                await source.follow(connect(path))
        await asyncio.sleep(RETRY_S)
