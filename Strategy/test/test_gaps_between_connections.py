"""A host that loses its ledger and a piece of the tape at once: afterwards both still say the same of every order.

Everything between the two is real: the link, the port, the ledger, its journal.
"""

import logging
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec
import pytest

from OrderManager.server import OrderManagerServer
from OrderManager.test.ledger_room import SYMBOLS, TOKEN, Room, Tape, limit, order, plain_lane, tape
from shared_memory_utils import RECORD, TapeReader
from Strategy.order_link import Request
from Strategy.test.line import Line
from testing.harness import free_port, wait_until
from trading_lib import order_wire
from trading_lib.lane_state import LaneState, restore, take_state

LOG = logging.getLogger("test.gaps")


class Ledger:
    """The ledger's side: it may lose its connections, and it may be killed."""

    def __init__(self, folder: Path, market: Tape, port: int) -> None:
        self.room = Room(folder, market)
        self._port = port
        self.server: OrderManagerServer | None = None

    def open_door(self) -> None:
        """Connections are taken."""
        self.server = OrderManagerServer("127.0.0.1", self._port, desk=self.room.ledger)

    def close_door(self) -> None:
        """Every connection is gone, and there is no port."""
        if self.server is not None:
            self.server.close()
        self.server = None

    def serve(self) -> None:
        """One round of an OrderManager."""
        if self.server is not None:
            self.server.run_once(0.001)
            self.room.ledger.settle()

    def restart(self) -> None:
        """Killed, and started again on the same journal."""
        self.room.kill()
        self.room.open()


class Host:
    """The strategy's side: a lane of its own, on the tape as the host sees it."""

    def __init__(self, market: Tape, link: Line) -> None:
        assert link.welcome is not None
        self.lane = plain_lane("sma")
        restore(self.lane, msgspec.json.decode(link.welcome.lane, type=LaneState))
        self.frames = b""
        self._link = link
        self._reader = TapeReader(market.name)
        self._reader.cursor = link.welcome.next_seq
        link.joined(self.lane.executions, link.welcome.next_seq)

    def follow(self, *requests: Request) -> None:
        """Process what there is on the tape, act, and tell."""
        self.lane.advance(RECORD.iter_unpack(self._reader.take(10_000)), SYMBOLS)
        for request in requests:
            self.lane.submit(request)
        self._link.send(requests, self.lane.next_seq)
        frames = b"".join(order_wire.encode_report(report) for report in self.lane.reports)
        self.lane.reports.clear()
        self.frames += frames
        self._link.expect(frames)

    def skip(self, next_seq: int) -> None:
        """The tape has lapped the host."""
        self._link.missed(self.lane.next_seq, next_seq)
        self.lane.missed(next_seq)
        self._reader.cursor = next_seq

    def close(self) -> None:
        """Let go of the tape."""
        self._reader.close()


@pytest.fixture
def market() -> Iterator[Tape]:
    with tape() as made:
        yield made


@pytest.fixture
def ledger(tmp_path: Path, market: Tape) -> Iterator[Ledger]:
    made = Ledger(tmp_path, market, free_port())
    made.open_door()
    yield made
    made.close_door()
    made.room.stop()


@pytest.fixture
def link(ledger: Ledger) -> Iterator[Line]:
    made = Line("127.0.0.1", ledger._port, "sma", LOG)
    yield made
    made.hang_up(0)


@pytest.fixture
def host(market: Tape, ledger: Ledger, link: Line) -> Iterator[Host]:
    market.put(*[10.0] * 5)
    link.begin(TOKEN, 5)
    until(ledger, link, lambda: link.welcome is not None)
    made = Host(market, link)
    yield made
    made.close()


def until(ledger: Ledger, link: Line, condition: Callable[[], bool]) -> None:
    """Let both work until it is so."""

    def look() -> bool:
        link.tend()
        ledger.serve()
        return condition()

    wait_until(look)


def agreed(ledger: Ledger, link: Line, host: Host) -> None:
    """Wait for the ledger to have come as far as the host; then they have done the same."""
    lane = ledger.room.lane
    until(ledger, link, lambda: link.diverged != "" or lane("sma").next_seq == host.lane.next_seq)
    until(ledger, link, lambda: link.diverged != "" or not (link.kept or link._expected))
    assert link.diverged == ""
    assert take_state(lane("sma")) == take_state(host.lane)


def nothing(_: Ledger) -> None:
    """The connection was lost, nothing else."""


@pytest.mark.parametrize("meanwhile", [nothing, Ledger.restart])
def test_a_gap_while_disconnected_is_a_gap_for_the_ledger_too(
    ledger: Ledger, link: Line, host: Host, market: Tape, meanwhile: Callable[[Ledger], None]
) -> None:
    host.follow(limit(4, 9.0, qty=1.0))  # works on through everything
    market.put(10.0, 10.0)
    host.follow(order(6, qty=1.0))  # travels when the connection is lost
    until(ledger, link, lambda: link.kept == 0)
    ledger.close_door()
    until(ledger, link, lambda: not link.connected)
    market.put(*[8.0] * 20)  # here both would be filled
    host.skip(20)
    market.put(12.0)
    host.follow(order(27, qty=1.0), limit(27, 11.0, 1, qty=1.0))
    meanwhile(ledger)
    ledger.open_door()
    until(ledger, link, lambda: link.connected)
    market.put(*[10.0] * 10)
    host.follow()
    agreed(ledger, link, host)
    assert b"no market record" in host.frames


def test_a_gap_that_was_told_is_told_again_to_a_ledger_that_was_killed(
    ledger: Ledger, link: Line, host: Host, market: Tape
) -> None:
    host.follow(order(4, qty=1.0))
    until(ledger, link, lambda: link.kept == 0)
    market.put(*[8.0] * 20)
    host.skip(20)
    until(ledger, link, lambda: ledger.room.lane("sma").next_seq == 20)
    ledger.close_door()
    ledger.restart()
    assert ledger.room.lane("sma").next_seq < 20  # nothing came of it yet that would be in the journal
    ledger.open_door()
    until(ledger, link, lambda: link.counters["connected"] == 2)
    market.put(*[10.0] * 10)
    host.follow()
    agreed(ledger, link, host)


def test_a_host_that_had_come_further_than_it_had_said_says_so_before_the_gap(
    ledger: Ledger, link: Line, host: Host, market: Tape
) -> None:
    host.follow(order(4, qty=1.0))
    market.put(*[8.0] * 5)
    host.lane.advance(RECORD.iter_unpack(host._reader.take(10_000)), SYMBOLS)  # filled, and not told yet
    market.put(*[7.0] * 10)
    host.skip(18)
    market.put(10.0)
    host.follow()
    agreed(ledger, link, host)
    assert b"Filled" in host.frames
