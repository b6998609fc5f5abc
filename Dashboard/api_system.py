"""What the System page asks for once, the logs it follows, and `/metrics`."""

import asyncio
from typing import Annotated, Final, Literal

from fastapi import APIRouter, HTTPException, Query
from prometheus_client import CONTENT_TYPE_LATEST
from starlette.responses import Response

from config import resolve
from Dashboard import log_tail
from Dashboard.answers import json_answer
from Dashboard.desk import Desk
from Dashboard.log_tail import UnknownLog, Wanted
from Dashboard.metrics import Snapshot, exposition

MOST_LINES: Final = 2000

Level = Literal["DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL"]


def add_system(api: APIRouter, desk: Desk) -> None:
    """The routes below `/api`."""
    logs = resolve(desk.config.run.log_dir)

    @api.get("/system/recent", tags=["state"])
    async def recent() -> Response:
        """Rates of the last ten minutes, and the latency histograms of the last one: a page begins with them."""
        found = desk.system.recent
        return json_answer({"rates": list(found.rates), "snapshots": found.snapshots()})

    @api.get("/logs", tags=["logs"])
    async def names() -> Response:
        """The logs that there are, and their sizes in bytes."""
        return json_answer(await asyncio.to_thread(log_tail.sizes, logs))

    @api.get("/logs/{part}", tags=["logs"])
    async def tail(
        part: str,
        level: Level = "DEBUG",
        text: Annotated[str, Query(max_length=200)] = "",
        count: Annotated[int, Query(ge=1, le=MOST_LINES)] = 200,
        after: Annotated[str, Query(max_length=64, description="`at` of the answer before")] = "",
    ) -> Response:
        """The last lines of a part's log, or those since the answer before; of a level or worse, with a text."""
        try:
            found = await asyncio.to_thread(log_tail.read_tail, logs, part, Wanted(level, text, count), after)
        except UnknownLog as fault:
            raise HTTPException(404, str(fault)) from None
        except OSError as fault:
            raise HTTPException(503, f"{part}.log cannot be read: {fault.strerror}") from None
        return json_answer(found)


def add_metrics(routes: APIRouter, desk: Desk) -> None:
    """`/metrics`, for Prometheus."""

    @routes.get("/metrics", include_in_schema=False)
    async def metrics() -> Response:
        text = await asyncio.to_thread(exposition, Snapshot(desk))
        return Response(text, media_type=CONTENT_TYPE_LATEST)
