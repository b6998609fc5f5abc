"""Killed again and again at random instants under load: what is lost is counted exactly, and nothing is left."""

import random
import signal
from pathlib import Path

import numpy as np
import pytest

from shared_memory_utils import RECORD_DTYPE, TapeReader, unlink_all
from testing.harness import (
    PATIENCE_S,
    Process,
    running,
    segments,
    system_config,
    wait_for_part,
    wait_until,
    write_config,
)
from trading_lib.models import Kind

RATE = 20_000
FEED_KINDS = (Kind.TICK, Kind.NEWS, Kind.EPOCH, Kind.END)  # what takes a feed number; GAP marks are ours


class Follower:
    """Reads a tape to its end, across its writer's deaths."""

    def __init__(self, name: str) -> None:
        self.reader = TapeReader(name)
        self._taken = bytearray()

    def read(self) -> int:
        """Take what is new; how many records there are now."""
        while packed := self.reader.take():
            self._taken += packed
        return len(self._taken) // RECORD_DTYPE.itemsize

    @property
    def records(self) -> np.ndarray:
        """A copy of all that was taken."""
        return np.frombuffer(bytes(self._taken), RECORD_DTYPE)

    @property
    def last_kind(self) -> int:
        """Of the last record."""
        return int(np.frombuffer(bytes(self._taken[-RECORD_DTYPE.itemsize :]), RECORD_DTYPE)["kind"][0])


@pytest.mark.parametrize("kills", [3, pytest.param(60, marks=pytest.mark.chaos)])
def test_records_and_gaps_of_a_killed_order_book_add_up_to_what_was_sent(tmp_path: Path, kills: int) -> None:
    tree = system_config(
        tmp_path,
        Gateway={"provider": "random_walk", "pace": {"ticks_per_s": RATE}, "news": {"every_ticks": 50}},
        OrderBook={"tape_capacity": 1 << 22},
    )
    config = write_config(tmp_path, tree)
    name: str = tree["OrderBook"]["shared_memory_name"]
    arguments = ["OrderBook/run.py", str(config)]
    chance = random.Random(kills)
    try:
        with running(arguments, tmp_path) as book:
            book.wait_for("ready")
            follower = Follower(name)
            with running(["Gateway/run.py", str(config)], tmp_path) as gateway:
                wait_until(lambda: follower.read() > RATE // 4, "the first records")
                for _ in range(kills):
                    book.kill()
                    book.popen = Process(arguments, tmp_path).popen  # in the same terminal
                    goal = follower.read() + chance.randrange(1, RATE // 2)
                    wait_until(lambda goal=goal: follower.read() > goal, "records after a kill")  # type: ignore[misc]
                assert gateway.stop() == 0
                wait_until(lambda: follower.read() and follower.last_kind == Kind.END, "END")
                assert book.stop() == 0
            assert segments(name) == []
    finally:
        unlink_all(name)
    records = follower.records
    assert follower.reader.missed == 0
    assert records["seq"].tolist() == list(range(len(records))), "the tape's numbers go on across every death"
    gaps = records["value"][records["kind"] == Kind.GAP]
    assert len(gaps) == kills and (gaps >= 0).all()
    sent = gateway_total(tmp_path / "logs" / "gateway.log")
    assert int(np.isin(records["kind"], FEED_KINDS).sum()) + int(gaps.sum()) == sent
    print(
        f"{kills} kills: {len(records):,} records and {int(gaps.sum()):,} counted as missed, of {sent:,} sent"
    )
    follower.reader.close()


def gateway_total(log: Path) -> int:
    """The frames a Gateway says it numbered, from its last log line."""
    line = [line for line in log.read_text().splitlines() if "feed numbers" in line][-1]
    return int(line.split("feed numbers: ")[1])


@pytest.mark.chaos
def test_every_part_killed_five_times_at_random_comes_back_every_time(tmp_path: Path) -> None:
    tree = system_config(tmp_path, Gateway={"provider": "random_walk", "pace": {"ticks_per_s": 5000}})
    config = write_config(tmp_path, tree)
    chance = random.Random(5)
    log = tmp_path / "logs" / "order_manager.log"
    with running(["main.py", str(config)], tmp_path) as main:
        wait_until(lambda: log.exists() and "Received Order" in log.read_text(), "the first order")
        parts = [
            "Gateway",
            "OrderBook",
            "Strategy",
            "OrderManager",
        ] * 5  # a sixth time would be "keeps dying"
        chance.shuffle(parts)
        for part in parts:
            size = log.stat().st_size
            victim = wait_for_part(main, part)
            victim.kill()
            victim.wait(PATIENCE_S)
            wait_until(lambda size=size: log.stat().st_size > size, "an order after the kill")  # type: ignore[misc]
            assert main.alive, main.output
        assert main.stop(signal.SIGINT) == 0
    assert segments(tree["OrderBook"]["shared_memory_name"]) == []
