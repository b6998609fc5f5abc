"""Recorded runs in the JSON API: the list, comparisons, files, reports, and what stood at instants of each.

What takes a while is begun by the first who asks, and looked at until it is there: 202 says how far it is. What
runs a strategy's code or writes a file is begun by a POST, which nobody sends from elsewhere (see `guard`).
"""

import asyncio
from pathlib import Path
from typing import Annotated, Any, Final

from fastapi import APIRouter, HTTPException, Query, Request
from starlette.responses import Response

from Dashboard import run_work
from Dashboard.answers import json_answer, json_text, require_control
from Dashboard.desk import Desk
from Dashboard.run_downloads import NotThere, download, files_of, hides_seed, report, run_folder
from Dashboard.run_jobs import DONE, FAILED, Job, Key, TooMany, stamp_of

MOST_COMPARED: Final = 8  # runs side by side
INSTANTS: Final = 1000
REPLAY_S: Final = 60.0  # what is not reached by then is given without it
INSTANTS_LIMIT_S: Final = 120.0
REPORT_LIMIT_S: Final = 600.0
COMPARE_LIMIT_S: Final = 120.0


def add_runs(api: APIRouter, desk: Desk) -> None:
    """The routes below `/api/runs`."""
    _add_list(api, desk)
    _add_files(api, desk)
    _add_work(api, desk)


def _add_list(api: APIRouter, desk: Desk) -> None:
    @api.get("/runs", tags=["runs"])
    async def runs() -> Response:
        """The runs and evaluations that there are, the newest first: at most 500, of `folders`."""
        try:
            return json_answer(await desk.shelf.list())
        except OSError as fault:
            raise HTTPException(409, f"the runs cannot be listed: {fault.strerror}") from None

    @api.get("/runs/compare", tags=["runs"])
    async def compare(ids: Annotated[list[str], Query(alias="id")]) -> Response:
        """Runs side by side: a row for each metric, and their equity over event seconds since each began."""
        if not 2 <= len(set(ids)) <= MOST_COMPARED:
            raise HTTPException(422, f"two to {MOST_COMPARED} runs can be compared")
        wanted = list(dict.fromkeys(ids))
        folders = [await _folder(desk, run_id) for run_id in wanted]
        stamp = tuple([await asyncio.to_thread(stamp_of, folder) for folder in folders])
        key = (run_work.COMPARE, *wanted)
        arguments = [run_work.COMPARE, *map(str, folders)]
        job = desk.jobs.get(key)
        if job is not None and job.state == FAILED and job.stamp == stamp:
            return _stands(job)  # it would fail again
        return _stands(_begun(desk, key, arguments, COMPARE_LIMIT_S, stamp))


def _add_files(api: APIRouter, desk: Desk) -> None:
    @api.get("/runs/{run_id}", tags=["runs"])
    async def run(run_id: str) -> Response:
        """One run: its line of the list, the files that may be had, and how the work on it stands."""
        folder = await _folder(desk, run_id)
        jobs = {what: desk.jobs.get((what, run_id)) for what in (run_work.REPORT, run_work.INSTANTS)}
        return json_answer(
            {
                "run": await asyncio.to_thread(_summary, folder),
                "files": await asyncio.to_thread(files_of, folder),
                "hidden": await asyncio.to_thread(hides_seed, folder),
                "jobs": {what: job.told() for what, job in jobs.items() if job is not None},
            }
        )

    @api.get("/runs/{run_id}/files/{name}", tags=["runs"])
    async def file(run_id: str, name: str) -> Response:
        """A file of a run, to be kept."""
        folder = await _folder(desk, run_id)
        try:
            return await asyncio.to_thread(download, folder, name)
        except NotThere as fault:
            raise HTTPException(404, str(fault)) from None

    @api.get("/runs/{run_id}/report", tags=["runs"])
    async def report_page(run_id: str) -> Response:
        """A run's report, as a page without rights."""
        folder = await _folder(desk, run_id)
        try:
            return await asyncio.to_thread(report, folder)
        except NotThere as fault:
            raise HTTPException(404, str(fault)) from None


def _add_work(api: APIRouter, desk: Desk) -> None:
    @api.post("/runs/{run_id}/report", tags=["runs"])
    async def write_report(request: Request, run_id: str) -> Response:
        """Finish a run's files and write its report."""
        folder = await _asked_here(request, desk, run_id)
        if await asyncio.to_thread(hides_seed, folder):
            raise HTTPException(409, "this run's seed is hidden, and a report says it")
        arguments = [run_work.REPORT, str(folder)]
        job = _begun(desk, (run_work.REPORT, run_id), arguments, REPORT_LIMIT_S, object())
        return json_answer(job.told(), 202)

    @api.post("/runs/{run_id}/instants", tags=["runs"])
    async def look(request: Request, run_id: str) -> Response:
        """Have a run replayed for its instants, unless that was done since it last changed."""
        folder = await _asked_here(request, desk, run_id)
        stamp = await asyncio.to_thread(stamp_of, folder)
        arguments = [
            *(run_work.INSTANTS, str(folder)),
            *("--instants", str(INSTANTS), "--limit-s", str(REPLAY_S)),
        ]
        job = _begun(desk, (run_work.INSTANTS, run_id), arguments, INSTANTS_LIMIT_S, stamp)
        return json_answer(job.told(), 202)

    @api.get("/runs/{run_id}/instants", tags=["runs"])
    async def instants(run_id: str) -> Response:
        """What stood at 1,000 instants spread over a run: prices, positions, indicators, why no trade."""
        await _folder(desk, run_id)
        job = desk.jobs.get((run_work.INSTANTS, run_id))
        if job is None:
            raise HTTPException(404, "nobody has had this run replayed: open it on the machine itself first")
        return _stands(job)


async def _folder(desk: Desk, run_id: str) -> Path:
    try:
        return await asyncio.to_thread(run_folder, desk.runs, run_id)
    except NotThere as fault:
        raise HTTPException(404, str(fault)) from None


async def _asked_here(request: Request, desk: Desk, run_id: str) -> Path:
    """The run's folder, if whoever asks may have something done."""
    require_control(request)
    return await _folder(desk, run_id)


def _begun(desk: Desk, key: Key, arguments: list[str], limit_s: float, stamp: object) -> Job:
    try:
        return desk.jobs.ask(key, arguments, limit_s, stamp)
    except TooMany as fault:
        raise HTTPException(429, str(fault)) from None


def _stands(job: Job) -> Response:
    """A job's result, or how far it is."""
    if job.state == FAILED:
        raise HTTPException(409, job.why)
    if job.state != DONE:
        return json_answer(job.told(), 202)
    return json_text(job.result)


def _summary(folder: Path) -> Any:
    from lab.run_list import summary  # pandas: see `run_shelf`

    return summary(folder)
