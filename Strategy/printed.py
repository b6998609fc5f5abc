"""What strategies say, in the log: so many lines a second, for it is a person who reads them."""

import logging
import time
from collections.abc import Sequence
from typing import Final

from logger import log_lines

PRINTS_A_SECOND: Final = 200  # lines that are logged of what a strategy prints …
WARNINGS_A_SECOND: Final = 10  # … and of what goes wrong: all of it is counted, where it is counted
LINE: Final = 1000  # characters of one


class Ration:
    """So many lines a second; `dropped` counts the others."""

    def __init__(self, a_second: int) -> None:
        self._a_second = self._room = a_second
        self._second = 0
        self.dropped = 0

    def take(self, lines: Sequence[str]) -> Sequence[str]:
        """Those there is room for."""
        second = int(time.monotonic())
        if second != self._second:
            self._second, self._room = second, self._a_second
        shown = lines[: self._room]
        self._room -= len(shown)
        self.dropped += len(lines) - len(shown)
        return shown


class Printed:
    """One strategy's output; `dropped` counts the lines that were not logged."""

    def __init__(self, strategy_id: str, log: logging.Logger) -> None:
        self._strategy_id = strategy_id
        self._log = log
        self._prints, self._warnings = Ration(PRINTS_A_SECOND), Ration(WARNINGS_A_SECOND)

    @property
    def dropped(self) -> int:
        """Lines that were not logged."""
        return self._prints.dropped + self._warnings.dropped

    def take(self, lines: Sequence[str]) -> None:
        """Log what it has printed, as far as there is room."""
        if lines:
            log_lines(self._log, [f"{self._strategy_id}: {line}" for line in self._prints.take(lines)])

    def warn(self, level: int, lines: Sequence[str]) -> None:
        """Log what has gone wrong, as far as there is room."""
        shown = [line[:LINE] for line in self._warnings.take(lines)]
        log_lines(self._log, shown, level if level in _LEVELS else logging.INFO)


_LEVELS: Final = (logging.DEBUG, logging.INFO, logging.WARNING, logging.ERROR)
