"""The wakers: they follow the tape while it moves, sleep when it rests, and leave nobody behind."""

import signal
from pathlib import Path

import psutil
import pytest

from shared_memory_utils import Entry, SharedPriceBook, TapeWriter
from testing.harness import running, system_config, wait_until, write_config
from trading_lib.models import Kind


def cpu_s(wakers: list[psutil.Process]) -> float:
    return sum(waker.cpu_times().user + waker.cpu_times().system for waker in wakers)


@pytest.mark.skipif(not hasattr(__import__("os"), "SCHED_IDLE"), reason="no idle class in this scheduler")
def test_wakers_are_busy_while_ticks_come_and_asleep_otherwise_and_gone_at_the_end(tmp_path: Path) -> None:
    tree = system_config(tmp_path)
    name = tree["OrderBook"]["shared_memory_name"]
    tape = TapeWriter.open(name, 4096)
    with (
        SharedPriceBook(["AAPL"], name=name, create=True, run_id=tape.run_id) as book,
        running(["runtime/keep_awake.py", str(write_config(tmp_path, tree))], tmp_path) as process,
    ):
        process.wait_for("ready")
        wakers = psutil.Process(process.pid).children()
        assert len(wakers) == len(psutil.Process(process.pid).cpu_affinity())

        def busy() -> bool:
            tape.append([Entry(1, 1.0, 0, 0, int(Kind.TICK))])
            tape.ring()
            return cpu_s(wakers) > 0.5

        wait_until(busy, "the wakers to use the processors while ticks come")

        def asleep() -> bool:
            before = cpu_s(wakers)
            process.popen.poll()
            waiting = all(waker.status() == psutil.STATUS_SLEEPING for waker in wakers)
            return waiting and cpu_s(wakers) == before

        wait_until(asleep, "the wakers to sleep when none come")
        assert process.stop(signal.SIGTERM) == 0
        wait_until(lambda: not any(waker.is_running() for waker in wakers), "the wakers to be gone")
        book.unlink()
    tape.close()


@pytest.mark.skipif(not hasattr(__import__("os"), "SCHED_IDLE"), reason="no idle class in this scheduler")
def test_a_waker_that_dies_is_said_counted_and_started_again(tmp_path: Path) -> None:
    config = write_config(tmp_path, system_config(tmp_path))
    with running(["runtime/keep_awake.py", str(config), "-vv"], tmp_path) as process:
        process.wait_for("ready")
        part = psutil.Process(process.pid)
        before = part.children()
        for victim in range(2):
            part.children()[0].kill()
            process.wait_for(f"{len(before)}, 'wakers_died': {victim + 1}")  # and there are as many as before
        assert process.output.count("has died (exit code -9)") == 2
        assert process.stop(signal.SIGTERM) == 0
