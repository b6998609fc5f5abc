"""Indicators over event time, as strategies sample them: a bounded history, and what is new since a number."""

from collections import deque
from collections.abc import Mapping, Sequence, Set
from typing import Any, Final

CAPACITY: Final = 4000  # samples of a strategy; when there are more, every other older one goes
STEPS: Final = 30  # statuses that a slow listener may be behind

Sample = tuple[float, list[float | None]]


class Trace:
    """One strategy's indicators: `names`, and samples (event time in ms, a value for each name)."""

    def __init__(self, names: Sequence[str]) -> None:
        self.names = list(names)
        self.samples: list[Sample] = []
        self.number = 0
        self._steps: deque[list[Sample]] = deque(maxlen=STEPS)

    @property
    def until(self) -> float:
        """When its last sample was taken, in event time, ms; -inf before there is one."""
        return self.samples[-1][0] if self.samples else float("-inf")

    def extend(self, names: Sequence[str]) -> bool:
        """Whether these names are this trace's, and perhaps more: then earlier samples have none of those."""
        known = len(self.names)
        if list(names[:known]) != self.names:
            return False
        if more := list(names[known:]):
            self.names += more
            self.samples = [(ms, [*values, *([None] * len(more))]) for ms, values in self.samples]
            self._steps.clear()  # who listens needs the names: it begins anew
            self.number += 1
        return True

    def add(self, samples: list[Sample]) -> None:
        """Take a status' samples, later than those before."""
        self.samples += samples
        if len(self.samples) > CAPACITY:
            older, newer = self.samples[: CAPACITY // 2], self.samples[CAPACITY // 2 :]
            self.samples = older[::2] + newer
        self.number += 1
        self._steps.append(samples)

    def after(self, number: int) -> list[Sample] | None:
        """Samples since that number; None when they are not kept apart any more."""
        wanted = self.number - number
        if wanted > len(self._steps):
            return None
        return [sample for step in list(self._steps)[len(self._steps) - wanted :] for sample in step]


class Traces:
    """Every strategy's, of the epoch that it is in."""

    def __init__(self) -> None:
        self.by_strategy: dict[str, Trace] = {}
        self._epochs: dict[str, int] = {}  # that a strategy had seen begin with its last samples
        self._book_epochs: int | None = None

    def take(self, strategies: Sequence[Mapping[str, Any]], book_epochs: int = 0) -> None:
        """The strategies of a status, and how many epochs the OrderBook has begun."""
        for status in strategies:
            names, raw = status.get("trace_names"), status.get("trace")
            if names and raw:
                self._add(status, names, _of_one_epoch([(int(ts) / 1e6, values) for ts, values in raw]))
        if self._book_epochs not in (None, book_epochs):
            self._end({status["strategy"] for status in strategies if status.get("trace")})
        self._book_epochs = book_epochs

    def _add(self, status: Mapping[str, Any], names: Sequence[str], samples: list[Sample]) -> None:
        name, epochs = status["strategy"], status.get("epochs", 0)
        trace = self.by_strategy.get(name)
        before, self._epochs[name] = self._epochs.get(name, epochs), epochs
        goes_back = trace is not None and samples[-1][0] < trace.until
        is_over = goes_back or epochs > before  # a fast market is past that time at once
        if trace is None or is_over or not trace.extend(names):
            self.by_strategy[name] = trace = Trace(names)
        if fresh := [sample for sample in samples if sample[0] > trace.until]:
            trace.add(fresh)

    def _end(self, going_on: Set[str]) -> None:
        """An epoch is over: who has no more samples keeps none; who listens is told so."""
        for name, trace in self.by_strategy.items():
            if name not in going_on:
                self.by_strategy[name] = Trace(trace.names)


def _of_one_epoch(samples: list[Sample]) -> list[Sample]:
    """Those after the last step back in time."""
    begins = [at for at in range(1, len(samples)) if samples[at][0] < samples[at - 1][0]]
    return samples[begins[-1] :] if begins else samples
