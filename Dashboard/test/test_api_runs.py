"""Who may have what done with runs: looking is for everybody who is let in, work is begun on the machine itself."""

import asyncio
import json
import sys
from collections import Counter
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, cast

import httpx
import pytest
from fastapi import APIRouter, FastAPI

from config import DashboardSection
from Dashboard.api_runs import MOST_COMPARED, add_runs
from Dashboard.desk import Desk
from Dashboard.guard import Guard
from Dashboard.run_jobs import AT_ONCE, MOST_WAITING, Jobs
from Dashboard.run_shelf import RunShelf

HERE = ("127.0.0.1", 1)
ELSEWHERE = ("192.168.1.7", 1)
TOKEN = "0123456789abcdef"
FOUND = json.dumps({"instants": []})
INSTANTS = f"print('{FOUND}')"
FOREVER = "import time; time.sleep(600)"


class Room:
    """Of a desk, what runs are asked of; its work is a script."""

    def __init__(self, runs: Path, script: str) -> None:
        self.runs = runs
        self.shelf = RunShelf(runs)
        self.jobs = Jobs((sys.executable, "-c", script))


@pytest.fixture
def runs(tmp_path: Path) -> Path:
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "config.json").write_text(json.dumps({"run": {"hide_seed": name == "two"}}))
    return tmp_path


def asking(
    runs: Path, script: str, asked: Callable[[httpx.AsyncClient, httpx.AsyncClient], Awaitable[None]]
) -> None:
    """Serve the runs, and ask from this machine and from another one."""

    async def main() -> None:
        app, api = FastAPI(), APIRouter(prefix="/api")
        add_runs(api, cast(Desk, Room(runs, script)))
        app.include_router(api)
        section = DashboardSection(port=80, hosts=("lab",), token=TOKEN)
        guard = Guard(app, section, Counter())
        async with (
            httpx.AsyncClient(
                transport=httpx.ASGITransport(guard, client=HERE), base_url="http://lab:80"
            ) as here,
            httpx.AsyncClient(
                transport=httpx.ASGITransport(guard, client=ELSEWHERE),
                base_url="http://lab:80",
                headers={"Authorization": f"Bearer {TOKEN}"},
            ) as there,
        ):
            for client in (here, there):
                client.headers["Host"] = "lab:80"
            await asked(here, there)

    asyncio.run(main())


async def until_done(client: httpx.AsyncClient, path: str) -> httpx.Response:
    async with asyncio.timeout(30):
        while (answer := await client.get(path)).status_code == 202:
            assert answer.json()["state"] in ("waiting", "working")
            await asyncio.sleep(0.01)
    return answer


def test_who_looks_on_from_elsewhere_sees_what_was_replayed_here(runs: Path) -> None:
    async def asked(here: httpx.AsyncClient, there: httpx.AsyncClient) -> None:
        assert (await there.get("/api/runs")).json()["folders"] == 2
        for what in ("instants", "report"):
            assert (await there.post(f"/api/runs/one/{what}")).status_code == 403
        answer = await there.get("/api/runs/one/instants")
        assert (answer.status_code, answer.json()["detail"].partition(":")[0]) == (
            404,
            "nobody has had this run replayed",
        )
        assert (await here.post("/api/runs/one/instants")).status_code == 202
        for client in (there, here):
            done = await until_done(client, "/api/runs/one/instants")
            assert (done.status_code, done.json()) == (200, json.loads(FOUND))

    asking(runs, INSTANTS, asked)


def test_work_that_failed_says_why_and_a_comparison_that_did_is_not_tried_again(runs: Path) -> None:
    async def asked(here: httpx.AsyncClient, there: httpx.AsyncClient) -> None:
        path = "/api/runs/compare?id=one&id=two"
        for _ in range(2):
            answer = await until_done(here, path)
            assert (answer.status_code, answer.json()) == (409, {"detail": "one: not a run"})

    asking(runs, "raise SystemExit('one: not a run')", asked)


def test_more_work_than_anybody_needs_is_refused(runs: Path) -> None:
    for n in range(AT_ONCE + MOST_WAITING + 1):
        (runs / f"run-{n}").mkdir()

    async def asked(here: httpx.AsyncClient, there: httpx.AsyncClient) -> None:
        codes = [
            (await here.post(f"/api/runs/run-{n}/instants")).status_code
            for n in range(AT_ONCE + MOST_WAITING + 1)
        ]
        assert codes == [202] * (AT_ONCE + MOST_WAITING) + [429]

    asking(runs, FOREVER, asked)


@pytest.mark.parametrize("ids", [[], ["one"], ["one", "one"], [f"{n}" for n in range(MOST_COMPARED + 1)]])
def test_two_to_eight_runs_are_compared(runs: Path, ids: list[str]) -> None:
    async def asked(here: httpx.AsyncClient, there: httpx.AsyncClient) -> None:
        answer = await here.get("/api/runs/compare", params={"id": ids})
        assert answer.status_code == 422

    asking(runs, INSTANTS, asked)


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/api/runs/nobody", 404),
        ("GET", "/api/runs/nobody/instants", 404),
        ("POST", "/api/runs/nobody/instants", 404),
        ("POST", "/api/runs/nobody/report", 404),
        ("GET", "/api/runs/compare?id=one&id=nobody", 404),
        ("GET", "/api/runs/one/report", 404),
        ("GET", "/api/runs/one/files/token", 404),
        ("GET", "/api/runs/one/files/config.json", 200),
        ("POST", "/api/runs/two/report", 409),  # its seed is hidden
    ],
)
def test_what_is_not_there_or_not_given_away_is_refused(
    runs: Path, method: str, path: str, status: int
) -> None:
    async def asked(here: httpx.AsyncClient, there: httpx.AsyncClient) -> None:
        assert (await here.request(method, path)).status_code == status

    asking(runs, INSTANTS, asked)


def test_a_run_says_what_may_be_had_and_how_work_on_it_stands(runs: Path) -> None:
    async def asked(here: httpx.AsyncClient, there: httpx.AsyncClient) -> None:
        found: dict[str, Any] = (await here.get("/api/runs/one")).json()
        assert (found["run"]["id"], found["hidden"], found["jobs"]) == ("one", False, {})
        assert [file["name"] for file in found["files"]] == ["config.json"]
        await here.post("/api/runs/one/report")
        assert (await here.get("/api/runs/one")).json()["jobs"]["report"]["state"] in (
            "waiting",
            "working",
            "done",
        )

    asking(runs, INSTANTS, asked)
