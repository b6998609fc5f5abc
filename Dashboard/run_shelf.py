"""The list of runs as a server has it: the newest, read by a thread, read again only where something changed."""

import asyncio
import os
import time
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Final

import msgspec

if TYPE_CHECKING:
    from lab.run_list import RunSummary

MOST: Final = 500  # runs in a list; older ones are on the disk
FRESH_S: Final = 2.0  # a list so old is given again: a hundred pages are no hundred lists


class RunList(msgspec.Struct, frozen=True):
    """The runs, the newest first, and how many folders there are: those that changed last are in `runs`."""

    runs: "list[RunSummary]"
    folders: int


class RunShelf:
    """The runs below a folder. Belongs to the event loop."""

    def __init__(self, runs: Path) -> None:
        self._runs = runs
        self._known: dict[str, tuple[int, RunSummary]] = {}  # by name: of runs that are over, at this mtime
        self._listing: asyncio.Task[RunList] | None = None
        self._listed = 0.0

    async def list(self, fresh_s: float = FRESH_S) -> RunList:
        """What there is, or was `fresh_s` ago. Raises OSError."""
        listing = self._listing
        if listing is None or (listing.done() and time.monotonic() >= self._listed + fresh_s):
            listing = self._listing = asyncio.create_task(self._list())
        return await asyncio.shield(listing)

    async def _list(self) -> RunList:
        try:
            return await asyncio.to_thread(self._read)
        finally:
            self._listed = time.monotonic()

    def _read(self) -> RunList:
        from lab.run_list import ENDED, EVALUATION, is_run, summary  # pandas: 35 MB that only this page needs

        folders = _newest(self._runs)
        found: list[RunSummary] = []
        known: dict[str, tuple[int, RunSummary]] = {}
        for mtime, path in folders:
            if len(found) == MOST:
                break
            seen = self._known.get(path.name)
            if seen is None or seen[0] != mtime:
                if not is_run(path):
                    continue
                seen = (mtime, summary(path))
            if seen[1].state in (ENDED, EVALUATION):
                known[path.name] = seen
            found.append(seen[1])
        self._known = known
        found.sort(key=lambda run: (run.started, run.id), reverse=True)
        return RunList(found, len(folders))


def _newest(runs: Path) -> list[tuple[int, Path]]:
    """Folders below `runs` and when a file came into them or went last, the newest first."""
    found = []
    with suppress(FileNotFoundError), os.scandir(runs) as entries:
        for entry in entries:
            with suppress(FileNotFoundError):  # deleted at this moment
                if entry.is_dir(follow_symlinks=False):
                    found.append((entry.stat(follow_symlinks=False).st_mtime_ns, Path(entry.path)))
    return sorted(found, reverse=True)
