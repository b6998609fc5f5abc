"""Ctrl-C while a strategy runs in this process: inside its code it would count as the strategy's own fault."""

import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType


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
