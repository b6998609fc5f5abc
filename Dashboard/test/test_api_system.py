"""What the System page asks for once, and `/metrics`: a disk that is slow holds nobody else up."""

import asyncio
import threading
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from fastapi import APIRouter, FastAPI

from config import parse_config
from Dashboard import log_tail, metrics
from Dashboard.api_system import add_metrics, add_system
from Dashboard.desk import Desk
from testing.harness import PATIENCE_S, segment_name


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Desk]:
    tree = '{"symbols": ["A"], "OrderBook": {"shared_memory_name": "%s"}, "run": {"log_dir": "%s"}}'
    desk = Desk(parse_config((tree % (segment_name(), tmp_path)).encode()), None)
    yield desk
    desk.close()


def served(desk: Desk) -> httpx.AsyncClient:
    app, api = FastAPI(), APIRouter(prefix="/api")
    add_system(api, desk)
    add_metrics(app.router, desk)
    app.include_router(api)
    return httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://lab")


@pytest.mark.parametrize(
    ("path", "module", "work"),
    [
        ("/api/logs", log_tail, "sizes"),
        ("/api/logs/gateway", log_tail, "read_tail"),
        ("/metrics", metrics, "room"),
    ],
)
def test_others_are_answered_while_a_disk_is_slow(
    desk: Desk, monkeypatch: pytest.MonkeyPatch, path: str, module: object, work: str
) -> None:
    looking, answered = threading.Event(), threading.Event()

    def slow(*_: object) -> None:
        looking.set()
        assert answered.wait(PATIENCE_S)

    monkeypatch.setattr(module, work, slow)

    async def main() -> None:
        async with served(desk) as client:
            asked = asyncio.create_task(client.get(path))
            async with asyncio.timeout(PATIENCE_S):
                while not looking.is_set():
                    await asyncio.sleep(0.005)
            assert (await client.get("/api/system/recent")).status_code == 200
            assert not asked.done()
            answered.set()
            assert (await asked).status_code == 200

    asyncio.run(main())


def test_every_log_is_told_with_its_size(desk: Desk, tmp_path: Path) -> None:
    (tmp_path / "gateway.log").write_text("12345\n")

    async def main() -> None:
        async with served(desk) as client:
            assert (await client.get("/api/logs")).json() == [{"part": "gateway", "bytes": 6}]
            assert (await client.get("/api/logs/passwd")).status_code == 404

    asyncio.run(main())
