"""A strategy that runs in this process, and what it must not hold up: Ctrl-C, and a replay.

Inside its code an exception counts as its own fault, so Ctrl-C only sets a flag there; what is to end its code
is raised as `strategy_file.TakenBack`, which nobody counts.
"""

import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

from trading_lib.strategy_file import TakenBack


@contextmanager
def interruptible() -> Iterator[threading.Event]:
    """Ctrl-C sets the flag, and says where it came; a second one ends the process at once.

    For who is stuck in a strategy that never returns, and will not look at the flag.
    """
    flag = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield flag
        return

    def on_interrupt(_: int, frame: FrameType | None) -> None:
        flag.set()
        signal.signal(signal.SIGINT, signal.SIG_DFL)
        where = f" at {frame.f_code.co_filename} line {frame.f_lineno}" if frame is not None else ""
        print(f"interrupted{where}; once more ends it at once", file=sys.stderr, flush=True)

    before = signal.signal(signal.SIGINT, on_interrupt)
    try:
        yield flag
    finally:
        signal.signal(signal.SIGINT, before)


class Patience:
    """Raises TakenBack in a strategy's code when that has not come further for so many seconds.

        patience = Patience(2.0)
        with patience.watching():                 # once: a thread, and SIGUSR2
            with patience.until(lambda: engine.at):
                engine.consume(records)

    As long as that is Python: code that stays in C is not reached. Nor is any outside the main thread.
    """

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._at: Callable[[], int] | None = None  # how far the code is that is watched now
        self._turn = 0  # of what is watched, one after the other
        self._struck = -1  # the turn that took too long
        self._over = threading.Event()

    @contextmanager
    def watching(self) -> Iterator[None]:
        """Have a thread that watches."""
        main = threading.main_thread()
        if threading.current_thread() is not main:
            yield
            return
        self._over.clear()
        previous = signal.signal(signal.SIGUSR2, self._take_back)
        watcher = threading.Thread(target=self._watch, args=(main.ident,), name="watch", daemon=True)
        watcher.start()
        try:
            yield
        finally:
            self._over.set()
            watcher.join()
            signal.signal(signal.SIGUSR2, previous)

    @contextmanager
    def until(self, at: Callable[[], int]) -> Iterator[None]:
        """What runs here is watched; `at` is how far it is."""
        self._turn += 1
        self._at = at
        try:
            yield
            self._at = None
        except BaseException:
            self._at = None
            raise

    def _watch(self, main: int) -> None:
        before = None
        while not self._over.wait(self._seconds):
            turn, at = self._turn, self._at
            now = (turn, at()) if at is not None else None
            if now is not None and now == before:
                self._struck = turn
                signal.pthread_kill(main, signal.SIGUSR2)
            before = now

    def _take_back(self, *_: object) -> None:
        if self._at is not None and self._struck == self._turn:
            raise TakenBack
