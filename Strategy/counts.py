"""Counts of a strategy over its workers, one after another."""

from collections import Counter
from typing import Final

import msgspec

from Strategy.messages import Status

_ADDED: Final = (
    *("ticks", "news", "epochs", "orders", "fills", "denied"),
    *("missed", "errors", "over_budget", "not_drained"),
)


def added(before: Status, now: Status) -> Status:
    """Counts add up; what is no count is the newer one's."""
    sums = {name: getattr(before, name) + getattr(now, name) for name in _ADDED}
    counters = Counter(before.counters)
    counters.update(now.counters)
    return msgspec.structs.replace(
        now,
        **sums,
        last_error=now.last_error or before.last_error,
        slowest_ms=max(before.slowest_ms, now.slowest_ms),
        counters=dict(counters),
    )
