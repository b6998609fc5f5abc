"""Text to event time: int ns since 1970 UTC, exactly (no float on the way).

Accepted: `2025-01-02`, `2025-01-02 09:30[:00[.123456789]]` with `T` or a space, `/` for `-`, and `Z`, `UTC`
or `+02:00` behind it (UTC where nothing is said); `20250102`; seconds, ms, µs or ns since 1970 by their
magnitude (10^11, 10^14 and 10^17 divide them), with or without decimals.
"""

import calendar
import re
from collections.abc import Sequence
from typing import Final

import numpy as np
import numpy.typing as npt

Int64Array = npt.NDArray[np.int64]

BAD_TIME: Final = -1  # what cannot be read gives this
NEGATIVE_TIME: Final = -2  # what lies before 1970 gives this

_NS: Final = 1_000_000_000
_DAY_S: Final = 86_400
_MAX_NS: Final = 2**63 - 1
_END_S: Final = _MAX_NS // _NS  # 2262-04-11 23:47:16, where int64 ns end
_MAX_TEXT: Final = 40  # the longest accepted form is 35
_MAX_LAYOUTS: Final = 4  # a column that mixes more than these is read one by one
_MAGNITUDES: Final = ((10**11, 9), (10**14, 6), (10**17, 3), (_MAX_NS + 1, 0))  # below this: x 10^that is ns
_COMPACT_DATES: Final = (19_000_101, 21_991_231)  # as seconds these would be a few days of 1970

_EPOCH = re.compile(r"(-?)0*(\d{1,19})(?:\.(\d*))?", re.ASCII)
_ISO = re.compile(
    r"(?P<year>\d{4})[-/](?P<month>\d\d)[-/](?P<day>\d\d)"
    r"(?:[T ](?P<hour>\d\d):(?P<minute>\d\d)(?::(?P<second>\d\d)(?:\.(?P<fraction>\d{1,9})\d*)?)?"
    r" ?(?:[Zz]|UTC|(?P<sign>[+-])(?P<zone_hour>\d\d):?(?P<zone_minute>\d\d)?)?)?",
    re.ASCII,
)


def parse_timestamp(text: str) -> int:
    """One timestamp in ns, or BAD_TIME or NEGATIVE_TIME."""
    text = text.strip()
    if (epoch := _EPOCH.fullmatch(text)) is not None:
        return _epoch(*epoch.groups(default=""))
    if (iso := _ISO.fullmatch(text)) is None:
        return BAD_TIME
    part = {name: int(digits) for name, digits in iso.groupdict("0").items() if name != "sign"}
    return _instant(part, iso["fraction"] or "", iso["sign"] or "+")


def parse_timestamps(texts: Sequence[str]) -> Int64Array:
    """`parse_timestamp` of each text, int64[n]; columns of one or a few layouts are read as whole columns."""
    texts = [text.strip() for text in texts]
    joined = "".join(texts)
    if joined.isascii() and joined.isdecimal():
        try:
            return _epochs(np.array(list(map(int, texts)), np.int64))
        except (ValueError, OverflowError):  # an empty text, or one of more digits than an int64 has
            return np.array([parse_timestamp(text) for text in texts], np.int64)
    if not joined.isascii() or "\0" in joined:  # neither fits a column of padded bytes
        texts = [text if text.isascii() and "\0" not in text else "" for text in texts]
    column = np.array([text if len(text) <= _MAX_TEXT else "" for text in texts], f"S{_MAX_TEXT}")
    times = np.full(len(texts), BAD_TIME, np.int64)
    left = np.arange(len(texts))
    for _ in range(_MAX_LAYOUTS):
        if not left.size or (layout := _ISO.fullmatch(texts[left[0]])) is None:
            break
        same, found = _same_layout(column[left], layout)
        times[left[same]] = found
        left = left[~same]
    for i in left.tolist():
        times[i] = parse_timestamp(texts[i])
    return times


def _epoch(sign: str, whole: str, fraction: str) -> int:
    value = int(whole)
    if sign:
        return NEGATIVE_TIME if value or fraction.strip("0") else 0
    if not fraction and _COMPACT_DATES[0] <= value <= _COMPACT_DATES[1]:
        return parse_timestamp(f"{whole[-8:-4]}-{whole[-4:-2]}-{whole[-2:]}")
    for bound, digits in _MAGNITUDES:
        if value < bound:
            ns = int(whole + fraction[:digits].ljust(digits, "0"))
            return ns if ns <= _MAX_NS else BAD_TIME
    return BAD_TIME


def _epochs(values: Int64Array) -> Int64Array:
    """Integers of any magnitude, not negative, to ns."""
    times = np.full(values.shape, BAD_TIME, np.int64)
    low = 0
    for bound, digits in _MAGNITUDES:
        here = (values >= low) & (values <= min(bound - 1, _MAX_NS // 10**digits))
        times[here] = values[here] * 10**digits
        low = bound
    compact = (values >= _COMPACT_DATES[0]) & (values <= _COMPACT_DATES[1])
    if compact.any():
        dates, which = np.unique(values[compact], return_inverse=True)
        times[compact] = np.array([parse_timestamp(str(date)) for date in dates], np.int64)[which]
    return times


def _instant(part: dict[str, int], fraction: str, sign: str) -> int:
    year, month, day = part["year"], part["month"], part["day"]
    if not (1 <= month <= 12 and year >= 1 and 1 <= day <= calendar.monthrange(year, month)[1]):
        return BAD_TIME
    if part["hour"] > 23 or max(part["minute"], part["second"], part["zone_minute"]) > 59:
        return BAD_TIME
    if part["zone_hour"] > 23:
        return BAD_TIME
    clock = (part["hour"], part["minute"], part["second"])
    seconds = calendar.timegm((year, month, day, *clock))
    zone = part["zone_hour"] * 3600 + part["zone_minute"] * 60
    seconds += -zone if sign == "+" else zone
    if seconds < 0:
        return NEGATIVE_TIME
    return seconds * _NS + int(fraction.ljust(9, "0")) if seconds < _END_S else BAD_TIME


def _same_layout(
    column: npt.NDArray[np.bytes_], layout: re.Match[str]
) -> tuple[npt.NDArray[np.bool_], Int64Array]:
    """Which texts have digits and separators exactly where `layout` has them, and the times of those."""
    codes = column.view(np.uint8).reshape(column.shape[0], _MAX_TEXT)
    model = np.zeros(_MAX_TEXT, np.uint8)
    model[: layout.end()] = np.frombuffer(layout.string.encode(), np.uint8)
    is_digit = (model >= ord("0")) & (model <= ord("9"))
    digits = (codes >= ord("0")) & (codes <= ord("9"))
    same: npt.NDArray[np.bool_] = np.all(np.where(is_digit, digits, codes == model), axis=1)
    codes = codes[same]

    def number(name: str) -> Int64Array:
        value = np.zeros(codes.shape[0], np.int64)
        for i in range(*layout.span(name)):
            value = value * 10 + (codes[:, i] - ord("0"))
        return value

    year, month, day = number("year"), number("month"), number("day")
    months = (year - 1970) * 12 + month - 1
    days = months.astype("M8[M]").astype("M8[D]").astype(np.int64) + day - 1
    right_month = days.astype("M8[D]").astype("M8[M]").astype(np.int64) == months
    hour, minute, second = number("hour"), number("minute"), number("second")
    zone_hour, zone_minute = number("zone_hour"), number("zone_minute")
    zone = (zone_hour * 60 + zone_minute) * (-60 if layout["sign"] == "-" else 60)
    seconds = days * _DAY_S + hour * 3600 + minute * 60 + second - zone
    nanos = number("fraction") * 10 ** (9 - len(layout["fraction"] or ""))

    valid = right_month & (year >= 1) & (month >= 1) & (month <= 12) & (day >= 1) & (hour <= 23)
    valid &= (minute <= 59) & (second <= 59) & (zone_hour <= 23) & (zone_minute <= 59)
    valid &= seconds < _END_S
    times: Int64Array = np.where(seconds < 0, NEGATIVE_TIME, seconds * _NS + nanos)
    return same, np.where(valid, times, BAD_TIME)
