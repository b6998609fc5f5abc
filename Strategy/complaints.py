"""A strategy's exceptions on their way to the log: a few at once, then one line a second for all of them."""

import time
from collections.abc import Callable
from typing import Final

AT_ONCE: Final = 5  # lines, after a second without any
EVERY_S: Final = 1.0


class Complaints:
    """`say` takes lines for the log. To be tended some times a second."""

    def __init__(self, say: Callable[[str], None], clock: Callable[[], float] = time.monotonic) -> None:
        self._say = say
        self._clock = clock
        self._credit = AT_ONCE
        self._held = ""
        self._due = 0.0

    def add(self, line: str) -> None:
        """One more."""
        if self._credit:
            self._credit -= 1
            self._due = self._clock() + EVERY_S
            self._say(line)
        else:
            self._held = line

    def tend(self, errors: int) -> None:
        """Say what was held back, with how many there were in all; forget the past after a quiet second."""
        if self._clock() < self._due:
            return
        self._due = self._clock() + EVERY_S
        if self._held:
            self.flush(errors)
        else:
            self._credit = AT_ONCE

    def flush(self, errors: int) -> None:
        """Say what was held back now."""
        if self._held:
            self._say(f"{self._held} ({errors:,} so far)")
            self._held = ""
