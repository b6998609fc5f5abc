"""The web application: pages, API and `/stream`, behind one guard."""

from pathlib import Path
from typing import Final

from fastapi import FastAPI
from nicegui import ui
from starlette.responses import HTMLResponse
from starlette.staticfiles import StaticFiles
from starlette.types import ASGIApp
from starlette.websockets import WebSocket

from Dashboard.api import api_page, make_api
from Dashboard.api_system import add_metrics
from Dashboard.desk import Desk
from Dashboard.guard import Guard
from Dashboard.pages import add_pages

STATIC: Final = Path(__file__).parent / "static"
RECONNECT_S: Final = 60.0  # a page's state is kept so long for a browser that slept
HISTORY: Final = 50  # messages to a page that are sent again after that


def make_app(desk: Desk) -> ASGIApp:
    """Everything the server serves."""
    app = FastAPI(title="algosim", docs_url=None, redoc_url=None, openapi_url="/api/openapi.json")
    app.include_router(make_api(desk))
    add_metrics(app.router, desk)
    app.mount("/static", StaticFiles(directory=STATIC))

    @app.get("/api/docs", include_in_schema=False)
    async def docs() -> HTMLResponse:
        return HTMLResponse(api_page(app.openapi()))

    @app.websocket("/stream")
    async def stream(websocket: WebSocket) -> None:
        await desk.hub.serve(websocket)

    add_pages(desk)
    ui.run_with(
        app,
        title="algosim",
        dark=None,
        binding_refresh_interval=None,
        reconnect_timeout=RECONNECT_S,
        message_history_length=HISTORY,
        show_welcome_message=False,
        tailwind=False,
        gzip_middleware_factory=None,
    )
    return Guard(app, desk.config.Dashboard, desk.hub.counters)
