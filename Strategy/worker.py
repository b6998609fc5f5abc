"""A worker: one strategy on one tape, in a process that has given up every right it does not need.

It is forked from the zygote, attaches to the market, locks itself in, and only then imports the strategy.
Its trusted parent brings connected sockets and says when to go; whatever it says itself may be forged.
"""

import contextlib
import faulthandler
import logging
import os
import select
import signal
import socket
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType
from typing import Final, NoReturn

import msgspec

from config import Config, StrategyEntry
from runtime.lanes import make_lane
from runtime.part import die_with_parent
from runtime.scheduling import precise_timers, short_turns
from shared_memory_utils import BellPage, SharedPriceBook, TapeReader
from Strategy import sandbox
from Strategy.channel import Channel, ChannelClosed
from Strategy.complaints import Complaints
from Strategy.host import ROUND_S, Host
from Strategy.messages import (
    Declared,
    Failed,
    Fork,
    Join,
    Leave,
    Left,
    Lines,
    Loaded,
    Locked,
    Lost,
    Session,
    Started,
    ToWorker,
)
from Strategy.order_link import OrderLink
from Strategy.parameters import presentable
from Strategy.pulse import Pulse
from Strategy.trace import interval
from trading_lib.control import Action, parse_actions
from trading_lib.engine import Engine, declared_params
from trading_lib.lane import Lane
from trading_lib.lane_state import LaneState, restore
from trading_lib.strategy_file import StrategyError, load_strategy

STATUS_S: Final = 0.25
LINES_AT_ONCE: Final = 1000  # of the strategy's log in one message; the rest is counted, not shown
FAREWELL_S: Final = 0.1  # for the last orders when stopping
HANDOVER_S: Final = 1.0  # … and when another version takes over: it must not begin without them
CROWDED_REST_S: Final = 0.005  # between two batches, when there are more strategies than processors
DESCRIPTORS: Final = 64  # that a strategy may have open, its own included


class Worker:
    """Owns everything it is given. `run` returns when it is told to go, or its parent has gone."""

    def __init__(self, order: Fork, config: Config, channel: Channel, bell: BellPage, pulse: Pulse) -> None:
        self._order = order
        self._config = config
        entry = next(entry for entry in config.Strategy.entries if entry.id == order.entry)
        self._entry = msgspec.structs.replace(entry, params=order.params)
        self._channel = channel
        self._pulse = pulse
        self._tape = TapeReader(order.tape, bell)
        self._book = SharedPriceBook(name=order.tape)
        self._actions = _open_actions(order.actions)
        self._link = OrderLink(lambda level, line: self._say(level, [line]), self._lost)
        self._complaints = Complaints(lambda line: self._say(logging.WARNING, [line]))
        self._status_due = 0.0
        self._leave: Leave | None = None

    # ----------------------------------------------------------------------------------------- beginning

    def lock_in(self) -> None:
        """Give up every right that is not needed, and say what could not be."""
        section = self._config.Strategy
        if not section.sandbox:
            self._channel.send(Locked(False, ("Strategy.sandbox is off: user code may do anything",)))
            return
        limits = sandbox.Limits(
            readable=(str(Path(self._order.path).parent),), memory_mb=section.memory_mb, files=DESCRIPTORS
        )
        report = sandbox.lock_down(limits, self._descriptors())
        if report.notify_fd is None:
            self._channel.send(Locked(False, report.missing))
        else:
            self._channel.send(Locked(True, report.missing), [report.notify_fd])
            os.close(report.notify_fd)

    def _descriptors(self) -> Sequence[int]:
        """What must stay open."""
        own = [self._channel.fileno(), *self._tape.descriptors, self._book.segment.fd]
        return [0, 1, 2, *own, *([self._actions] if self._actions is not None else [])]

    def run(self) -> None:
        """Load the strategy, wait for its lane, follow the tape."""
        try:
            self._pulse.begin(1)
            module = load_strategy(Path(self._order.path), self._order.source)
            self._channel.send(Declared(presentable(declared_params(module))))
            _try_init(module, self._entry, self._make_lane())
            self._pulse.end()
        except StrategyError as fault:
            self._channel.send(Failed(str(fault)))
            self._linger()
            return
        self._channel.send(Loaded())
        join, connection = self._wait_for_lane()
        if join is None:
            return
        lane = self._make_lane()
        restore(lane, msgspec.json.decode(join.lane, type=LaneState))
        try:
            self._pulse.begin(1)
            engine = Engine(
                self._entry.id,
                module,
                self._entry.params,
                self._book.symbol,
                self._complaints.add,
                wanted=self._entry.symbols,
                lane=lane,
                wall=time.time_ns,
            )
            self._pulse.end()
            self._follow(join, connection, lane, engine)
        except StrategyError as fault:
            self._channel.send(Failed(str(fault)))
            self._linger()

    def _make_lane(self) -> Lane:
        return make_lane(self._entry.id, self._config, self._tape.run_id, read=self._read_actions)

    def _read_actions(self) -> dict[int, Action]:
        """The operator's actions so far: from a descriptor, for no file can be opened any more."""
        if self._actions is None:
            return {}
        return parse_actions(os.pread(self._actions, os.fstat(self._actions).st_size, 0))

    def _wait_for_lane(self) -> tuple[Join, socket.socket] | tuple[None, None]:
        while self._leave is None:
            select.select([self._channel], [], [])
            for message, descriptors in self._channel.receive():
                if isinstance(message, Join):
                    return message, socket.socket(fileno=descriptors[0])
                self._obey(message, descriptors)
        return None, None

    # ------------------------------------------------------------------------------------------ following

    def _follow(self, join: Join, connection: socket.socket | None, lane: Lane, engine: Engine) -> None:
        assert connection is not None
        section = self._config.Strategy
        self._tape.cursor = join.next_seq
        host = Host(
            self._tape,
            engine,
            self._link,
            self._pulse,
            budget=section.budget_ms / 1000,
            rest=_rest(self._config),
            early=_early(self._config),
            trace_every=interval(len(section.entries)),
        )
        self._link.join(connection, join.rest, lane.executions, join.next_seq)
        self._channel.send(Started(join.next_seq))
        while self._leave is None and not host.finished:
            host.follow(time.monotonic() + ROUND_S)
            self._look_round(host)
        self._go(host)

    def _look_round(self, host: Host) -> None:
        """What need not be looked at for every record: order link, parent, log, status."""
        self._link.tend()
        for message, descriptors in self._channel.receive():
            self._obey(message, descriptors)
        self._complaints.tend(host.engine.errors)
        if host.engine.lines:
            self._say_lines(host.engine.take_lines())
        if time.monotonic() >= self._status_due:
            self._status_due = time.monotonic() + STATUS_S
            if not self._channel.unsent:  # the parent has taken the last one: it gets the newest, not all
                self._say_status(host)
        self._channel.flush()
        if self._link.diverged and self._leave is None:
            time.sleep(ROUND_S)  # it follows nothing any more, and waits to be told to go

    def _go(self, host: Host) -> None:
        """Let the strategy end, and the ledger have all of it."""
        if self._leave is not None and self._leave.drain:
            host.drain()
        host.leave()
        handover = self._leave is not None and not self._leave.drain
        self._link.drain(HANDOVER_S if handover else FAREWELL_S)
        self._link.close(farewell=not handover)
        self._complaints.flush(host.engine.errors)
        self._say_lines(host.engine.take_lines())
        self._say_status(host)
        self._channel.send(Left(self._tape.cursor, self._link.kept))
        self._linger()

    def _linger(self) -> None:
        """Until the parent has heard everything; it hangs up then."""
        deadline = time.monotonic() + 1.0
        with contextlib.suppress(ChannelClosed):
            while time.monotonic() < deadline:
                self._channel.flush()
                self._channel.receive()
                select.select([self._channel], [], [], 0.01)

    # ----------------------------------------------------------------------------------------- the parent

    def _obey(self, message: Join | Session | Leave, descriptors: Sequence[int]) -> None:
        match message:
            case Session(rest):
                self._link.again(socket.socket(fileno=descriptors[0]), rest)
            case Leave():
                self._leave = message
            case Join():
                raise ChannelClosed("a second lane")

    def _say_status(self, host: Host) -> None:
        self._channel.send(host.status())
        if (traced := host.trace.take()) is not None:
            self._channel.send(traced)

    def _lost(self, told: int, why: str) -> None:
        self._channel.send(Lost(told, why))

    def _say_lines(self, lines: list[str]) -> None:
        if len(lines) > LINES_AT_ONCE:
            lines = [*lines[:LINES_AT_ONCE], f"… {len(lines) - LINES_AT_ONCE} lines more, not shown"]
        if lines:
            self._say(0, lines)

    def _say(self, level: int, lines: list[str]) -> None:
        self._channel.send(Lines(level, lines))


def _try_init(module: ModuleType, entry: StrategyEntry, lane: Lane) -> None:
    """Whether `init` runs, on a lane of its own: while it does not, another version goes on."""
    Engine(entry.id, module, entry.params, str, list[str]().append, lane=lane)


def _open_actions(path: str) -> int | None:
    try:
        return os.open(path, os.O_RDONLY | os.O_CREAT, 0o600)
    except OSError:
        return None  # the run has no folder: nobody can act, either


def _rest(config: Config) -> float:
    """Seconds between two batches: with more strategies than processors each tick would wake too many."""
    section = config.Strategy
    if section.rest_ms is not None:
        return section.rest_ms / 1000
    return 0.0 if len(section.entries) <= (os.cpu_count() or 1) else CROWDED_REST_S


def _early(config: Config) -> int:
    """ns before an expected record; never where several strategies, or all the others, need this one's processor.

    Where `run.pin` puts it beside the OrderBook, that one takes the processor from it when it has something.
    """
    section = config.Strategy
    alone = len(section.entries) == 1 and (_processors() > 1 or config.run.pin)
    return round(section.wake_early_us * 1000) if alone else 0


def _processors() -> int:
    """On so many this process may run."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def run_worker(order: Fork, descriptors: Sequence[int]) -> NoReturn:
    """In the forked process: be a worker, and end."""
    channel_fd, output_fd, bell_fd, pulse_fd = descriptors
    die_with_parent()
    precise_timers()
    short_turns("worker")
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)  # of a terminal, to all: the parent says when to go
    devnull = os.open(os.devnull, os.O_RDWR)
    for fd, target in ((devnull, 0), (output_fd, 1), (output_fd, 2)):
        os.dup2(fd, target)
    sys.stdout.reconfigure(line_buffering=True)  # type: ignore[union-attr]
    faulthandler.register(signal.SIGUSR1, file=2, all_threads=False)
    channel = Channel(socket.socket(fileno=channel_fd), ToWorker, descriptors=True)
    bell, pulse = BellPage(bell_fd, order.bell), Pulse(pulse_fd)
    for fd in (devnull, output_fd, bell_fd, pulse_fd):
        os.close(fd)
    code = 1
    try:
        config = msgspec.json.decode(order.config, type=Config)
        worker = Worker(order, config, channel, bell, pulse)
        worker.lock_in()
        worker.run()
        code = 0
    except ChannelClosed:
        code = 0  # the parent has gone, or wants no more of this worker
    finally:
        sys.stdout.flush()
        os._exit(code)
