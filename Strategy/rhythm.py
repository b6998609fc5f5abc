"""When the next record is likely: a paced source's bursts are due at even distances, and the tape says when.

Who is woken on a processor that sleeps comes some 30 µs late. A reader that knows when the next burst is due
wakes up itself shortly before, and looks at the tape until it is there: as the Gateway does with its clock.
Where nothing is even it learns nothing, and sleeps like any other reader.
"""

from typing import Final

SURE: Final = 8  # so many even distances in a row, and the next is expected
SUREST: Final = 16
MISS: Final = 4  # an uneven one takes back so many
SLACK_NS: Final = 50_000  # a distance within so much of what was learned is even
SHORTEST_NS: Final = 500_000  # below it, waking early would be most of the time
LATE_NS: Final = 70_000  # a burst that is so long overdue is not looked for any longer …
IN_VAIN: Final = 2  # … and after so many of them in a row …
PENANCE: Final = 64  # … none is, until so many more have come evenly


class Rhythm:
    """Learns from when records were due (wall ns). `early`: ns to be awake before the next; 0: never."""

    def __init__(self, early: int) -> None:
        self._early = early
        self._last = 0  # due
        self._distance = 0
        self._even = 0
        self._in_vain = 0

    def heard(self, due: int) -> None:
        """The last record of a batch was due then."""
        distance = due - self._last
        if not distance:
            return
        self._last = due
        off = distance - self._distance
        if -SLACK_NS < off < SLACK_NS:
            self._distance += off >> 3
            self._even = min(self._even + 1, SUREST)
        else:
            self._in_vain = 0  # nothing was due then: nobody stood in its way
            self._even -= MISS
            if self._even <= 0:
                self._even, self._distance = 0, distance

    def watch(self, now: int) -> tuple[int, int] | None:
        """From when until when the tape should be looked at, ns from now; None if nothing is expected."""
        if self._even < SURE or not self._early or self._distance < SHORTEST_NS:
            return None
        left = self._last + self._distance - now
        return (left - self._early, left + LATE_NS) if left > -LATE_NS else None

    def looked(self, *, found: bool) -> None:
        """The tape was looked at, as `watch` said. Who looks may stand in the way of the one it waits for."""
        self._in_vain = 0 if found else self._in_vain + 1
        if self._in_vain == IN_VAIN:
            self._in_vain, self._even = 0, SURE - PENANCE
