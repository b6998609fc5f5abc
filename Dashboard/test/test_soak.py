"""Half an hour under load (`make soak`): what the dashboard keeps does not grow, and who keeps up is not late.

`ALGOSIM_SOAK_S` makes it shorter.
"""

import json
import os
import subprocess
import sys
from collections.abc import Iterator

import psutil
import pytest

from benchmarks.dashboard import listeners, market
from benchmarks.system import System
from runtime.supervisor import SCRIPTS
from testing.harness import wait_until

SECONDS = float(os.environ.get("ALGOSIM_SOAK_S", "1800"))
RATE = 20_000
LOOK_S = 5.0
GROWTH_MB = 25  # allowed between the first third's median and the last third's


def rss_mb(pid: int) -> float:
    return float(psutil.Process(pid).memory_info().rss) / 1e6


@pytest.fixture
def system() -> Iterator[System]:
    settings = market(RATE)
    settings["Dashboard"]["history_s"] = 60  # the ring of prices is full in a minute
    with System(settings, parts=(*SCRIPTS, "dashboard")) as running:
        running.start()
        yield running


@pytest.mark.soak
@pytest.mark.timeout(SECONDS + 300)
def test_memory_is_flat_with_a_hundred_listeners_one_of_which_never_reads(system: System) -> None:
    url = f"ws://127.0.0.1:{system.config['Dashboard']['port']}/stream"
    pid = system.children["dashboard"].pid
    assert pid is not None
    with listeners(url, 100, SECONDS, "--stuck") as process:
        seen = []
        while process.poll() is None:
            system.sleep(LOOK_S)
            seen.append(rss_mb(pid))
        told = json.loads(process.communicate()[0])
    third = len(seen) // 3
    first, last = sorted(seen[third : 2 * third])[third // 2], sorted(seen[-third:])[third // 2]
    assert last - first < GROWTH_MB, seen
    assert told["messages"] > SECONDS * 99, "every listener is served"


def test_listeners_of_the_benchmark_say_what_they_saw(system: System) -> None:
    url = f"ws://127.0.0.1:{system.config['Dashboard']['port']}/stream"
    command = [sys.executable, "-m", "benchmarks.listeners", url, "3", "2"]

    def each_got_every_price() -> bool:
        done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60)
        told = json.loads(done.stdout)
        return bool(told["messages"] > 3 * 10 and told["bytes"] > 3 * 1000 * 20)

    wait_until(each_got_every_price, "two seconds in which this machine has time for listeners", 60)
