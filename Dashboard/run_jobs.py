"""Work on runs that takes a while: each piece in a process of its own, two at once, and their results kept.

    job = jobs.ask(("instants", run_id), ["instants", folder], limit_s=90, stamp=stamp_of(folder))
    job.state        # waiting, working, done or failed
    job.result       # what it printed, when it is done

Who asks for what is being done, or was done just now or since the run last changed, gets that. Belongs to the
event loop: a process is killed when its task is cancelled, so none is left when the loop ends.
"""

import asyncio
import os
import re
import signal
import subprocess
import sys
import time
from collections import OrderedDict
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing, suppress
from pathlib import Path
from typing import IO, Any, Final

from config import ROOT

AT_ONCE: Final = 2  # processes
MOST_WAITING: Final = 16  # jobs; more is not somebody looking at runs
MOST_KEPT: Final = 8  # jobs that are over
MOST_RESULT: Final = 1 << 26  # bytes: 1,000 instants of 64 strategies are 20 MB
MOST_HELD: Final = 1 << 27  # bytes of all results that are kept
FRESH_S: Final = (
    3.0  # a result so old is one still: a run that goes on has another stamp whenever it is asked for
)
SAID: Final = 2000  # bytes of standard error that are kept: why it failed
PIECE: Final = 1 << 16
ENDING_S: Final = 0.01  # how often a process that has said everything is looked at
WAITING: Final = "waiting"
WORKING: Final = "working"
DONE: Final = "done"
FAILED: Final = "failed"

COMMAND: Final = (sys.executable, "-m", "Dashboard.run_work")

Key = tuple[str, ...]
_progress: Final = re.compile(rb"^records (\d+) of (\d+)$", re.MULTILINE)


class TooMany(Exception):
    """More work is waiting than anybody needs."""


class Job:
    """One piece of work. `done` of `total` says how far it is, 0 of 0 when nobody knows; `why` why it failed."""

    def __init__(self, command: Sequence[str], limit_s: float, stamp: object) -> None:
        self.command = tuple(command)
        self.limit_s = limit_s
        self.stamp = stamp
        self.state = WAITING
        self.done = 0
        self.total = 0
        self.why = ""
        self.result = b""
        self.began = time.monotonic()
        self.ended = 0.0

    @property
    def over(self) -> bool:
        """Whether it is done or has failed."""
        return self.state in (DONE, FAILED)

    def told(self) -> dict[str, Any]:
        """How it stands, for a page."""
        return {
            "state": self.state,
            "done": self.done,
            "total": self.total,
            "why": self.why,
            "seconds": round((self.ended if self.over else time.monotonic()) - self.began, 1),
        }

    def fresh(self, stamp: object) -> bool:
        """Whether its result is good for who asks at this stamp."""
        if self.state != DONE:
            return False
        return self.stamp == stamp or time.monotonic() < self.ended + FRESH_S

    async def work(self) -> None:
        """Do it. Raises nothing: a failure is a state."""
        self.state = WORKING
        self.began = time.monotonic()
        try:
            async with asyncio.timeout(self.limit_s):
                code, result, said = await self._run()
        except TimeoutError:
            self._fail(f"it took more than {self.limit_s:g} s")
        except (_TooLong, OSError) as fault:
            self._fail(str(fault))
        else:
            if code:
                self._fail(said.decode(errors="replace").strip() or f"it ended with {code}")
            else:
                self.state, self.result = DONE, result
        finally:
            if not self.over:
                self._fail("it was given up")
            self.ended = time.monotonic()

    def _fail(self, why: str) -> None:
        self.state, self.why = FAILED, why

    async def _run(self) -> tuple[int, bytes, bytes]:
        """Exit code, standard output, the end of standard error. Raises OSError, _TooLong."""
        process = subprocess.Popen(  # asyncio's, when cancelled as it begins, may wait for ever
            self.command,
            cwd=ROOT,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            process_group=0,  # a strategy's own processes are killed with it
        )
        assert process.stdout is not None
        assert process.stderr is not None
        listening = asyncio.create_task(self._listen(process.stderr))
        try:
            result = await _whole(process.stdout)
            said = await listening
            while process.poll() is None:
                await asyncio.sleep(ENDING_S)
            return process.returncode, result, said
        finally:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            listening.cancel()
            await asyncio.gather(listening, return_exceptions=True)
            process.stdout.close()  # of whom nothing was read yet
            process.stderr.close()

    async def _listen(self, pipe: IO[bytes]) -> bytes:
        said = b""
        async with aclosing(_pieces(pipe)) as pieces:
            async for piece in pieces:
                said = said[-SAID:] + piece
                if found := _progress.findall(said):
                    self.done, self.total = map(int, found[-1])
        return _progress.sub(b"", said)[-SAID:]


class _TooLong(Exception):
    """A result that nobody could show."""


async def _whole(pipe: IO[bytes]) -> bytes:
    found = bytearray()
    async with aclosing(_pieces(pipe)) as pieces:
        async for piece in pieces:
            found += piece
            if len(found) > MOST_RESULT:
                raise _TooLong(f"its result is longer than {MOST_RESULT >> 20} MB")
    return bytes(found)


async def _pieces(pipe: IO[bytes]) -> AsyncGenerator[bytes, None]:
    """What comes out of a pipe, as it comes; then it is closed."""
    reader = asyncio.StreamReader()
    loop = asyncio.get_running_loop()
    transport, _ = await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), pipe)
    try:
        while piece := await reader.read(PIECE):
            yield piece
    finally:
        transport.close()


class Jobs:
    """The jobs of a server, by what they are of. `command` takes a job's arguments."""

    def __init__(self, command: Sequence[str] = COMMAND) -> None:
        self._command = tuple(command)
        self._jobs: OrderedDict[Key, Job] = OrderedDict()  # the one used last stands last
        self._places = asyncio.Semaphore(AT_ONCE)
        self._tasks: set[asyncio.Task[None]] = set()

    def get(self, key: Key) -> Job | None:
        """The job of a key, if there is one still."""
        job = self._jobs.get(key)
        if job is not None:
            self._jobs.move_to_end(key)
        return job

    def ask(self, key: Key, arguments: Sequence[str], limit_s: float, stamp: object) -> Job:
        """The job of a key: a new one, unless it is on, or was done at this stamp. Raises TooMany."""
        job = self.get(key)
        if job is not None and (not job.over or job.fresh(stamp)):
            return job
        if sum(not each.over for each in self._jobs.values()) >= MOST_WAITING + AT_ONCE:
            raise TooMany(f"{MOST_WAITING} others are waiting: ask again when they are done")
        self._jobs[key] = job = Job((*self._command, *arguments), limit_s, stamp)
        self._jobs.move_to_end(key)
        task = asyncio.create_task(self._work(job))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return job

    async def _work(self, job: Job) -> None:
        async with self._places:
            await job.work()
        self._forget()

    def _forget(self) -> None:
        """Those that are over and were not asked for lately go."""
        over = [key for key, job in self._jobs.items() if job.over]
        held = sum(len(self._jobs[key].result) for key in over)
        while over and (len(over) > MOST_KEPT or (held > MOST_HELD and len(over) > 1)):
            held -= len(self._jobs.pop(over.pop(0)).result)


def stamp_of(folder: Path) -> tuple[int, ...]:
    """Differs whenever a run has grown or its files were finished."""
    found: list[int] = []
    for name in ("tape.bin", "manifest.json", "equity.csv", "config.json"):
        try:
            status = (folder / name).stat()
        except OSError:
            found += (-1, -1)
        else:
            found += (status.st_size, status.st_mtime_ns)
    return tuple(found)
