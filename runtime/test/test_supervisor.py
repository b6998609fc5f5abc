"""The supervisor over parts that only say READY: commands, restarts, and what nobody waits for."""

import json
import logging
import signal
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import pytest

from config import parse_config
from runtime import supervisor as supervisor_module
from runtime.child import CRASH_LIMIT, Child, State
from runtime.part import EXIT_CONFIG
from runtime.status_socket import Refused, ask
from runtime.supervisor import OPTIONAL, SCRIPTS, Supervisor
from testing.harness import system_config, wait_until

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
READY = """
import os, socket
link = socket.socket(fileno=int(os.environ["ALGOSIM_LINK_FD"]))
link.send(b'{"ready": "here"}\\n')
link.recv(1)
"""


class House:
    """A supervisor that runs in this thread while a test's steps are taken in another."""

    def __init__(self, folder: Path, scripts: Mapping[str, Path]) -> None:
        self.said: list[str] = []
        optional = {"recorder": "Recorder", "dashboard": "Dashboard"}
        wanted = {key: {"enabled": name in scripts} for name, key in optional.items()}
        tree = system_config(folder, **wanted)
        config = parse_config(json.dumps(tree).encode())
        self.supervisor = Supervisor(config, logging.getLogger("test"), self.said.append)

    @property
    def status_socket(self) -> Path:
        return self.supervisor.run_dir / "status.sock"

    def child(self, name: str) -> Child:
        return self.supervisor.children[name]

    def until(self, name: str, state: State) -> None:
        wait_until(lambda: self.child(name).state is state, f"{name} {state}: {self.said}")

    def run(self, steps: Callable[[], None]) -> int:
        """Until the steps are taken, or one of them has failed."""

        def take() -> None:
            try:
                steps()
            finally:
                self.supervisor.interrupts += 1

        with self.supervisor, ThreadPoolExecutor(1) as pool:
            taken = pool.submit(take)
            exit_code = self.supervisor.run(lambda _: None)
            taken.result()
        return exit_code


Build = Callable[..., House]


@pytest.fixture
def house(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Build]:
    """`house(recorder=script)`: a house whose parts only say READY, but those that a script is given for."""
    handlers = {number: signal.getsignal(number) for number in SIGNALS}

    def build(**scripts: str) -> House:
        paths = {}
        for name in (*SCRIPTS, *scripts):
            paths[name] = tmp_path / f"{name}.py"
            paths[name].write_text(scripts.get(name, READY))
        monkeypatch.setattr(supervisor_module, "SCRIPTS", {name: paths[name] for name in SCRIPTS})
        optional = {name: paths.get(name, script) for name, script in OPTIONAL.items()}
        monkeypatch.setattr(supervisor_module, "OPTIONAL", optional)
        return House(tmp_path, paths)

    yield build
    for number, handler in handlers.items():
        signal.signal(number, handler)


def test_a_part_killed_on_request_comes_back_and_is_never_given_up_for_it(house: Build) -> None:
    built = house()

    def restarted(times: int) -> bool:
        return built.child("strategy").restarts == times

    def steps() -> None:
        for kills in range(CRASH_LIMIT + 2):
            built.until("strategy", State.READY)
            ask(built.status_socket, {"kill": "strategy"})
            wait_until(partial(restarted, kills + 1))
        built.until("strategy", State.READY)

    assert built.run(steps) == 0
    part = built.supervisor.status()["parts"]["strategy"]
    assert (part["asked_kills"], part["restarts"]) == (CRASH_LIMIT + 2, CRASH_LIMIT + 2)
    assert built.said.count("strategy: killed on request") == CRASH_LIMIT + 2


def test_what_was_given_up_starts_on_request_and_its_crashes_are_forgotten(
    house: Build, tmp_path: Path
) -> None:
    broken = tmp_path / "broken"
    broken.touch()
    built = house(
        recorder=f"import os, sys\nif os.path.exists({str(broken)!r}): sys.exit({EXIT_CONFIG})\n{READY}"
    )

    def steps() -> None:
        built.until("recorder", State.FAILED)
        built.until("gateway", State.READY)  # the run goes on without it
        ask(built.status_socket, {"start": "recorder"})
        wait_until(lambda: "recorder: started on request" in built.said)
        built.until("recorder", State.FAILED)
        broken.unlink()
        ask(built.status_socket, {"start": "recorder"})
        built.until("recorder", State.READY)

    assert built.run(steps) == 0


def test_what_waits_for_its_restart_starts_on_request_at_once(
    house: Build, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("runtime.child.FIRST_DELAY_S", 1e6)
    monkeypatch.setattr("runtime.child.LONGEST_DELAY_S", 1e6)
    built = house()

    def steps() -> None:
        built.until("strategy", State.READY)
        built.child("strategy").signal(signal.SIGKILL)
        built.until("strategy", State.RESTARTING)
        ask(built.status_socket, {"start": "strategy"})
        built.until("strategy", State.READY)

    assert built.run(steps) == 0


@pytest.mark.parametrize(
    ("command", "why"),
    [
        ({"kill": "nobody"}, "no part 'nobody', only orderbook, order_manager, strategy, gateway"),
        ({"start": "strategy"}, "strategy is not down: it is ready"),
        ({"kill": "strategy", "start": "strategy"}, "expected "),
        ({"stop": "strategy"}, "no command: "),
    ],
)
def test_what_cannot_be_done_is_refused_with_the_reason(
    house: Build, command: dict[str, str], why: str
) -> None:
    built = house()

    def steps() -> None:
        built.until("strategy", State.READY)
        with pytest.raises(Refused) as refused:
            ask(built.status_socket, command)
        assert str(refused.value).startswith(why)

    assert built.run(steps) == 0
    assert built.supervisor.status()["commands_refused"] == 1


def test_who_is_dead_is_not_killed_again(house: Build, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("runtime.child.FIRST_DELAY_S", 1e6)
    monkeypatch.setattr("runtime.child.LONGEST_DELAY_S", 1e6)
    built = house()

    def steps() -> None:
        built.until("strategy", State.READY)
        ask(built.status_socket, {"kill": "strategy"})
        built.until("strategy", State.RESTARTING)
        with pytest.raises(Refused, match="strategy does not run: it is restarting"):
            ask(built.status_socket, {"kill": "strategy"})

    assert built.run(steps) == 0
    assert built.child("strategy").asked_kills == 1


FED = """
import json, os, socket, time
link = socket.socket(fileno=int(os.environ["ALGOSIM_LINK_FD"]))
def feed(state): link.send(json.dumps({{"status": {{"feed": state}}}}).encode() + b"\\n")
feed("session")
link.send(b'{{"ready": "here"}}\\n')
while {ends} and not os.path.exists({folder!r} + "/gateway"): time.sleep(0.01)
if {ends}:
    time.sleep(0.1)  # it reads what was on its way
    open({folder!r} + "/orderbook", "w").close()
    feed("connecting")
link.recv(1)
"""
LEAVES_A_NOTE = """
import os, signal, socket
link = socket.socket(fileno=int(os.environ["ALGOSIM_LINK_FD"]))
def leave(*_):
    with open({folder!r} + "/" + {name!r}, "w") as note: note.write(" ".join(os.listdir({folder!r})))
    os._exit(0)
signal.signal(signal.SIGTERM, leave)
link.send(b'{{"ready": "here"}}\\n')
while True: signal.pause()
"""


@pytest.mark.parametrize("ends", [True, False])
def test_what_is_on_its_way_from_the_gateway_is_waited_for_but_not_for_ever(
    house: Build, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, ends: bool
) -> None:
    monkeypatch.setitem(supervisor_module.STOP_SHARES, "gateway", 20.0 if ends else 0.1)
    notes = tmp_path / "notes"
    notes.mkdir()
    gateway, strategy = (LEAVES_A_NOTE.format(folder=str(notes), name=n) for n in ("gateway", "strategy"))
    built = house(gateway=gateway, strategy=strategy, orderbook=FED.format(folder=str(notes), ends=ends))
    assert built.run(lambda: built.until("gateway", State.READY)) == 0
    seen = (notes / "strategy").read_text().split()
    assert ("orderbook" in seen) is ends
    assert "gateway" in seen or not ends


# ------------------------------------------------------------------------------------------ the dashboard


def test_nobody_waits_for_the_dashboard(house: Build) -> None:
    built = house(dashboard="import signal; signal.pause()")

    def steps() -> None:
        built.until("gateway", State.READY)
        built.until("dashboard", State.STARTING)

    assert built.run(steps) == 0
    assert not any("killed" in line for line in built.said)


def test_the_dashboard_starts_behind_the_gateway_or_when_that_takes_long(
    house: Build, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(supervisor_module, "OPTIONAL_START_S", 1e6)
    built = house(dashboard=READY, orderbook="import signal; signal.pause()")

    def steps() -> None:
        for name in ("order_manager", "strategy"):
            built.until(name, State.READY)
        assert built.child("gateway").state is built.child("dashboard").state is State.WAITING
        monkeypatch.setattr(supervisor_module, "OPTIONAL_START_S", 0)
        built.until("dashboard", State.READY)
        assert built.child("gateway").state is State.WAITING

    assert built.run(steps) == 0


def test_where_the_dashboard_is_is_said_once(house: Build) -> None:
    built = house(dashboard=READY)

    def steps() -> None:
        wait_until(lambda: "dashboard: here" in built.said)
        ask(built.status_socket, {"kill": "dashboard"})
        wait_until(lambda: built.child("dashboard").restarts == 1)
        built.until("dashboard", State.READY)

    assert built.run(steps) == 0
    assert built.said.count("dashboard: here") == 1


def test_without_a_dashboard_that_cannot_start_the_run_goes_on(house: Build) -> None:
    built = house(dashboard=f"print('port 1 is taken'); raise SystemExit({EXIT_CONFIG})")

    def steps() -> None:
        built.until("dashboard", State.FAILED)
        built.until("gateway", State.READY)

    assert built.run(steps) == 0
    said = "dashboard cannot start (exit code 78): the run goes on WITHOUT IT"
    assert built.said == ["dashboard: port 1 is taken", said]


def test_a_run_that_has_ended_answers_nobody(house: Build) -> None:
    built = house()
    built.run(lambda: built.until("gateway", State.READY))
    with pytest.raises(OSError, match="No such file"):
        ask(built.status_socket, {"kill": "strategy"})
