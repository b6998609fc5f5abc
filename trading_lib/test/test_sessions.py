"""When a day order's day ends."""

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trading_lib.models import NS_PER_S
from trading_lib.sessions import DAY_NS, SessionHours, utc_midnight_after

NEW_YORK = "09:30-16:00 America/New_York"


def ns(text: str) -> int:
    """Of an instant in UTC, or with an offset."""
    instant = datetime.fromisoformat(text)
    instant = instant if instant.tzinfo else instant.replace(tzinfo=UTC)
    return int(instant.timestamp()) * NS_PER_S


@pytest.mark.parametrize(
    ("hours", "ts", "end"),
    [
        ("09:30-16:00", "2025-01-02T10:00", "2025-01-02T16:00"),
        ("09:30-16:00 UTC", "2025-01-02T16:00", "2025-01-02T16:00"),  # exactly at the end
        ("09:30-16:00", "2025-01-02T16:00:01", "2025-01-03T16:00"),
        (NEW_YORK, "2025-01-02T20:59", "2025-01-02T21:00"),
        (NEW_YORK, "2025-01-02T23:59", "2025-01-03T21:00"),
        (NEW_YORK, "2025-03-07T22:00", "2025-03-08T21:00"),
        (NEW_YORK, "2025-03-08T22:00", "2025-03-09T20:00"),  # clocks went forward
        (NEW_YORK, "2025-11-01T21:00", "2025-11-02T21:00"),  # and back
        ("08:45-13:45 Asia/Taipei", "2025-01-02T05:00", "2025-01-02T05:45"),
        ("08:45-13:45 Asia/Taipei", "2025-01-02T23:00", "2025-01-03T05:45"),
        ("15:00-05:00 Asia/Taipei", "2025-01-02T08:00", "2025-01-02T21:00"),  # over midnight
        ("22:00-02:30 America/New_York", "2025-03-09T05:00", "2025-03-09T07:30"),  # 02:30 did not exist
        ("22:00-01:30 America/New_York", "2025-11-02T05:00", "2025-11-02T05:30"),  # the first of two
        ("22:00-01:30 America/New_York", "2025-11-02T05:31", "2025-11-03T06:30"),
        ("00:00-00:00", "2025-01-02T00:00:01", "2025-01-03T00:00"),
    ],
)
def test_the_end_is_the_first_at_or_after(hours: str, ts: str, end: str) -> None:
    assert SessionHours(hours).end_after(ns(ts)) == ns(end)


def test_a_nanosecond_past_the_end_is_the_next_days() -> None:
    hours, end = SessionHours(NEW_YORK), ns("2025-01-02T21:00")
    assert hours.end_after(end) == end
    assert hours.end_after(end + 1) == end + DAY_NS
    assert hours.end_after(end - 1) == end


@given(
    st.integers(ns("1990-01-01"), ns("2060-01-01")),
    st.integers(0, 23),
    st.integers(0, 59),
    st.sampled_from(["UTC", "America/New_York", "Asia/Taipei", "Australia/Lord_Howe", "Europe/London"]),
)
def test_an_end_is_within_a_long_day_and_shows_its_hour_on_the_wall(
    ts: int, hour: int, minute: int, zone: str
) -> None:
    end = SessionHours(f"00:00-{hour:02}:{minute:02} {zone}").end_after(ts)
    assert ts <= end <= ts + 25 * 3600 * NS_PER_S
    local = datetime.fromtimestamp(end // NS_PER_S, ZoneInfo(zone))
    skipped = (local - timedelta(hours=1)).utcoffset() != local.utcoffset()
    assert (local.hour, local.minute) == (hour, minute) or skipped


@given(st.integers(0, ns("2060-01-01")))
def test_without_hours_a_day_ends_at_the_next_midnight_never_now(ts: int) -> None:
    end = utc_midnight_after(ts)
    assert end % DAY_NS == 0 and 0 < end - ts <= DAY_NS


@pytest.mark.parametrize(
    "text",
    [
        *("", "09:30", "09:30-", "09:30-16", "09:30-1x:00", "09:30-25:00", "09:30-16:60", "9-16:00 UTC"),
        *("09:30--1:00", "09:30-16:00  UTC", "09:30-16:00 ", "09:30-16:00 UTC\n"),
        *("09:30-16:00 Nowhere", "09:30-16:00 America", "09:30-16:00 ../UTC"),
    ],
)
def test_what_is_no_session_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"session|time zone"):
        SessionHours(text)
