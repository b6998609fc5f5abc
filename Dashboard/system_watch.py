"""The processes as main.py's status has them, in the shape the pages show."""

import time
from collections.abc import Mapping, Sequence
from typing import Any, Final

from Dashboard.counted import counted
from Dashboard.recent import Recent, coarse_histograms
from Dashboard.traces import Traces

HEAVY: Final = ("histograms", "strategies", "lanes", "prices", "last_orders")  # of a part, told elsewhere
QUIET_S: Final = 3.0  # a status comes once a second
_TRACE: Final = ("trace", "trace_names")


class SystemWatch:
    """The last status. `version` grows with each, and when it has gone quiet."""

    def __init__(self) -> None:
        self.status: dict[str, Any] = {}
        self.version = 0
        self.generation = 0  # runs seen
        self.traces = Traces()
        self.recent = Recent()
        self._at = float("-inf")
        self._quiet = True

    def take(self, status: dict[str, Any]) -> None:
        """One line of main.py; answers to commands, which come between them, are not for us."""
        if "parts" not in status:
            return
        if status.get("run_id") != self.status.get("run_id"):
            self.traces, self.recent = Traces(), Recent()
            self.generation += 1
        self.status = status
        self._at = time.monotonic()
        self._quiet = False
        self.version += 1
        self.recent.take(status)
        epochs = self.part("orderbook").get("epochs", 0)
        self.traces.take(self.part("strategy").get("strategies", ()), epochs)

    def look(self) -> None:
        """Notice that no status comes any more."""
        if not self._quiet and time.monotonic() - self._at > QUIET_S:
            self._quiet = True
            self.version += 1

    @property
    def live(self) -> bool:
        """Whether main.py speaks to us."""
        return not self._quiet

    def part(self, name: str) -> dict[str, Any]:
        """One part's status; empty for one there is none of."""
        found: dict[str, Any] = self.status.get("parts", {}).get(name, {})
        return found

    @property
    def lanes(self) -> Sequence[Mapping[str, Any]]:
        """The lanes as the OrderManager's status has them."""
        lanes: Sequence[Mapping[str, Any]] = self.part("order_manager").get("lanes", ())
        return lanes

    def system(self) -> dict[str, Any]:
        """Every part, without what other topics tell."""
        parts = self.status.get("parts", {})
        return {
            "live": self.live,
            "run_id": self.status.get("run_id", ""),
            "uptime_s": self.status.get("uptime_s", 0.0),
            "parts": {
                name: {key: value for key, value in part.items() if key not in HEAVY}
                for name, part in parts.items()
            },
            "last_orders": self.part("order_manager").get("last_orders", []),
            "rate": self.recent.rates[-1] if self.recent.rates else None,
            "counted": [
                (one.part, one.what, one.reason, one.count, one.trouble, one.meaning)
                for one in counted(parts)
            ],
            "histograms": coarse_histograms(parts),
        }

    def strategies(self) -> dict[str, Any]:
        """What each strategy is doing."""
        strategies = self.part("strategy").get("strategies", ())
        return {
            "live": self.live,
            "strategies": [
                {key: value for key, value in one.items() if key not in _TRACE} for one in strategies
            ],
        }
