"""The Strategy's process: the trusted parent of the workers in which strategies run.

It finds the market, holds the token, makes the sessions, watches files and workers, and reports. Ticks and
orders do not pass through it: see `Strategy.worker`, `Strategy.host`. A bad strategy file never ends it.
"""

import contextlib
import socket
import time
from collections import Counter
from collections.abc import Mapping
from typing import Any, Final

import msgspec

from config import Config, resolve, to_json
from runtime.lanes import actions_path
from runtime.loop import EventLoop, Reminder
from runtime.part import CannotStart, Part
from runtime.run_folder import read_token, run_folder
from shared_memory_utils import MarketView, SegmentError
from Strategy.actions import ActionFollower
from Strategy.bounds import SUMMARY_ROOM, bounded
from Strategy.nursery import Nursery
from Strategy.runner import Runner, State
from Strategy.watch import Watch
from trading_lib.control import HotReload

ROUND_S: Final = 0.02  # so often workers are looked after …
IDLE_ROUND_S: Final = 0.1  # … and so often when nothing is going on: they run, or wait for a market
GOODBYE_S: Final = 0.34  # for all workers to take what is on the tape and leave, when stopping


class StrategyProcess:
    """Follows one tape after another with every configured strategy. Owns everything it makes."""

    def __init__(self, part: Part, config: Config) -> None:
        self._part = part
        self._config = config
        self._name = config.Strategy.shared_memory_name
        for entry in config.Strategy.entries:
            if not resolve(entry.path).is_file():
                raise CannotStart(
                    f"Strategy.strategies: {entry.id}: {resolve(entry.path)}: no such strategy file"
                )
        self._loop = EventLoop()
        part.watch(self._loop)
        self._nursery = Nursery(self._loop, part.log)
        config_json = to_json(_without_token(config))
        self.runners = [
            Runner(entry, config, config_json, self._nursery, part.log, self._joined)
            for entry in config.Strategy.entries
        ]
        self._wake, self._waker = socket.socketpair()
        for end in (self._wake, self._waker):
            end.setblocking(False)
        self._loop.add(self._wake, lambda _: self._drain_wake())
        self._watch: Watch | None = None
        self._attached: MarketView | None = None
        self._actions: ActionFollower | None = None  # of the run whose market it is attached to
        self._joins: list[str] = []  # what strategies have said on this tape
        self._told_ready = False
        self._warned: set[str] = set()
        self._reminder = Reminder(
            part.log.warning, f"no tape {self._name!r} (Strategy.shared_memory_name) for 10 s; still looking"
        )

    # --------------------------------------------------------------------------------------------- rounds

    def run(self) -> None:
        """Until told to stop; then let every strategy take what is on the tape."""
        part = self._part
        while not part.stopping:
            self._loop.run_once(self._pause)
            part.check_link()
            if self._attached is None:
                self._attach()
            else:
                self._look_after(self._attached)
            if part.status_due():
                part.report(self.status())
        self._say_goodbye()
        part.report(self.status())

    @property
    def _pause(self) -> float:
        quiet = all(runner.settled or runner.state is State.WAITING for runner in self.runners)
        return IDLE_ROUND_S if quiet and self._attached is not None else ROUND_S

    def _look_after(self, attached: MarketView) -> None:
        if self._watch is not None:
            self._look_at_files(self._watch)
        self._obey()
        self._nursery.next_round()
        for runner in self.runners:
            runner.step()
        self._warn_once()
        if not self._told_ready and all(runner.settled for runner in self.runners):
            self._told_ready = True
            self._part.ready("; ".join(self._joins) or "no strategy can run, see above")
        if attached.tape.closed and all(runner.gone for runner in self.runners):
            self._detach()

    def _look_at_files(self, watch: Watch) -> None:
        for folder in watch.take():
            for runner in self.runners:
                if runner.path.parent == folder:
                    runner.changed()
        if watch.failed:
            self._part.log.warning("hot reload is off: %s", watch.failed)
            self._follow_files(False)

    def _joined(self, text: str) -> None:
        self._joins.append(text)
        if self._told_ready:  # the others did not wait for it
            self._part.log.info("%s", text)

    def _warn_once(self) -> None:
        """What this kernel cannot enforce, said once."""
        for worker in self._nursery.workers.values():
            for missing in worker.missing:
                if missing not in self._warned:
                    self._warned.add(missing)
                    self._part.log.warning("sandbox: %s", missing)

    def _on_change(self) -> None:
        with contextlib.suppress(BlockingIOError):
            self._waker.send(b"x")

    def _drain_wake(self) -> None:
        with contextlib.suppress(BlockingIOError):
            self._wake.recv(4096)

    # ------------------------------------------------------------------------------------------- operators

    def _obey(self) -> None:
        """Do what operators have asked for since the last look."""
        assert self._actions is not None
        for number, action in self._actions.take().items():
            if isinstance(action, HotReload):
                self._follow_files(action.on)
            elif (runner := self._runner(action.strategy)) is not None:
                runner.parameters.ask(number, action.params)
            else:
                self._part.log.warning("action %d: no strategy %r here", number, action.strategy)

    def _runner(self, strategy_id: str) -> Runner | None:
        return next((runner for runner in self.runners if runner.entry.id == strategy_id), None)

    def _follow_files(self, on: bool) -> None:
        """Whether a file that is saved runs at once; one that was saved meanwhile does now."""
        if on and self._watch is None:
            self._watch = Watch((runner.path.parent for runner in self.runners), self._on_change)
            for runner in self.runners:
                runner.changed()
        elif not on and self._watch is not None:
            self._watch.close()
            self._watch = None

    # ----------------------------------------------------------------------------------------- the market

    def _attach(self) -> None:
        """Look for a tape, and have every strategy begin on it."""
        if not self._nursery.ready:
            return
        try:
            attached = MarketView(self._name)
        except SegmentError:
            self._reminder.missing()
            return
        run_id = attached.run_id
        token = read_token(run_folder(self._config, run_id))
        if self._part.run_id not in (None, run_id) or token is None:  # another system's; or nobody's yet
            attached.close()
            self._reminder.missing()
            return
        self._reminder.found()
        self._attached = attached
        self._joins, self._told_ready = [], False
        self._actions = ActionFollower(actions_path(self._config, run_id))
        self._follow_files(self._config.Strategy.hot_reload)
        for runner in self.runners:
            runner.begin(run_id, token, attached.tape)

    def _detach(self) -> None:
        assert self._attached is not None
        self._part.log.info("left tape %s: it has ended", self._name)
        for runner in self.runners:
            runner.leave()
        self._attached.close()
        self._attached = None
        self._forget_actions()

    def _forget_actions(self) -> None:
        if self._actions is not None:
            self._actions.close()
            self._actions = None

    def _say_goodbye(self) -> None:
        """Everybody takes what is on the tape now, and leaves."""
        for runner in self.runners:
            runner.end()
        deadline = time.monotonic() + GOODBYE_S
        while not all(runner.gone for runner in self.runners) and time.monotonic() < deadline:
            self._loop.run_once(0.005)
            self._nursery.next_round()
            for runner in self.runners:
                runner.step()

    # ---------------------------------------------------------------------------------------------- status

    def status(self) -> Mapping[str, Any]:
        """Counts since the start, for the supervisor: of all strategies together, and of each."""
        strategies = [runner.status() for runner in self.runners]
        counters: Counter[str] = Counter()
        for strategy in strategies:
            counters.update(strategy["counters"])
        errors = [found["last_error"] for found in strategies if found["last_error"]]
        stopped = [f"{found['strategy']}: {found['error']}" for found in strategies if found["state"] in _BAD]
        summed = {
            name: sum(found[name] for found in strategies)
            for name in (
                "orders",
                "fills",
                "denied",
                "missed",
                "errors",
                "kept",
                "not_drained",
                "over_budget",
                "status_cut",
            )
        }
        most = {
            name: max(found[name] for found in strategies)
            for name in ("ticks", "news", "epochs", "lag", "lag_ms")
        }
        summary = {
            "hot_reload": self._watch is not None,
            "attached": self._attached is not None,
            **most,
            **summed,
            "stopped": "; ".join(stopped),
            "last_error": errors[-1] if errors else "",
            "denied_calls": sum(self._nursery.denied.values())
            + sum(sum(found["denied_calls"].values()) for found in strategies),
            "worker_restarts": sum(found["restarts"] for found in strategies),
            "zygote_restarts": self._nursery.restarts,
            "counters": counters,
            "pids": self._nursery.pids,
        }
        kept, cut = bounded(summary, SUMMARY_ROOM)
        return {
            "strategy": ", ".join(found["strategy"] for found in strategies),
            **kept,
            "status_cut": summed["status_cut"] + cut,
            "strategies": strategies,
        }

    def close(self) -> None:
        """Let go of everything."""
        if self._watch is not None:
            self._watch.close()
        for runner in self.runners:
            runner.close()
        if self._attached is not None:
            self._attached.close()
        self._forget_actions()
        self._nursery.close()
        self._loop.remove(self._wake)
        self._wake.close()
        self._waker.close()
        self._loop.close()


_BAD: Final = (State.BROKEN.value, State.STOPPED.value)


def serve(part: Part, config: Config) -> None:
    """Run the Strategy until it is told to stop."""
    process = StrategyProcess(part, config)
    try:
        process.run()
    finally:
        process.close()


def _without_token(config: Config) -> Config:
    """What a worker is told: who may look at the dashboard is not user code's business."""
    dashboard = msgspec.structs.replace(config.Dashboard, token=None, host="127.0.0.1")
    return msgspec.structs.replace(config, Dashboard=dashboard)
