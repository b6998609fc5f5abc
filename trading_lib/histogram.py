"""A latency histogram: bounded memory, 0.8 % resolution, any range.

Values below 256 have a bucket each; above, every power of two is cut in 128 (the layout of HdrHistogram at
two significant digits). A percentile is the upper edge of the bucket it falls in, so it is never understated.
Finer, and a part would be at work for 20 ms in every second to tell its own: latencies from 20 µs to 20 ms
fall in 1,280 buckets.
"""

import math
from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Final

LINEAR: Final = 256
HALF: Final = LINEAR // 2
BITS: Final = LINEAR.bit_length()
BUCKETS: Final = (64 - BITS + 1) * HALF + LINEAR  # for every int64


class Histogram:
    """Counts of non-negative integers, usually ns. Negative values count as 0."""

    __slots__ = ("counts", "max", "total")

    def __init__(self) -> None:
        self.counts: Counter[int] = Counter()
        self.total = 0
        self.max = 0

    def record(self, value: int) -> None:
        """Count one value."""
        if value < LINEAR:
            bucket = value if value > 0 else 0
        else:
            shift = value.bit_length() - BITS + 1
            bucket = shift * HALF + (value >> shift)
        self.counts[bucket] += 1
        self.total += 1
        if value > self.max:
            self.max = value

    def percentile(self, percent: float) -> int | None:
        """The smallest bucket edge that at least `percent` % of the values do not exceed; None when empty."""
        return self._percentiles((percent,))[0]

    def _percentiles(self, percents: Iterable[float]) -> list[int | None]:
        """Of ascending `percents`, in one walk."""
        if not self.total:
            return [None for _ in percents]
        buckets = iter(sorted(self.counts.items()))
        found: list[int | None] = []
        seen, edge = 0, 0
        for percent in percents:
            wanted = max(1, math.ceil(self.total * percent / 100))
            while seen < wanted:
                bucket, count = next(buckets, (-1, 0))
                if bucket < 0:
                    raise AssertionError("counts do not sum to total")
                seen += count
                edge = min(_upper_edge(bucket), self.max)
            found.append(edge)
        return found

    def add(self, buckets: Mapping[int, int], maximum: int) -> None:
        """Add counts by bucket, as a kernel has counted them, and the largest value among them."""
        self.counts.update(buckets)
        self.total += sum(buckets.values())
        self.max = max(self.max, maximum)

    def merge(self, other: "Histogram") -> None:
        """Add another histogram's counts."""
        self.add(other.counts, other.max)

    def summary_us(self, percents: Iterable[float] = (50, 90, 99, 99.9)) -> dict[str, float | None]:
        """`{"p50": …, "p99": …, "max": …, "n": …}` with the latencies in µs (values taken as ns)."""
        ascending = sorted(percents)
        found: dict[str, float | None] = {
            f"p{percent:g}": None if edge is None else round(edge / 1000, 1)
            for percent, edge in zip(ascending, self._percentiles(ascending), strict=True)
        }
        found["max"] = round(self.max / 1000, 1) if self.total else None
        found["n"] = self.total
        return found

    def to_dict(self) -> dict[str, object]:
        """Plain values, for JSON."""
        return {"counts": {str(bucket): n for bucket, n in self.counts.items()}, "max": self.max}

    @classmethod
    def from_dict(cls, plain: Mapping[str, object]) -> "Histogram":
        """The inverse of `to_dict`."""
        histogram = cls()
        counts, maximum = plain["counts"], plain["max"]
        assert isinstance(counts, Mapping) and isinstance(maximum, int)
        histogram.counts.update({int(bucket): int(n) for bucket, n in counts.items()})
        histogram.total = sum(histogram.counts.values())
        histogram.max = maximum
        return histogram

    def buckets(self) -> list[tuple[int, int]]:
        """(upper edge, count), ascending."""
        return [(_upper_edge(bucket), self.counts[bucket]) for bucket in sorted(self.counts)]


def _upper_edge(bucket: int) -> int:
    """The largest value that falls in a bucket."""
    if bucket < LINEAR:
        return bucket
    shift = bucket // HALF - 1
    return ((bucket - shift * HALF + 1) << shift) - 1
