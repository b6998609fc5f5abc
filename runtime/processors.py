"""Which processor a part stays on, where `run.pin` says that it stays.

Left alone, a kernel moves the parts about: whoever is woken may find its processor taken by somebody who has
work left, and its caches cold. Who hands every tick to the next, the OrderBook and the Strategy, share a
processor: one is done when the other begins, and the hand-over is a switch instead of an interrupt to a
processor that sleeps. The OrderManager's work behind an order, ten times that of a tick, is kept away from
them. At full throughput those two are busy at the same time, and would halve each other: not for that.
"""

import contextlib
import os
from collections.abc import Sequence
from typing import Final

FIRST: Final = 0  # places among the processors there are …
SECOND: Final = 1
LAST: Final = -1  # … of which there may be two
_PLACES: Final = {"gateway": FIRST, "orderbook": SECOND, "strategy": SECOND, "order_manager": LAST}
_PLACES_OF_TWO: Final = _PLACES | {"order_manager": FIRST}


def processor_of(part: str, available: Sequence[int], strategies: int) -> int | None:
    """The one of the processors `available` that a part stays on; None: it may run on any.

    Only the four of the stream have a place, and none has where there is one processor, nor the Strategy's
    workers when there are several: they work at the same time.
    """
    if len(available) < 2 or (part == "strategy" and strategies > 1):
        return None
    places = _PLACES if len(available) > 2 else _PLACES_OF_TWO
    place = places.get(part)
    return None if place is None else available[place]


def stay(part: str, strategies: int) -> int | None:
    """Keep this process, and what it starts, on its processor: that one's number, None if it stays on none."""
    if not hasattr(os, "sched_setaffinity"):
        return None
    processor = processor_of(part, sorted(os.sched_getaffinity(0)), strategies)
    if processor is not None:
        with contextlib.suppress(PermissionError):  # a container may forbid it
            os.sched_setaffinity(0, {processor})
            return processor
    return None
