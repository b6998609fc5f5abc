"""What a person reads, written by a thread of its own: who writes never waits for who reads.

    with Output(sys.stdout) as output:
        Console(file=output).print("ready")

A pipe that nobody empties and a terminal stopped by Ctrl-S hold up whoever writes to them for good.
"""

import io
import os
import threading
from collections import deque
from typing import Final, Self, TextIO

LIMIT: Final = (
    1 << 16
)  # characters that wait, some hundred status lines; more is dropped, whole writes, and counted
FAREWELL_S: Final = 0.3  # how long a closing output waits for its reader to take the rest


class Output(io.TextIOBase):
    """Owns its thread, not the stream below, of which it takes the descriptor: past any buffer of Python's.

    `dropped`: writes that were not shown because nobody read. `write` raises OSError when the reader has gone.
    """

    def __init__(self, stream: TextIO | None) -> None:
        self._fd = stream.fileno() if stream is not None else None  # None: this process has no such stream
        self._terminal = stream is not None and stream.isatty()
        self.dropped = 0
        self._untold = 0  # dropped since the last text that was shown
        self._waiting: deque[str] = deque()
        self._size = 0
        self._fault: OSError | None = None
        self._ending = False
        self._changed = threading.Condition()
        self._thread = threading.Thread(target=self._pump, name="output", daemon=True)
        self._thread.start()

    def isatty(self) -> bool:
        """Whether the stream is a terminal."""
        return self._terminal

    def writable(self) -> bool:
        """It is."""
        return True

    def write(self, text: str) -> int:
        """Have `text` written, soon or never."""
        with self._changed:
            if self._fault is not None:
                raise self._fault
            if self._waiting and self._size + len(text) > LIMIT:
                self.dropped += 1
                self._untold += 1
            else:
                self._waiting.append(text)
                self._size += len(text)
                self._changed.notify()
        return len(text)

    def _next(self) -> str | None:
        """The next text to write, None after the last."""
        with self._changed:
            self._changed.wait_for(lambda: self._waiting or self._untold or self._ending)
            if self._waiting:
                text = self._waiting.popleft()
                self._size -= len(text)
                return text
            if self._untold:
                untold, self._untold = self._untold, 0
                return "" if self._terminal else f"… {untold} lines not shown: nobody read them\n"
            return None

    def _pump(self) -> None:
        try:
            while (text := self._next()) is not None:
                rest = text.encode("utf-8", "replace")
                while rest and self._fd is not None:
                    rest = rest[os.write(self._fd, rest) :]
        except OSError as fault:
            with self._changed:
                self._fault = fault
                self._waiting.clear()

    def close(self) -> None:
        """Let the reader take what waits, if it does so now."""
        with self._changed:
            self._ending = True
            self._changed.notify()
        self._thread.join(FAREWELL_S)
        super().close()

    def __enter__(self) -> Self:
        return self
