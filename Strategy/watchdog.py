"""Looks after what a strategy does with its time: one that does not come back, one that is over its budget.

It reads the worker's pulse and asks it where it is; it kills nobody itself.
"""

import time
from typing import Final

from Strategy.nursery import Worker

TRACE_S: Final = 0.2  # for a worker to say where it is
SAMPLE_S: Final = 1.0  # between two looks at where a slow strategy is


class Watchdog:
    """Of one strategy. `budget` is what a record may cost, seconds."""

    def __init__(self, budget: float) -> None:
        self._budget = budget
        self._asked_at = 0.0  # the worker that does not come back
        self._sampled_at = 0.0

    def hangs(self, worker: Worker, limit: float) -> str:
        """What to say of a worker whose strategy has had its records for longer than `limit` seconds; or nothing.

        The first look asks where it is, a later one has the answer, or does without.
        """
        busy, now = worker.pulse.busy_s, time.monotonic()
        if busy <= limit:
            self._asked_at = 0.0
            return ""
        if not self._asked_at:
            self._asked_at = now
            worker.ask_where()
            return ""
        if not worker.trace and now - self._asked_at < TRACE_S:
            return ""
        self._asked_at = 0.0
        where = f", at {worker.trace}" if worker.trace else ""
        return f"did not come back for {busy:.1f} s{where}"

    def slow_at(self, worker: Worker) -> str:
        """Where a strategy was that is over its budget: now and then, and nothing otherwise."""
        if worker.trace:
            where, worker.trace = worker.trace, ""
            return where
        now = time.monotonic()
        if worker.pulse.busy_s > self._budget * worker.pulse.records and now - self._sampled_at > SAMPLE_S:
            self._sampled_at = now
            worker.ask_where()
        return ""
