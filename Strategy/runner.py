"""Keeps one strategy running on one tape: its worker, its session, its next version, its watchdog.

    runner.step()       # a round: everything that is due

A worker that dies is started again at the head of the tape; one whose strategy does not come back from a
record is killed. A new version runs in a fresh worker and takes over at a tape boundary, once it has loaded
and its `init` has run: until then, and if it does not, the old one goes on. So do other parameters, which
make a version, too.
"""

import logging
import time
from collections.abc import Callable
from enum import Enum
from pathlib import Path
from typing import Any, Final

import msgspec

from config import ROOT, Config, StrategyEntry, resolve
from logger import log_lines
from runtime.lanes import actions_path
from runtime.loop import Backoff
from runtime.run_folder import run_folder
from runtime.versions import FOLDER, Version
from shared_memory_utils import Doorbell, TapeReader, tape_name
from Strategy.bounds import ROOM, bounded, bounded_message
from Strategy.channel import CLOSED
from Strategy.counts import added
from Strategy.deaths import Deaths
from Strategy.dialer import Call, Dialer
from Strategy.messages import (
    Declared,
    Failed,
    Fork,
    Join,
    Leave,
    Left,
    Lines,
    Loaded,
    Lost,
    Message,
    Session,
    Started,
    Status,
    Traced,
)
from Strategy.nursery import Nursery
from Strategy.parameters import Parameters, presentable
from Strategy.printed import Printed
from Strategy.trace import Trace
from Strategy.watchdog import Watchdog
from Strategy.worker_handle import WorkerHandle
from trading_lib.order_wire import Welcome

BOOKED: Final = 4  # in a tape record: the wall clock, ns, when it was booked
REFUSED: Final = "sessions refused"  # by the ledger
LOAD_S: Final = 20.0  # to import and init, at most


class State(Enum):
    """What a strategy is doing, for a person."""

    WAITING = "waiting"  # for a market
    LOADING = "loading"
    JOINING = "joining"  # its ledger is asked
    RUNNING = "running"
    BROKEN = "broken"  # its file cannot be run, until it is saved again
    STOPPED = "stopped"  # for good, or until it is saved again
    LEFT = "left"


class Runner:
    """One configured strategy. Owns its workers, its dialer and its doorbell.

    `ready(text)` is called when it has joined for the first time on a tape.
    """

    def __init__(
        self,
        entry: StrategyEntry,
        config: Config,
        config_json: bytes,
        nursery: Nursery,
        log: logging.Logger,
        ready: Callable[[str], None],
    ) -> None:
        section = config.Strategy
        self.entry = entry
        self.path = resolve(entry.path)
        self.state = State.WAITING
        self.error = ""  # why it does not run, or why its newest version does not
        self.version = ""
        self.parameters = Parameters(entry.params, log)
        self.reloads = self.restarts = 0
        self._config = config
        self._config_json = config_json
        self._nursery = nursery
        self._log = log
        self._ready = ready
        self._dialer = Dialer(section.order_manager_host, section.order_manager_port, entry.id, log)
        self._bell: Doorbell | None = None
        self._run_id = self._token = ""
        self._tape: TapeReader | None = None  # the parent's
        self._begin_at = 0
        self._declared: dict[str, Any] = {}  # the parameters that its file knows
        self._worker: WorkerHandle | None = None
        self._next: WorkerHandle | None = None  # another version, getting ready
        self._next_version: Version | None = None
        self._running: Version | None = None
        self._loaded: set[int] = set()  # workers that wait for a lane
        self._first_join = True
        self._taking_over = False  # the old version has been told to leave …
        self._left_at: int | None = None  # … and has seen every record before this one …
        self._left_whole = True  # … and the ledger has all it asked for
        self._backoff = Backoff()
        self._deaths = Deaths()
        self.slow = ""  # where a slow strategy was seen
        self._before = Status()  # of workers that are gone
        self._printed = Printed(entry.id, log)
        self._trace = Trace(len(section.entries))
        self._watchdog = Watchdog(section.budget_ms / 1000)
        self._loading_watchdog = Watchdog(section.budget_ms / 1000)

    # ----------------------------------------------------------------------------------------- the market

    def begin(self, run_id: str, token: str, tape: TapeReader) -> None:
        """There is a market: run on it from the reader's cursor on. It stays open until `leave`."""
        self._run_id, self._token, self._tape = run_id, token, tape
        self._bell = Doorbell(tape_name(self._config.Strategy.shared_memory_name))
        self._begin_at, self._first_join = tape.cursor, True
        self.state, self.error = State.LOADING, ""
        self._deaths.forget()
        self.parameters.begin(self._folder / FOLDER / f"{self.entry.id}.params.json")
        self._load()

    @property
    def _folder(self) -> Path:
        return run_folder(self._config, self._run_id)

    @property
    def settled(self) -> bool:
        """Whether it runs, or will not without somebody's doing."""
        return self.state in (State.RUNNING, State.BROKEN, State.STOPPED)

    @property
    def gone(self) -> bool:
        """Whether no worker of it is left."""
        return self._worker is None

    def end(self) -> None:
        """Have it take what is on the tape now, and leave the market."""
        self._dialer.cancel()
        self._taking_over = False
        self._next_version = None
        self.parameters.forget()
        if self._next is not None:
            self._bury(self._next)
            self._next = None
        if self._worker is not None:
            self._worker.send(Leave(drain=True))
            self.ring()

    def leave(self) -> None:
        """Let go of the market, whatever still runs on it."""
        for worker in (self._worker, self._next):
            if worker is not None:
                self._bury(worker)
        self._worker = self._next = self._running = self._next_version = None
        self._taking_over, self._left_at = False, None
        self._loaded.clear()
        self._dialer.cancel()
        if self._bell is not None:
            self._bell.close()
            self._bell = None
        self._tape = None
        self.state = State.WAITING

    def close(self) -> None:
        """The end."""
        self.leave()
        self._dialer.close()

    def ring(self) -> None:
        """Wake its worker: there is something to hear."""
        if self._bell is not None:
            self._bell.ring()

    # ------------------------------------------------------------------------------------------- versions

    def changed(self) -> None:
        """Its file, or one beside it, was saved: run that version, if it is another one."""
        if self._bell is None:
            return
        wanted = self._running if self.parameters.trying else self._next_version or self._running
        try:
            version = Version(self.path, self.parameters.accepted)
        except OSError:
            return  # an editor is replacing it: there will be another change
        if wanted is not None and version.name == wanted.name and self.state is not State.STOPPED:
            return
        self._deaths.forget()
        self.parameters.postpone()  # not both at once: who breaks it is to be known
        self._start_version(version)

    def _change_parameters(self) -> None:
        """A change of its parameters takes its turn when nothing else is being changed."""
        changing = self._next is not None or self._next_version is not None or self._taking_over
        if changing or self.state is State.LEFT or not self.parameters.try_next():
            return
        try:
            wanted = self.parameters.wanted
            version = self._running.again_with(wanted) if self._running else Version(self.path, wanted)
        except OSError as fault:
            self._break(f"{self.path}: {fault.strerror}")
            return
        if self._worker is None:
            self.parameters.accept()  # nothing runs that they could harm
        self._deaths.forget()
        self._start_version(version)

    def _load(self) -> None:
        try:
            version = Version(self.path, self.parameters.accepted)
        except OSError as fault:
            self._break(f"{self.path}: {fault.strerror}")
            return
        self._start_version(version)

    def _start_version(self, version: Version) -> None:
        if self._next is not None:
            self._bury(self._next)
        self._next, self._next_version = None, version
        if self._worker is None:
            self._dialer.cancel()  # of the version before, which will not have it
            self.state = State.LOADING

    def _fork(self, version: Version) -> WorkerHandle:
        version.keep(self._folder)
        assert self._bell is not None
        bell = self._bell

        def order(number: int) -> Fork:
            return Fork(
                number,
                self._config_json,
                self.entry.id,
                str(self.path),
                version.source,
                self.entry.params if version.params is None else version.params,
                self._config.Strategy.shared_memory_name,
                bell.page,
                str(actions_path(self._config, self._run_id)),
            )

        return self._nursery.fork(order, bell.fd)

    def _load_in_a_worker(self, version: Version) -> None:
        try:
            self._next = self._fork(version)
        except OSError as fault:  # no room for its copy, or no descriptor left
            self._break(f"no worker for it: {fault}")

    def _break(self, error: str) -> None:
        """This version cannot be run; the old one, if there is one, goes on."""
        self._next_version = None
        if tried := self.parameters.trying:
            error = f"with {tried}: {error}"
            self.parameters.refuse()
            if self._worker is None:  # the old one has died meanwhile
                self._next_version = self._running
        self.error = error
        if self._worker is None and self._next_version is None:
            self.state = State.BROKEN
            self._log.error("%s cannot run: %s", self.entry.id, error)
        else:
            self._log.error("%s: the new version cannot run, the old one goes on: %s", self.entry.id, error)

    # --------------------------------------------------------------------------------------------- rounds

    def step(self) -> None:
        """Everything that is due."""
        if self._bell is None:
            return
        self._change_parameters()
        wanted = self._next_version if self._next is None and not self._backoff.wait else None
        if wanted is not None and self._nursery.ready:
            self._load_in_a_worker(wanted)
        for worker in (self._next, self._worker):
            if worker is not None:
                self._hear(worker)
        for worker in (self._next, self._worker):
            if worker is not None and worker.gone:
                worker.kill()  # whoever says nothing more, or what is no message
            if worker is not None and not worker.alive:
                self._died(worker)
        self._hand_over()
        self._connect()
        self._watch()

    def _hear(self, worker: WorkerHandle) -> None:
        self._log_output(worker)
        while worker.messages:
            message = worker.messages.popleft()
            self._take(worker, message)

    def _log_output(self, worker: WorkerHandle) -> None:
        printed, worker.printed = worker.printed, []
        self._printed.take(printed)

    def _take(self, worker: WorkerHandle, message: Message) -> None:
        match message:
            case Declared(params):
                self._learn(worker, params)
            case Loaded():
                if worker is self._next:
                    self._loaded.add(worker.number)
                    self.parameters.accept()
            case Failed(error):
                self._failed(worker, error)
            case Started(next_seq):
                if worker is self._worker and self.state is State.JOINING:
                    self._started(next_seq)
            case Lost(told, why):
                if worker is self._worker and not self._taking_over:
                    self._log.info("order link of %s lost: %s", self.entry.id, why)
                    self._dialer.call(Call(self._token, "again", told))
            case Traced():
                if worker is self._worker:
                    self._trace.add(message)
            case Left(next_seq, unheard):
                self._left(worker, next_seq, unheard)
            case Lines(level, lines):
                if level:
                    self._printed.warn(level, lines)
                else:
                    log_lines(self._log, lines)

    # ------------------------------------------------------------------------------------------- sessions

    def _hand_over(self) -> None:
        """A version that has loaded gets the lane, once the one that has it has left it.

        Not while a session is asked for: a host that has lost its own gets it back first, and says all it has.
        """
        if self._next is None or self._next.number not in self._loaded or self._dialer.calling is not None:
            return
        assert self._next_version is not None
        if self._worker is None:
            number, reload = self._begins_at()
            self.state = State.JOINING
            self._dialer.call(Call(self._token, "new", number, self._next_version.name, reload))
        elif not self._taking_over:
            self._taking_over = True
            self._worker.send(Leave(drain=False))
            self.ring()

    def _begins_at(self) -> tuple[int, bool]:
        """The record to begin at, and whether that is where another version has left."""
        if self._left_at is not None:
            return self._left_at, self._left_whole  # else as if it had died there: some of it may be lost
        return (self._begin_at if self._first_join else self._tail), False

    def _connect(self) -> None:
        found = self._dialer.look()
        if found is None:
            if (
                self._dialer.refused
                and self._dialer.calling is not None
                and self._dialer.calling.mode == "again"
            ):
                self._begin_anew(self._dialer.refused)
            return
        connection, welcome = found
        if self.state is State.JOINING and self._next is not None:
            self._join(connection.fileno(), welcome)
        elif self._worker is not None:
            self._worker.send(Session(welcome.rest), (connection.fileno(),))
            self.ring()
        connection.close()

    def _join(self, session: int, welcome: Welcome) -> None:
        worker = self._next
        assert worker is not None
        self._worker, self._running = worker, self._next_version
        self._next = self._next_version = None
        self._loaded.discard(worker.number)
        worker.send(Join(welcome.next_seq, welcome.lane, welcome.rest), (session,))

    def _started(self, next_seq: int) -> None:
        assert self._running is not None
        self.state = State.RUNNING
        reloaded = self._left_at is not None
        self._taking_over, self._left_at = False, None
        self.version, self.error = self._running.name, ""
        if self._first_join:
            self._first_join = False
            name = self._config.Strategy.shared_memory_name
            self._ready(f"{self.entry.id} on tape {name} of run {self._run_id}, from record {next_seq}")
        elif reloaded:
            self.reloads += 1
            self._before = msgspec.structs.replace(self._before, last_error="")  # of the version that is gone
            self._log.warning("%s: version %s from record %d on", self.entry.id, self.version, next_seq)
        else:
            self._log.warning("%s started again, from record %d", self.entry.id, next_seq)

    def _begin_anew(self, why: str) -> None:
        """The ledger does not want this host back: a fresh one, with the ledger's position."""
        self._log.warning("%s begins anew: %s", self.entry.id, why)
        assert self._worker is not None
        self._again(self._worker)

    # ------------------------------------------------------------------------------------------------ ends

    def _learn(self, worker: WorkerHandle, declared: dict[str, Any]) -> None:
        """What parameters its file knows: a name that is none of them would change nothing, unnoticed."""
        if worker is not self._next:
            return
        if unknown := self.parameters.unknown(declared):
            known = ", ".join(sorted({*declared, *self.entry.params}))
            self._failed(worker, f"it has no parameter {unknown}, only {known}")
        else:
            self._declared = declared

    def _failed(self, worker: WorkerHandle, error: str) -> None:
        """It does not load, or its `init` raises."""
        if worker is self._next:
            self._bury(worker)
            self._next = None
            self._break(error)
        else:  # its init has run, and runs no more: at an epoch, or with the lane it got
            self._retire(worker)
            self.state, self.error = State.STOPPED, error
            self._log.error("%s STOPPED: %s", self.entry.id, error)

    def _left(self, worker: WorkerHandle, next_seq: int, unheard: int) -> None:
        if worker is not self._worker:
            return
        self._retire(worker)
        if self._taking_over:
            self._left_at, self._left_whole = next_seq, not unheard
            if unheard:
                text = "%s: %d requests of the old version are not acknowledged, and may be lost"
                self._log.warning(text, self.entry.id, unheard)
            self._next_version = self._next_version or self._running  # what was to take over has died
            self.state = State.LOADING
        else:
            self.state = State.LEFT

    def _died(self, worker: WorkerHandle) -> None:
        """It ended without a word."""
        self._hear(worker)
        if worker not in (self._worker, self._next):
            return
        how = _how(worker)
        if worker is self._next:
            self._bury(worker)
            self._next = None
            if self._worker is not None or not self._deaths.one_more():
                self._backoff.failed()
                if self._worker is not None:
                    self._break(f"it died while it was loaded ({how})")
                return
            self._give_up(how)
            return
        self._log.error("%s died (%s)", self.entry.id, how)
        self._again(worker, how)

    def _again(self, worker: WorkerHandle, how: str = "") -> None:
        """A fresh worker of the same version, or of the next, at the head of the tape; not for ever."""
        self._retire(worker)
        self._taking_over = False
        if how and self._deaths.one_more():
            self._give_up(how)
            return
        self.restarts += 1
        self._next_version = self._next_version or self._running
        self.state = State.LOADING

    def _give_up(self, how: str) -> None:
        self._next_version = None
        self.parameters.refuse()
        self.state = State.STOPPED
        self.error = f"it keeps dying: {how}" + (f"; {self.error}" if self.error else "")
        self._log.error("%s STOPPED until it is saved again: %s", self.entry.id, self.error)

    def _retire(self, worker: WorkerHandle) -> None:
        """The one that had the lane: keep its counts, and let it go."""
        self._before, _ = bounded_message(added(self._before, worker.status))
        self._bury(worker)
        self._worker = None
        self._dialer.cancel()  # nobody is there to get its session back

    def _bury(self, worker: WorkerHandle) -> None:
        self._loaded.discard(worker.number)
        self._nursery.bury(worker)
        self._log_output(worker)

    # -------------------------------------------------------------------------------------------- watchdog

    def _watch(self) -> None:
        worker, loading = self._worker, self._next
        if worker is not None:
            self._watch_running(worker)
        if loading is not None and loading.number not in self._loaded:
            limit = max(LOAD_S, self._config.Strategy.hang_s)
            if verdict := self._loading_watchdog.hangs(loading, limit):
                self._bury(loading)
                self._next = None
                self._break(f"its import {verdict}")

    def _watch_running(self, worker: WorkerHandle) -> None:
        if worker.status.diverged and self.state is State.RUNNING:
            self.state = State.STOPPED
            self.error = f"its ledger differs: {worker.status.diverged}"
            self._log.error("%s STOPPED: %s", self.entry.id, self.error)
        if verdict := self._watchdog.hangs(worker, self._config.Strategy.hang_s):
            self.error = f"{verdict}: killed"
            self._log.error("%s %s", self.entry.id, self.error)
            worker.kill()
            self._again(worker, self.error)
        elif where := self._watchdog.slow_at(worker):
            self.slow = where
            limit = self._config.Strategy.budget_ms
            self._log.warning("%s is slow: over %g ms for a record, at %s", self.entry.id, limit, where)

    # ---------------------------------------------------------------------------------------------- status

    @property
    def counts(self) -> Status:
        """Everything counted since this part began."""
        return added(self._before, self._worker.status) if self._worker is not None else self._before

    @property
    def _tail(self) -> int:
        return self._tape.tail if self._tape is not None else 0

    def _lag(self) -> tuple[int, int]:
        """Records on the tape that it has not seen, and for how long the oldest of them is there, wall ns."""
        if self._tape is None:
            return 0, 0
        if self.state is State.RUNNING and self._worker is not None:
            seen = self._worker.pulse.next_seq
        elif self.state in (State.LOADING, State.JOINING) and self._first_join:
            seen = self._begin_at
        else:
            return 0, 0
        tail = self._tape.tail
        oldest = self._tape.record(max(seen, tail - self._tape.capacity // 2))
        return max(0, tail - seen), max(0, time.time_ns() - oldest[BOOKED]) if oldest is not None else 0

    def status(self) -> dict[str, Any]:
        """For the supervisor: counts so far, and what was traced since the last call."""
        counts, worker = self.counts, self._worker
        lag, behind_ns = self._lag()
        denials = dict(worker.denials.counts) if worker is not None and worker.denials is not None else {}
        found = {
            "strategy": self.entry.id,
            "state": self.state.value,
            "version": self.version,
            "path": str(self.path.relative_to(ROOT) if self.path.is_relative_to(ROOT) else self.path),
            "params": presentable({**self._declared, **self.parameters.now}),
            "params_known": self._declared,
            "params_action": self.parameters.handled,
            "error": self.error,
            "reloads": self.reloads,
            "restarts": self.restarts,
            "pid": worker.pid if worker is not None else None,
            "slow_at": self.slow,
            "lag": lag,
            "lag_ms": round(behind_ns / 1e6, 1),
            "denied_calls": denials,
            "not_enforced": worker.missing if worker is not None else (),
            "lines_dropped": self._printed.dropped,
            "trace_names": self._trace.names,
            "trace": self._trace.take(),
            "trace_dropped": self._trace.dropped,
            **msgspec.structs.asdict(counts),
            "counters": counts.counters | {REFUSED: self._dialer.refusals},
        }
        kept, cut = bounded(found, ROOM // len(self._config.Strategy.entries))
        return {**kept, "status_cut": cut + (worker.status_cut if worker is not None else 0)}


def _how(worker: WorkerHandle) -> str:
    code = worker.exit_status
    assert code is not None
    how = f"signal {-code}" if code < 0 else f"exit code {code}"
    return how if worker.gone in ("", CLOSED) else f"{worker.gone}; {how}"
