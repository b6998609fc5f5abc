"""What strategies print, in the log: so many lines a second, for it is a person who reads them."""

import logging
import time
from collections.abc import Sequence
from typing import Final

from logger import log_lines

A_SECOND: Final = 200  # lines that are logged; the rest is counted


class Printed:
    """One strategy's output; `dropped` counts the lines that were not logged."""

    def __init__(self, strategy_id: str, log: logging.Logger) -> None:
        self._strategy_id = strategy_id
        self._log = log
        self._second = 0
        self._room = A_SECOND
        self.dropped = 0

    def take(self, lines: Sequence[str]) -> None:
        """Log them, as far as there is room."""
        if not lines:
            return
        second = int(time.monotonic())
        if second != self._second:
            self._second, self._room = second, A_SECOND
        shown = lines[: self._room]
        self._room -= len(shown)
        self.dropped += len(lines) - len(shown)
        log_lines(self._log, [f"{self._strategy_id}: {line}" for line in shown])
