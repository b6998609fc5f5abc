"""The last minutes of a run as its statuses tell them, for who opens a page now: rates and latencies."""

import time
from collections import Counter, deque
from collections.abc import Mapping
from typing import Any, Final, NamedTuple

from runtime.rates import Rates

RATES_KEPT: Final = 600  # statuses come once a second: ten minutes
SNAPSHOT_S: Final = 5.0  # between two of the latency histograms that are kept
MINUTE_S: Final = 60.0
GROUP: Final = 2  # neighbouring buckets that browsers get as one: 1.6 % resolution, and a message of 20 KB
COUNTED: Final = {"ticks": ("orderbook", "ticks"), "orders": ("order_manager", "orders")}

Histograms = Mapping[str, Mapping[str, Any]]  # by part and stage, as trading_lib.histogram writes them


class Rate(NamedTuple):
    """Per second, at a wall time in ms."""

    ms: float
    ticks: float
    orders: float


class Recent:
    """Gathers from every status. Times are `uptime_s` of main.py, so that a late status spoils no rate."""

    def __init__(self) -> None:
        self.rates: deque[Rate] = deque(maxlen=RATES_KEPT)
        self._snapshots: deque[tuple[float, Histograms]] = deque()
        self._rates = Rates()
        self._before: float | None = None

    def take(self, status: Mapping[str, Any]) -> None:
        """One status of main.py."""
        at, parts = status["uptime_s"], status["parts"]
        self._take_rates(status)
        if not self._snapshots or at - self._snapshots[-1][0] >= SNAPSHOT_S:
            self._snapshots.append((at, coarse_histograms(parts)))
        while len(self._snapshots) > 1 and at - self._snapshots[1][0] >= MINUTE_S:
            self._snapshots.popleft()

    def _take_rates(self, status: Mapping[str, Any]) -> None:
        at, before = status["uptime_s"], self._before
        per_s = {name: round(self._rates.rate(status, *counted), 1) for name, counted in COUNTED.items()}
        if before is not None and at > before:
            self.rates.append(Rate(round(time.time() * 1000), per_s["ticks"], per_s["orders"]))
        self._before = at

    def snapshots(self) -> list[dict[str, Any]]:
        """The histograms of the last minute, oldest first; `uptime_s` says when each was."""
        return [{"uptime_s": at, "histograms": found} for at, found in self._snapshots]


def histograms(parts: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """The latency histograms of the parts that have any, by part and stage."""
    return {name: part["histograms"] for name, part in parts.items() if "histograms" in part}


def coarse_histograms(parts: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """The same for browsers: GROUP buckets are counted in their last one, so that nothing is understated."""
    return {
        name: {
            stage: {"counts": _grouped(plain["counts"]), "max": plain["max"]}
            for stage, plain in stages.items()
        }
        for name, stages in histograms(parts).items()
    }


def _grouped(counts: Mapping[str, int]) -> Counter[str]:
    grouped: Counter[str] = Counter()
    for bucket, count in counts.items():
        grouped[str(int(bucket) | GROUP - 1)] += count
    return grouped
