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


@contextmanager
def taken_back_after(seconds: float, at: Callable[[], int]) -> Iterator[None]:
    """Raise TakenBack in what runs here when it has not come further for so long; `at` is how far it is.

    As long as that is Python: code that stays in C is not reached. Nor is any outside the main thread.
    """
    main = threading.main_thread()
    if threading.current_thread() is not main:
        yield
        return
    done = threading.Event()

    def look() -> None:
        before = at()
        while not done.wait(seconds):
            if at() == before:
                signal.pthread_kill(main.ident or 0, signal.SIGUSR2)
            before = at()

    def take_back(*_: object) -> None:
        if not done.is_set():
            raise TakenBack

    previous = signal.signal(signal.SIGUSR2, take_back)
    watcher = threading.Thread(target=look, name="watch", daemon=True)
    watcher.start()
    try:
        yield
    finally:
        done.set()
        watcher.join()
        signal.signal(signal.SIGUSR2, previous)
