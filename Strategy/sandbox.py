"""What a worker gives up before it imports a strategy. Nothing is enforced yet, and every worker says so."""

from collections import Counter
from collections.abc import Sequence

import msgspec


class Limits(msgspec.Struct, frozen=True):
    """What a strategy may still do."""

    readable: tuple[str, ...]
    memory_mb: int
    files: int


class Report(msgspec.Struct, frozen=True):
    """What this kernel could not enforce, for a person; where denied system calls are noticed."""

    missing: tuple[str, ...] = ("user code is not locked in yet",)
    notify_fd: int | None = None


def prepare() -> None:
    """Everything that must be known before a worker is forked."""


def lock_down(_limits: Limits, _keep: Sequence[int]) -> Report:
    """Give up every right that is not needed."""
    return Report()


class DenialCounter:
    """Answers and counts denied system calls."""

    def __init__(self, _fd: int) -> None:
        self.counts: Counter[str] = Counter()

    def turn(self) -> None:
        """Answer those that wait."""

    def close(self) -> None:
        """Let go of the descriptor."""
