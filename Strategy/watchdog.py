"""Looks after what a strategy does with its time: one that does not come back, one that is over its budget.

It reads the worker's pulse and asks it where it is; it kills nobody itself.
"""

import time
from typing import Final

from Strategy.worker_handle import WorkerHandle

TRACE_S: Final = 0.2  # for a worker to say where it is
AWAKE_S: Final = 0.2  # between two of our own looks, at most: the rest of the time the machine may have slept
SILENCE_S: Final = 0.75  # between two things that a worker says when all is well: three times its period
SAMPLE_S: Final = 1.0  # between two looks at where a slow strategy is


class Watchdog:
    """Of one strategy. `budget` is what a record may cost, seconds."""

    def __init__(self, budget: float) -> None:
        self._budget = budget
        self._asked_at = 0.0  # the worker that does not come back
        self._sampled_at = 0.0
        self._heard = (0, 0)  # which worker, and how often it has said something
        self._silent_s = 0.0
        self._looked_at = time.monotonic()

    def hangs(self, worker: WorkerHandle, limit: float) -> str:
        """What to say of a worker whose strategy has had its records for longer than `limit` seconds; or nothing.

        The first look asks where it is, a later one has the answer, or does without.
        """
        now = time.monotonic()
        busy = max(worker.pulse.busy_s, self._silence(worker, now) - SILENCE_S)
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

    def _silence(self, worker: WorkerHandle, now: float) -> float:
        """For how long a worker has said nothing, seconds: one whose strategy holds it up between two batches,
        by a thread. Time in which we were not awake ourselves does not count."""
        awake, self._looked_at = min(now - self._looked_at, AWAKE_S), now
        heard = (worker.number, worker.heard)
        self._silent_s = self._silent_s + awake if heard == self._heard else 0.0
        self._heard = heard
        return self._silent_s

    def slow_at(self, worker: WorkerHandle) -> str:
        """Where a strategy was that is over its budget: now and then, and nothing otherwise."""
        if worker.trace:
            where, worker.trace = worker.trace, ""
            return where
        now = time.monotonic()
        if worker.pulse.busy_s > self._budget * worker.pulse.records and now - self._sampled_at > SAMPLE_S:
            self._sampled_at = now
            worker.ask_where()
        return ""
