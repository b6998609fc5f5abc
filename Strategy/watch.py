"""Notices saved files, in a thread: whoever asks hears which folders have changed since it last did.

Editors that write a new file and rename it, or write twice, are one change: events are gathered for a moment.
"""

import threading
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Final

import watchfiles
from watchfiles._rust_notify import WatchfilesRustInternalError

DEBOUNCE_MS: Final = 50  # quiet for so long, and a change is told
LOOK_MS: Final = 1000  # so often the thread looks whether it is to end, and whether the folders are the same


class Watch:
    """Owns its thread. `wake()` is called from it after each change, and when it can follow no more.

    `failed` says why it cannot: the system has no watch left, or a folder is gone or is another one now.
    """

    def __init__(self, folders: Iterable[Path], wake: Callable[[], None]) -> None:
        self.failed = ""
        self._folders = tuple(dict.fromkeys(folders))
        self._wake = wake
        self._stop = threading.Event()
        self._changed: set[Path] = set()
        self._lock = threading.Lock()
        self._thread = threading.Thread(target=self._run, name="watch", daemon=True)
        self._thread.start()

    def _run(self) -> None:
        try:
            self._follow()
        except (OSError, WatchfilesRustInternalError) as fault:
            if not self._stop.is_set():
                self.failed = str(fault)
                self._wake()

    def _follow(self) -> None:
        watched = [_identity(folder) for folder in self._folders]
        for changes in watchfiles.watch(
            *self._folders,
            watch_filter=lambda _, path: path.endswith(".py"),
            debounce=4 * DEBOUNCE_MS,
            step=DEBOUNCE_MS,
            stop_event=self._stop,
            rust_timeout=LOOK_MS,
            yield_on_timeout=True,
            recursive=False,
            raise_interrupt=False,
        ):
            if changes:
                with self._lock:
                    self._changed.update(Path(path).parent for _, path in changes)
                self._wake()
            for folder, identity in zip(self._folders, watched, strict=True):
                if _identity(folder) != identity:  # the kernel watches the old one
                    raise FileNotFoundError(f"{folder} has been replaced")

    def take(self) -> set[Path]:
        """The folders in which a module was saved since the last call."""
        with self._lock:
            changed, self._changed = self._changed, set()
        return changed

    def close(self) -> None:
        """End the thread, soon."""
        self._stop.set()


def _identity(folder: Path) -> tuple[int, int]:
    """What stays the same while it is the same folder. Raises OSError."""
    found = folder.stat()
    return found.st_dev, found.st_ino
