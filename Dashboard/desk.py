"""Everything one dashboard knows, and the ways by which it has things done. Pages and API share it."""

import asyncio
from collections import deque
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Final

from config import Config, resolve
from Dashboard.backlog import read_backlog
from Dashboard.frames import Frames
from Dashboard.hub import Hub
from Dashboard.market_watch import MarketWatch
from Dashboard.money_watch import MoneyWatch
from Dashboard.run_jobs import Jobs
from Dashboard.run_shelf import RunShelf
from Dashboard.sources import Source, follow_events, follow_status
from Dashboard.system_watch import SystemWatch
from OrderBook.control_client import ActionRefused, Answer, ControlClient
from runtime import status_socket
from runtime.run_folder import read_token
from trading_lib.control import OperatorAction

FRAME_S: Final = 0.1  # between two frames while somebody looks
IDLE_S: Final = 0.5  # while nobody does
CONTROL_PATIENCE_S: Final = 6.0
HELD: Final = 200_000  # events that come while those from before are read; the oldest of more are missed
AT_ONCE: Final = 500  # of those from before, between two looks at everything else


class Refusal(Exception):
    """Something asked for that is not done; the text says why, to a person."""


class Desk:
    """Owns the watches and the hub; `run` keeps them going."""

    def __init__(self, config: Config, run_id: str | None) -> None:
        section = config.Dashboard
        self.config = config
        self.market = MarketWatch(
            config.OrderBook.shared_memory_name, run_id, section.history_s, len(config.symbols)
        )
        self.money = MoneyWatch()
        self.system = SystemWatch()
        self.frames = Frames(self.market, self.money, self.system)
        self.hub = Hub(self.frames, section.max_streams)
        self.runs = resolve(config.run.export_dir)
        self.shelf = RunShelf(self.runs)
        self.jobs = Jobs()
        self.events = Source(self._take_event, self._money_changed)
        self.status = Source(self._take_status, self._money_changed)
        self._fixed_run = run_id
        self._known_run = ""  # whose events from before this process are known
        self._held: deque[dict[str, Any]] | None = None  # events that wait for those
        self._tasks: asyncio.TaskGroup | None = None
        self._controllers = ThreadPoolExecutor(2, "control")  # an OrderBook that hangs holds nobody else up

    def _money_changed(self) -> None:
        self.money.version += 1

    def _take_event(self, event: dict[str, Any]) -> None:
        if self._held is not None:
            if len(self._held) == HELD:
                self._held.popleft()
                self.money.missed += 1
            self._held.append(event)
            return
        self.money.take(event)
        if event["type"] == "snapshot" and event["run_id"] not in ("", self._known_run):
            self._held = deque()
            assert self._tasks is not None
            self._tasks.create_task(self._catch_up(event["run_id"], event["seq"]))

    async def _catch_up(self, run_id: str, until: int) -> None:
        """Take what happened before we listened, and then what came meanwhile."""
        folder = self.runs / run_id
        backlog = await asyncio.to_thread(read_backlog, folder, until)
        if backlog is None:
            self.hub.counters["journal not read: too long, or not there"] += 1
        for start in range(0, len(backlog or ()), AT_ONCE):
            self.money.take_backlog((backlog or [])[start : start + AT_ONCE])
            await asyncio.sleep(0)  # the others have their turn
        self._known_run = run_id
        held, self._held = self._held or (), None
        for event in held:
            self._take_event(event)

    def _take_status(self, status: dict[str, Any]) -> None:
        self.system.take(status)
        lanes = self.system.lanes
        if "parts" in status and lanes:
            self.money.take_lanes(lanes)
            if self._held is None:  # the curves' earlier points come first
                self.money.mark()

    # ----------------------------------------------------------------------------------------- running

    async def run(self) -> None:
        """Until cancelled."""
        manager = self.config.OrderManager
        async with asyncio.TaskGroup() as tasks:
            self._tasks = tasks
            tasks.create_task(follow_events(self.events, manager.host, manager.events_port))
            tasks.create_task(follow_status(self.status, self._status_path))
            tasks.create_task(self._make_frames())

    async def _make_frames(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            began = loop.time()
            self.market.look()
            self.system.look()
            self.money.settle()
            self.frames.next()
            self.hub.publish()
            pause = FRAME_S if self.hub.listeners else IDLE_S
            await asyncio.sleep(max(0.01, began + pause - loop.time()))

    @property
    def run_dir(self) -> Path | None:
        """The folder of the run that is on; None while there is none."""
        run_id = self.market.run_id or self._fixed_run
        return self.runs / run_id if run_id else None

    def _status_path(self) -> Path | None:
        folder = self.run_dir
        path = folder / status_socket.STATUS_SOCKET if folder is not None else None
        return path if path is not None and path.exists() else None

    # ----------------------------------------------------------------------------------------- control

    async def act(self, action: OperatorAction) -> Answer:
        """Have an operator's action done. Raises Refusal."""
        return await asyncio.get_running_loop().run_in_executor(self._controllers, self._act, action)

    def _act(self, action: OperatorAction) -> Answer:
        folder = self.run_dir
        token = read_token(folder) if folder is not None else None
        if token is None:
            raise Refusal("no run is going on")
        try:
            with ControlClient(
                self.config.OrderBook.control_port, token, patience=CONTROL_PATIENCE_S
            ) as client:
                return client.send(action)
        except ActionRefused as fault:
            raise Refusal(str(fault)) from None
        except OSError as fault:
            raise Refusal(f"the OrderBook does not answer: {fault}") from None

    async def command(self, command: Mapping[str, str]) -> None:
        """Have main.py do something: `{"kill": part}` or `{"start": part}`. Raises Refusal."""
        path = self._status_path()
        if path is None:
            raise Refusal("main.py does not run: parts in terminals of their own are stopped there")
        try:
            loop = asyncio.get_running_loop()
            await loop.run_in_executor(self._controllers, status_socket.ask, path, dict(command))
        except status_socket.Refused as fault:
            raise Refusal(str(fault)) from None
        except OSError as fault:
            raise Refusal(f"main.py does not answer: {fault}") from None

    def close(self) -> None:
        """Let go of the market."""
        self._controllers.shutdown(wait=False, cancel_futures=True)
        self.market.close()
