"""Notices saved files, in a thread: whoever asks hears which folders have changed since it last did.

Editors that write a new file and rename it, or write twice, are one change: events are gathered for a moment.
"""

import threading
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Final

import watchfiles

DEBOUNCE_MS: Final = 50  # quiet for so long, and a change is told
LOOK_MS: Final = 1000  # so often the thread looks whether it is to end


class Watch:
    """Owns its thread. `wake()` is called from it after each change."""

    def __init__(self, folders: Iterable[Path], wake: Callable[[], None]) -> None:
        self._folders = tuple(dict.fromkeys(folders))
        self._wake = wake
        self._stop = threading.Event()
        self._changed: set[Path] = set()
        self._lock = threading.Lock()
        self._thread = threading.Thread(target=self._follow, name="watch", daemon=True)
        self._thread.start()

    def _follow(self) -> None:
        for changes in watchfiles.watch(
            *self._folders,
            watch_filter=lambda _, path: path.endswith(".py"),
            debounce=4 * DEBOUNCE_MS,
            step=DEBOUNCE_MS,
            stop_event=self._stop,
            rust_timeout=LOOK_MS,
            recursive=False,
            raise_interrupt=False,
        ):
            with self._lock:
                self._changed.update(Path(path).parent for _, path in changes)
            self._wake()

    def take(self) -> set[Path]:
        """The folders in which a module was saved since the last call."""
        with self._lock:
            changed, self._changed = self._changed, set()
        return changed

    def close(self) -> None:
        """End the thread, soon."""
        self._stop.set()
