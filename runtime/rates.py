"""Rates of the counts in main.py's statuses, over the time between the parts' own statuses."""

from collections.abc import Mapping
from typing import Any, Final

SHORTEST_S: Final = 0.5  # a part says its status once a second; what comes sooner is the last one of a run
QUIET_S: Final = 3.0  # of a part that has said nothing for so long nobody knows a rate


class Rates:
    """Turns counts that grow from status to status into rates.

    Parts and main.py each keep a second of their own, so a status of main.py has none, one or two new ones of a
    part: what counts is `status_at_s` of a part, when its last one came on the axis of `uptime_s`.
    """

    def __init__(self) -> None:
        self._last: dict[tuple[str, str], tuple[float, int, float]] = {}

    def rate(self, status: Mapping[str, Any], part: str, count: str) -> float:
        """Per second, of a part's count; the last one again while no newer status of that part has come.

        0 at the first, when a restart has reset the count, and for a part that has gone quiet.
        """
        found, now = status["parts"].get(part, {}), status["uptime_s"]
        at, counted = found.get("status_at_s", now), found.get(count, 0)
        then, before, rate = self._last.setdefault((part, count), (at, counted, 0.0))
        if at - then >= SHORTEST_S:
            rate = max(0.0, (counted - before) / (at - then))
            self._last[part, count] = at, counted, rate
        return rate if now - at <= QUIET_S else 0.0
