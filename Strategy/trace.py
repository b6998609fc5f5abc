"""What a strategy's indicators were, some times a second: what a chart draws of them.

A worker samples after a batch, when it is time to, and says it with its status; its parent gathers that until
its own. Both keep the newest of it, so many, and count the others.
"""

from collections import deque
from collections.abc import Mapping
from typing import Final

from Strategy.messages import TRACED, TRACED_CHARS, TRACED_SAMPLES, Sample, Traced

EVERY_S: Final = 0.05  # between two samples, at least …
SAMPLES_A_SECOND: Final = 200  # … and of all strategies together so many a second, at most
KEPT_OF_ALL: Final = 300  # between two statuses: 450 bytes each at most, on one line to the supervisor
PARTS_SHOWN: Final = 8  # of an indicator's value


def interval(strategies: int) -> float:
    """Seconds between two samples of one of so many strategies."""
    return max(EVERY_S, strategies / SAMPLES_A_SECOND)


class Tracer:
    """A worker's. Whoever works looks whether it is `due` (monotonic) with the clock it has read anyway."""

    def __init__(self, every: float) -> None:
        self.due = 0.0
        self._every = every
        self._names: list[str] = []
        self._parts: dict[str, int] = {}  # of an indicator; 0: it is one number
        self._samples: deque[Sample] = deque(maxlen=TRACED_SAMPLES)
        self._dropped = 0

    def sample(self, now: float, ts: int, indicators: Mapping[str, object]) -> None:
        """Keep the indicators' values at event time `ts`, ns; each has its place once it was there."""
        self.due = now + self._every
        if indicators.keys() - self._parts.keys() and len(self._names) < TRACED:
            self._learn(indicators)
        if self._names and ts > 0:
            values: list[float | None] = []
            for label, parts in self._parts.items():
                values += _numbers(getattr(indicators.get(label), "value", None), parts)
            self._dropped += len(self._samples) == TRACED_SAMPLES
            self._samples.append((str(ts), values))

    def _learn(self, indicators: Mapping[str, object]) -> None:
        for label, indicator in indicators.items():
            parts: tuple[str, ...] = getattr(type(indicator), "parts", ())
            if label not in self._parts and len(self._names) + max(1, len(parts)) <= TRACED:
                self._parts[label] = len(parts)
                self._names += [f"{label} {part}" for part in parts] or [label]

    def take(self) -> Traced | None:
        """What has come since the last call."""
        if not self._samples:
            return None
        traced = Traced([name[:TRACED_CHARS] for name in self._names], list(self._samples), self._dropped)
        self._samples.clear()
        self._dropped = 0
        return traced


class Trace:
    """The parent's, of one strategy among so many, over its workers."""

    def __init__(self, strategies: int) -> None:
        self.names: list[str] = []
        self.dropped = 0
        self._kept = min(TRACED_SAMPLES, max(1, KEPT_OF_ALL // strategies))
        self._samples: list[Sample] = []

    def add(self, traced: Traced) -> None:
        """A worker's newest. What was before is gone if it has other indicators."""
        self.dropped += traced.dropped
        if traced.names[: len(self.names)] != self.names:
            self.dropped += len(self._samples)
            self._samples.clear()
        self.names = traced.names
        self._samples += traced.samples
        excess = max(0, len(self._samples) - self._kept)
        self.dropped += excess
        del self._samples[:excess]

    def take(self) -> list[Sample]:
        """What has come since the last call; a value for each name."""
        samples, self._samples = self._samples, []
        return [(ts, (values + [None] * len(self.names))[: len(self.names)]) for ts, values in samples]


def shown(value: object) -> float | list[float | None] | None:
    """An indicator's value as it may leave the worker: whatever user code has made of it."""
    if isinstance(value, tuple):
        return [_number(part) for part in value[:PARTS_SHOWN]]
    return _number(value)


def _numbers(value: object, parts: int) -> list[float | None]:
    """So many numbers of a value; 0: it is one itself."""
    if not parts:
        return [_number(value)]
    if isinstance(value, tuple) and len(value) == parts:
        return [_number(part) for part in value]
    return [None] * parts


def _number(value: object) -> float | None:
    return (
        float(value) if isinstance(value, float) or (isinstance(value, int) and abs(value) < 1e300) else None
    )
