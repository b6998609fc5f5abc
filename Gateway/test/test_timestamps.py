"""Text to event time: one by one and column-wise give the same ns."""

from datetime import UTC, datetime, timedelta, timezone

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from Gateway.providers.timestamps import BAD_TIME, NEGATIVE_TIME, parse_timestamp, parse_timestamps

NS = 1_000_000_000
NEW_YEAR = 1_735_689_600  # 2025-01-01 00:00:00 UTC


@pytest.mark.parametrize(
    ("text", "ns"),
    [
        ("2025-01-01", NEW_YEAR * NS),
        ("2025/01/01", NEW_YEAR * NS),
        ("20250101", NEW_YEAR * NS),
        (" 2025-01-01 00:00:00 ", NEW_YEAR * NS),
        ("2025-01-01T00:00", NEW_YEAR * NS),
        ("2025-01-01T00:00:00Z", NEW_YEAR * NS),
        ("2025-01-01 00:00:00 UTC", NEW_YEAR * NS),
        ("2025-01-01T01:30:00+01:30", NEW_YEAR * NS),
        ("2024-12-31T19:00:00-0500", NEW_YEAR * NS),
        ("2024-12-31 19:00:00-05", NEW_YEAR * NS),
        ("2025-01-01 00:00:00.123456789", NEW_YEAR * NS + 123_456_789),
        ("2025-01-01 00:00:00.5", NEW_YEAR * NS + 500_000_000),
        ("2025-01-01 00:00:00.1234567899", NEW_YEAR * NS + 123_456_789),
        (str(NEW_YEAR), NEW_YEAR * NS),
        (f"{NEW_YEAR}000", NEW_YEAR * NS),
        (f"{NEW_YEAR}000000", NEW_YEAR * NS),
        (f"{NEW_YEAR}000000000", NEW_YEAR * NS),
        (f"{NEW_YEAR}.000000001", NEW_YEAR * NS + 1),
        (f"{NEW_YEAR}000.25", NEW_YEAR * NS + 250_000),
        ("0", 0),
        ("0000000000000000000000007", 7 * NS),
        ("7", 7 * NS),
        ("2024-02-29", 1_709_164_800 * NS),
        ("-5", NEGATIVE_TIME),
        ("1969-12-31 23:59:59.9", NEGATIVE_TIME),
        ("1970-01-01T00:00:00+00:01", NEGATIVE_TIME),
        ("2025-02-29", BAD_TIME),
        ("2025-13-01", BAD_TIME),
        ("2025-00-10", BAD_TIME),
        ("2025-01-01 24:00:00", BAD_TIME),
        ("2025-01-01 00:00:60", BAD_TIME),
        ("01/02/2025", BAD_TIME),
        ("2263-01-01", BAD_TIME),
        ("9223372036854775808", BAD_TIME),
        ("20251399", BAD_TIME),
        ("٢٠٢٥-01-01", BAD_TIME),
        ("2025-01-01\0", BAD_TIME),
        ("now", BAD_TIME),
        ("nan", BAD_TIME),
        ("", BAD_TIME),
    ],
)
def test_a_timestamp_is_read_exactly_or_refused(text: str, ns: int) -> None:
    assert parse_timestamp(text) == ns
    assert parse_timestamps([text, text]).tolist() == [ns, ns]


moments = st.datetimes(datetime(1970, 1, 3), datetime(2261, 1, 1))
zones = st.integers(-23 * 60, 23 * 60).map(lambda minutes: timezone(timedelta(minutes=minutes)))


@given(st.lists(st.tuples(moments, zones), min_size=1, max_size=20), st.sampled_from(" T"))
@settings(deadline=None, max_examples=60)
def test_columns_of_iso_times_are_what_datetime_says(
    times: list[tuple[datetime, timezone]], sep: str
) -> None:
    aware = [moment.replace(tzinfo=zone) for moment, zone in times]
    epoch = datetime(1970, 1, 1, tzinfo=UTC)
    exact = [(moment - epoch) // timedelta(microseconds=1) * 1000 for moment in aware]
    assert parse_timestamps([moment.isoformat(sep) for moment in aware]).tolist() == exact


DATES = ["2025-01-01", "2024-02-30", "20250230", "0000-00-00", "9999-12-31"]
CLOCKS = ["T", " ", "09:30:00", "23:59", ".5", ".123456789", "Z", "+01:00", "-07"]
NUMBERS = ["1735689600", "000", "-", "99999999999", "1", "13", "x", "", "\0", "é"]
pieces = st.sampled_from([*DATES, *CLOCKS, *NUMBERS])
texts = st.lists(pieces, max_size=4).map("".join) | st.text("0123456789-:. TZ+", max_size=45)


@given(st.lists(texts, max_size=12))
@settings(deadline=None, max_examples=200)
def test_a_column_is_read_as_its_texts_one_by_one(column: list[str]) -> None:
    assert parse_timestamps(column).tolist() == [parse_timestamp(text) for text in column]


def test_a_column_of_integers_is_read_by_each_ones_magnitude() -> None:
    column = [str(NEW_YEAR), f"{NEW_YEAR}001", f"{NEW_YEAR}000001", f"{NEW_YEAR}000000001", "20250101"]
    assert (parse_timestamps(column) - NEW_YEAR * NS).tolist() == [0, 1_000_000, 1_000, 1, 0]


def test_no_texts_are_no_times() -> None:
    assert parse_timestamps([]).dtype == np.int64
    assert parse_timestamps([]).size == 0
