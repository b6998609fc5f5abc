"""Trading sessions: when a day order's day ends.

    hours = SessionHours("09:30-16:00 America/New_York")
    hours.end_after(ts)

Without hours a day ends at 00:00 UTC.
"""

import re
from datetime import UTC, datetime, timedelta, tzinfo
from typing import Final
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from trading_lib.models import NS_PER_S

DAY_NS: Final = 86_400 * NS_PER_S

_TIME: Final = r"(?:[01]\d|2[0-3]):[0-5]\d"
_HOURS: Final = re.compile(rf"{_TIME}-(?={_TIME})(\d\d):(\d\d)(?: (\S+))?", re.ASCII)


class SessionHours:
    """A daily session, `HH:MM-HH:MM` and a time zone's name (none: UTC). Raises ValueError.

    It may span midnight: only its end matters to an order.
    """

    def __init__(self, text: str) -> None:
        found = _HOURS.fullmatch(text)
        if found is None:
            raise ValueError(f"not a session such as 09:30-16:00 America/New_York: {text!r}")
        hour, minute, zone = found.groups()
        try:
            self._zone: tzinfo = ZoneInfo(zone) if zone else UTC
        except (ZoneInfoNotFoundError, ValueError, IsADirectoryError):  # a continent is a folder
            raise ValueError(f"no such time zone: {zone!r}") from None
        self._end = timedelta(hours=int(hour), minutes=int(minute))

    def end_after(self, ts: int) -> int:
        """The first session end at or after `ts`, ns UTC."""
        local = datetime.fromtimestamp(ts // NS_PER_S, self._zone)
        for days in (-1, 0, 1, 2):  # a day may have 23 or 25 hours
            midnight = datetime(local.year, local.month, local.day) + timedelta(days=days)
            end = int((midnight + self._end).replace(tzinfo=self._zone).timestamp()) * NS_PER_S
            if end >= ts:
                return end
        raise AssertionError("every day has an end")


def utc_midnight_after(ts: int) -> int:
    """The first 00:00 UTC after `ts`, ns."""
    return (ts // DAY_NS + 1) * DAY_NS
