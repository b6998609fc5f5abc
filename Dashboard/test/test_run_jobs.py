"""Work on runs: shared, bounded, told how far it is, and gone when nobody is left who asked."""

import asyncio
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path

import psutil
import pytest

from Dashboard import run_jobs
from Dashboard.run_jobs import (
    AT_ONCE,
    DONE,
    FAILED,
    MOST_KEPT,
    MOST_WAITING,
    WAITING,
    WORKING,
    Job,
    Jobs,
    TooMany,
    stamp_of,
)
from Dashboard.test.simulated import until
from testing.harness import PATIENCE_S

FOREVER = "import time; time.sleep(600)"


def done_with(work: Callable[[Jobs], Awaitable[None]]) -> None:
    """Do something with jobs that are scripts, in a loop that ends with it."""

    async def main() -> None:
        await work(Jobs((sys.executable, "-c")))

    asyncio.run(main())


async def over(job: Job) -> None:
    await until(lambda: job.over)


def ask(jobs: Jobs, script: str, key: str = "key", stamp: object = 1, limit_s: float = PATIENCE_S) -> Job:
    return jobs.ask((key,), [script], limit_s, stamp)


def processes() -> list[psutil.Process]:
    return [child for child in psutil.Process().children() if FOREVER in " ".join(child.cmdline())]


def test_what_it_prints_is_its_result_and_what_it_says_is_how_far_it_is() -> None:
    script = "import sys; print('records 3 of 7\\nrecords 5 of 7', file=sys.stderr); print('found')"

    async def work(jobs: Jobs) -> None:
        job = ask(jobs, script)
        assert (job.state, job.result) == (WAITING, b"")
        await over(job)
        assert (job.state, job.result, job.done, job.total) == (DONE, b"found\n", 5, 7)
        assert job.told()["state"] == DONE

    done_with(work)


def test_a_failure_is_told_in_the_words_of_the_process_without_its_progress() -> None:
    script = "import sys; print('records 1 of 2\\nno such run', file=sys.stderr); sys.exit(3)"

    async def work(jobs: Jobs) -> None:
        job = ask(jobs, script)
        await over(job)
        assert (job.state, job.why, job.result) == (FAILED, "no such run", b"")
        silent = ask(jobs, "raise SystemExit(3)", "silent")
        await over(silent)
        assert silent.why == "it ended with 3"

    done_with(work)


def test_one_that_cannot_even_begin_has_failed() -> None:
    async def work(jobs: Jobs) -> None:
        job = Job((sys.executable, "-c", "\0"), PATIENCE_S, stamp=1)
        with pytest.raises(ValueError, match="null byte"):
            await job.work()
        assert (job.state, job.why, job.over) == (FAILED, "it was given up", True)
        nowhere = Job(("/nowhere/python",), PATIENCE_S, stamp=1)
        await nowhere.work()
        assert nowhere.state == FAILED and "No such file" in nowhere.why

    done_with(work)


def test_one_that_is_cancelled_has_failed_and_leaves_nothing_behind() -> None:
    async def work(jobs: Jobs) -> None:
        job = Job((sys.executable, "-c", FOREVER), PATIENCE_S, stamp=1)
        task = asyncio.create_task(job.work())
        await until(processes)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert (job.state, job.why) == (FAILED, "it was given up")
        assert processes() == []

    done_with(work)


def test_one_that_takes_too_long_is_killed_with_what_it_started() -> None:
    script = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {FOREVER!r}])"

    async def work(jobs: Jobs) -> None:
        job = ask(jobs, script, limit_s=1)
        await over(job)
        assert job.why == "it took more than 1 s"

    done_with(work)
    assert not any(FOREVER in " ".join(one.info["cmdline"] or ()) for one in psutil.process_iter(["cmdline"]))


def test_a_result_that_nobody_could_show_ends_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run_jobs, "MOST_RESULT", 1 << 20)

    async def work(jobs: Jobs) -> None:
        job = ask(jobs, "while True: print('x' * 65536)")
        await over(job)
        assert (job.state, job.why, job.result) == (FAILED, "its result is longer than 1 MB", b"")

    done_with(work)


def test_so_many_work_at_once_so_many_wait_and_more_are_refused() -> None:
    async def work(jobs: Jobs) -> None:
        asked = [ask(jobs, FOREVER, f"{n}") for n in range(AT_ONCE + MOST_WAITING)]
        await until(lambda: len(processes()) == AT_ONCE)
        assert [job.state for job in asked].count(WORKING) == AT_ONCE
        with pytest.raises(TooMany):
            ask(jobs, FOREVER, "another")

    done_with(work)
    assert processes() == []  # the loop has ended, and they with it


def test_who_asks_for_what_is_done_or_being_done_gets_that() -> None:
    async def work(jobs: Jobs) -> None:
        first = ask(jobs, "print(1)")
        assert ask(jobs, "print(2)", stamp=2) is first  # it is on
        await over(first)
        assert ask(jobs, "print(3)") is first
        assert ask(jobs, "print(4)", stamp=2) is first  # a moment ago
        first.ended -= run_jobs.FRESH_S
        assert ask(jobs, "print(5)") is first  # nothing has changed since
        other = ask(jobs, "print(6)", stamp=2)
        assert other is not first
        await over(other)
        assert other.result == b"6\n"

    done_with(work)


def test_what_has_failed_is_tried_again_when_asked_for() -> None:
    async def work(jobs: Jobs) -> None:
        first = ask(jobs, "raise SystemExit(1)")
        await over(first)
        assert ask(jobs, "print(1)") is not first

    done_with(work)


def test_of_those_that_are_over_the_ones_asked_for_last_are_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    async def work(jobs: Jobs) -> None:
        for n in range(MOST_KEPT + 1):
            job = ask(jobs, "print('x' * 99)", f"{n}")
            await over(job)
            jobs.get(("0",))
        await until(lambda: jobs.get(("1",)) is None)
        assert jobs.get(("0",)) is not None
        monkeypatch.setattr(run_jobs, "MOST_HELD", 250)
        last = ask(jobs, "print('x' * 99)", "last")
        await until(lambda: last.over and jobs.get(("2",)) is None)
        assert [key for key in map(str, range(9)) if jobs.get((key,))] == ["0"]

    done_with(work)


def test_a_run_that_grows_has_another_stamp(tmp_path: Path) -> None:
    nothing = stamp_of(tmp_path)
    (tmp_path / "tape.bin").write_bytes(b"1")
    one = stamp_of(tmp_path)
    assert one != nothing
    assert one == stamp_of(tmp_path)
    (tmp_path / "tape.bin").write_bytes(b"12")
    assert stamp_of(tmp_path) != one
