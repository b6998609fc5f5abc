"""The dashboard's process: a web server beside a run, nicer than the parts of the stream."""

import asyncio
import contextlib
import logging
import os
from collections import Counter
from typing import Any, Final

import uvicorn

from config import Config, resolve
from Dashboard.app import make_app
from Dashboard.desk import Desk
from Dashboard.disk import room
from Dashboard.guard import is_everywhere
from runtime.loop import listen
from runtime.part import Part

LOOK_S: Final = 0.1  # how often the stop flag and the supervisor's line are looked at
NICENESS: Final = 5


class _Counted(logging.Filter):
    """What anybody can make the server complain of, with a traceback each time, is counted instead."""

    def __init__(self, counters: Counter[str]) -> None:
        super().__init__()
        self._counters = counters

    def filter(self, record: logging.LogRecord) -> bool:
        """Whether the log gets it."""
        if not str(record.msg).startswith("Invalid UTF-8"):
            return True
        self._counters["rejected: text that is not UTF-8"] += 1
        return False


class _Server(uvicorn.Server):
    """Signals are the part's business: they only set its flag."""

    @contextlib.contextmanager
    def capture_signals(self) -> Any:
        yield


def address(config: Config) -> str:
    """Where a browser on this machine finds the dashboard."""
    section = config.Dashboard
    host = "localhost" if is_everywhere(section.host) else section.host
    return f"http://{f'[{host}]' if ':' in host else host}:{section.port}"


def serve(part: Part, config: Config) -> None:
    """Run the dashboard until it is told to stop. Raises PortInUse."""
    section = config.Dashboard
    listener = listen(section.host, section.port, "Dashboard.port")
    os.nice(NICENESS)
    try:
        asyncio.run(_serve(part, config, listener))
    finally:
        listener.close()


async def _serve(part: Part, config: Config, listener: Any) -> None:
    desk = Desk(config, part.run_id)
    server = _Server(
        uvicorn.Config(
            make_app(desk),
            log_config=None,
            lifespan="on",
            ws_max_size=1 << 20,
            ws_per_message_deflate=False,
            timeout_graceful_shutdown=1,
            server_header=False,
            proxy_headers=False,
        )
    )
    counted = _Counted(desk.hub.counters)
    logging.getLogger("uvicorn.error").addFilter(counted)
    working = asyncio.create_task(desk.run())
    serving = asyncio.create_task(server.serve([listener]))
    try:
        while not server.started and not serving.done():
            await asyncio.sleep(0.01)
        part.ready(address(config))
        while not part.stopping and not serving.done() and not working.done():
            part.check_link()
            if part.status_due():
                part.report(_status(desk))
            await asyncio.sleep(LOOK_S)
        if working.done():
            working.result()  # what has broken it
    finally:
        server.should_exit = True
        working.cancel()
        await asyncio.gather(working, serving, return_exceptions=True)
        desk.close()


def _status(desk: Desk) -> dict[str, Any]:
    disk = room(resolve(desk.config.run.export_dir))
    return {
        "listeners": desk.hub.listeners,
        "frames": desk.frames.number,
        "encoded": desk.frames.encoded,
        "lag": desk.market.lag,
        "missed": desk.market.missed,
        "events_missed": desk.money.missed,
        "runs_free_bytes": disk.free if disk else None,
        "runs_total_bytes": disk.total if disk else None,
        "counters": dict(desk.hub.counters),
    }
