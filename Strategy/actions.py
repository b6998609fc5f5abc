"""What operators ask of the Strategy: it follows its run's `control.jsonl`.

for number, action in follower.take(): ...

Each line stands there before its mark is on the tape, in the same order.
"""

import os
from pathlib import Path
from typing import Final

from trading_lib.control import StrategyAction, parse_strategy_actions

READ_BYTES: Final = 1 << 20  # at once: some thousands of actions; the longest line is 64 KiB


class ActionFollower:
    """Owns its descriptor of the file, which need not be there yet."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._fd: int | None = None
        self._read = 0  # bytes

    def take(self) -> dict[int, StrategyAction]:
        """The Strategy's actions since the last call, by id, in their order. Raises OSError."""
        if self._fd is None:
            try:
                self._fd = os.open(self._path, os.O_RDONLY | os.O_CLOEXEC)
            except FileNotFoundError:
                return {}
        found: dict[int, StrategyAction] = {}
        while os.fstat(self._fd).st_size > self._read:
            content = os.pread(self._fd, READ_BYTES, self._read)
            whole = content.rfind(b"\n") + 1
            if not whole:
                break  # a line that is being written
            self._read += whole
            found |= parse_strategy_actions(content[:whole])
        return found

    def close(self) -> None:
        """Let go of the file."""
        if self._fd is not None:
            os.close(self._fd)
            self._fd = None
