"""Whether the Recorder keeps up at 100,000 ticks/s, and whether it delays orders.

Two systems in turns, one with a Recorder that writes everything (ticks in events.jsonl, too), one without.
"""

import os
import statistics
import time
from collections.abc import Callable
from typing import Final

import msgspec

from benchmarks.pipeline import PERCENTS, problems, stages_between
from benchmarks.system import Failed, System, random_walk
from runtime.supervisor import SCRIPTS

RATE: Final = 100_000
PARTS: Final = {False: tuple(SCRIPTS), True: (*SCRIPTS, "recorder")}


class Round(msgspec.Struct, frozen=True):
    """tick→order µs without and with the Recorder; what it had recorded at the end, and missed."""

    without: dict[str, float | None]
    with_it: dict[str, float | None]
    recorded: int
    missed: int

    @property
    def ratio(self) -> float:
        """p99 with over p99 without."""
        with_it, without = self.with_it["p99"], self.without["p99"]
        if not with_it or not without:
            raise Failed("no orders in one half of a round")
        return with_it / without


def rounds(count: int, seconds: float, warm_s: float, say: Callable[[str], None]) -> list[Round]:
    """Interleaved: without first and with first in turns."""
    found = []
    for number in range(count):
        halves = {
            recorder: _half(recorder, seconds, warm_s) for recorder in (number % 2 == 1, number % 2 == 0)
        }
        one = Round(halves[False][0], *halves[True])
        say(
            f"recorder, round {number + 1}: p99 {one.without['p99']} µs without, {one.with_it['p99']} µs with, "
            f"{one.recorded:,} records, {one.missed:,} missed"
        )
        found.append(one)
    return found


def ratio(found: list[Round]) -> float:
    """The median over the rounds."""
    return statistics.median(one.ratio for one in found)


def _half(recorder: bool, seconds: float, warm_s: float) -> tuple[dict[str, float | None], int, int]:
    settings = random_walk(RATE, RATE // 1000)
    settings["Recorder"] = {"enabled": recorder}
    os.sync()  # what the other half has left to write is not this one's
    with System(settings, parts=PARTS[recorder]) as system:
        system.start()
        before = system.next_status("order_manager", time.monotonic() + warm_s)
        system.sleep(seconds - 0.3)  # the next status, one a second, closes the window
        after = system.next_status("order_manager")
        final = system.stop()
    if trouble := problems({name: status for name, status in final.items() if name != "recorder"}):
        raise Failed(f"with{'' if recorder else 'out'} a recorder: {trouble}")
    status = final.get("recorder", {})
    summary = stages_between(before, after)["tick→order"].summary_us(PERCENTS)
    return summary, int(status.get("records", 0)), int(status.get("missed", 0))
