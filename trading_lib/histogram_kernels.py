"""Counting into a histogram's buckets from a kernel."""

from typing import Any

from trading_lib.histogram import BITS, HALF, LINEAR
from trading_lib.jit import jit


@jit
def count_latency(counts: Any, value: int) -> None:
    """Count one non-negative value in int64[BUCKETS], as `Histogram.record` does."""
    shift = 0
    while (value >> shift) >= LINEAR:
        shift += 1
    counts[shift * HALF + (value >> shift) if value > 0 else 0] += 1


assert LINEAR == 1 << (BITS - 1)
