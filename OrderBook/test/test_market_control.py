"""A market steered through the control port: every process of a run sees the same, and its replay too."""

import contextlib
import signal
import socket
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from config import load_config
from lab.replay import replay
from OrderBook.control_client import ActionRefused, Answer, ControlClient
from OrderBook.control_log import ControlLog
from runtime.lanes import make_lane
from runtime.run_folder import open_run_folder, read_token
from shared_memory_utils import SegmentMissing, TapeReader
from testing.harness import running, running_part, system_config, wait_until, write_config
from trading_lib.control import DropFeed, Model, OperatorAction, Pause, Reset, Resume, Speed
from trading_lib.lane_state import take_state
from trading_lib.models import Kind

MARKET = {
    "provider": "simulated",
    "model": {"type": "ou"},
    "pace": {"mode": "event"},
    "schedule": {"dt_fixed_ms": 20, "speed": 10},  # 500 rounds a second
}
MARKET_ACTIONS: list[OperatorAction] = [
    Pause(),
    Resume(),
    Speed(speed=2),
    Reset(seed=7),
    Model(changes={"kappa": 2.0}),
    DropFeed(),
]


class Mark(NamedTuple):
    """What a tape has around an action."""

    ts: int
    value: float
    kind: int


class Site:
    """A configuration, and the tape of what runs by it."""

    def __init__(self, folder: Path, **changes: Any) -> None:
        tree = system_config(folder, **{"Gateway": MARKET, **changes})
        self.folder = folder
        self.config = write_config(folder, tree)
        self.name: str = tree["OrderBook"]["shared_memory_name"]
        self.control_port: int = tree["OrderBook"]["control_port"]

    @property
    def run_folder(self) -> Path:
        (found,) = self.folder.glob("runs/*")
        return found

    def operator(self) -> ControlClient:
        token = read_token(self.run_folder)
        assert token is not None
        connected: ControlClient = wait_until(lambda: self._connected(token), "the control port")
        return connected

    def _connected(self, token: str) -> ControlClient | None:
        with contextlib.suppress(ConnectionRefusedError):  # the tape is there a moment earlier
            return ControlClient(self.control_port, token)
        return None

    def tape(self) -> TapeReader:
        return TapeReader(self.name)

    def tape_if_any(self) -> TapeReader | None:
        with contextlib.suppress(SegmentMissing):
            return self.tape()
        return None


def record(tape: TapeReader, seq: int) -> Mark:
    found = wait_until(lambda: tape.record(seq))
    return Mark(found[1], found[2], found[6])


def wait_for(tape: TapeReader, more: int) -> None:
    """Until so many more records are on the tape."""
    enough = tape.tail + more
    wait_until(lambda: tape.tail >= enough)


@contextlib.contextmanager
def market(folder: Path, **changes: Any) -> Iterator[tuple[Site, ControlClient, TapeReader]]:
    """An OrderBook and a Gateway, an operator, and the tape with something on it."""
    site = Site(folder, **changes)
    with running_part("OrderBook", site.config, folder) as order_book:
        order_book.wait_for("ready")
        with running_part("Gateway", site.config, folder) as gateway:
            gateway.wait_for("ready")
            with site.operator() as operator, closing(site.tape()) as tape:
                wait_for(tape, 20)
                yield site, operator, tape
            assert gateway.stop() == 0
        assert order_book.stop() == 0


def test_each_action_is_answered_with_its_record(tmp_path: Path) -> None:
    with market(tmp_path) as (_, operator, tape):
        for number, action in enumerate(MARKET_ACTIONS, 1):
            answer = operator.send(action)
            assert answer.id == number
            assert record(tape, answer.seq)[1:] == (number, Kind.CONTROL)
            wait_for(tape, 0 if action == Pause() else 20)


def test_a_pause_holds_the_tape_and_event_time(tmp_path: Path) -> None:
    with market(tmp_path) as (_, operator, tape):
        answers = [operator.send(Pause()), *(operator.send(Speed(speed=10)) for _ in range(30))]
        first = answers[0].seq
        assert [answer.seq for answer in answers] == list(range(first, first + 31))
        assert len({record(tape, answer.seq).ts for answer in answers}) == 1
        resumed = operator.send(Resume())
        assert resumed.seq == first + 31
        assert record(tape, resumed.seq + 1).kind in (Kind.TICK, Kind.TIME)


def test_a_killed_gateway_comes_back_as_the_operator_had_left_the_market(tmp_path: Path) -> None:
    site = Site(tmp_path)
    with running_part("OrderBook", site.config, tmp_path) as order_book:
        order_book.wait_for("ready")
        with (
            running_part("Gateway", site.config, tmp_path) as gateway,
            site.operator() as operator,
            closing(site.tape()) as tape,
        ):
            wait_for(tape, 20)
            operator.send(Speed(speed=20))
            paused = operator.send(Pause())
            gateway.kill()
            with running_part("Gateway", site.config, tmp_path) as another:
                wait_until(lambda: marks(tape, paused.seq + 1) == [3, 4])
                answer = operator.send(Resume())
                assert marks(tape, paused.seq + 1) == [3, 4, answer.id]
                assert record(tape, answer.seq - 1)[1:] == (4, Kind.CONTROL), "nothing has left meanwhile"
                wait_for(tape, 20)
                assert another.stop() == 0
        assert order_book.stop() == 0
        assert "Pause()" in order_book.output and "Speed(speed=20.0)" in order_book.output


def marks(tape: TapeReader, since: int) -> list[int]:
    """The ids of the CONTROL records from there on."""
    found = [record(tape, seq) for seq in range(since, tape.tail)]
    return [int(mark.value) for mark in found if mark.kind == Kind.CONTROL]


def test_a_reset_is_an_epoch_and_the_same_prices_again(tmp_path: Path) -> None:
    with market(tmp_path) as (_, operator, tape):
        answer = operator.send(Reset())
        wait_for(tape, 100)
        assert record(tape, answer.seq + 1).kind == Kind.EPOCH
        first = [record(tape, seq) for seq in range(answer.seq)]
        again = [record(tape, answer.seq + 1 + seq) for seq in range(answer.seq)]
        assert again == first[: len(again)]


def test_what_the_gateway_refuses_reaches_the_operator(tmp_path: Path) -> None:
    with market(tmp_path) as (_, operator, tape):
        with pytest.raises(ActionRefused, match="kapa"):
            operator.send(Model(changes={"kapa": 2.0}))
        assert operator.send(Model(changes={"kappa": 2.0})).id == 2
        kinds = [record(tape, seq).kind for seq in range(tape.tail)]
        assert kinds.count(Kind.CONTROL) == 1


def test_a_dropped_feed_comes_back_by_itself_and_goes_on(tmp_path: Path) -> None:
    with market(tmp_path) as (_, operator, tape):
        for number in range(1, 6):
            answer = operator.send(DropFeed())
            assert answer.id == number
            wait_for(tape, 50)
        kinds = [record(tape, seq).kind for seq in range(tape.tail)]
        assert kinds.count(Kind.EPOCH) == 1, "it is the same session"
        wait_until(lambda: steered(operator))


def steered(operator: ControlClient) -> Answer | None:
    """The answer to an action, once there is a session again."""
    with contextlib.suppress(ActionRefused):
        return operator.send(Speed(speed=10))
    return None


def test_without_a_gateway_and_without_the_token_an_operator_is_told(tmp_path: Path) -> None:
    site = Site(tmp_path)
    with running_part("OrderBook", site.config, tmp_path) as order_book:
        order_book.wait_for("ready")
        with site.operator() as operator, pytest.raises(ActionRefused, match="no session"):
            operator.send(Pause())
        with site.operator() as operator, pytest.raises(ActionRefused, match="no connection"):
            operator.send(DropFeed())
        with ControlClient(site.control_port, "wrong") as stranger:
            with pytest.raises(ActionRefused, match="wrong token"):
                stranger.send(Pause())
            with pytest.raises(OSError):
                stranger.send(Pause())
        assert order_book.stop() == 0
    with pytest.raises(OSError):
        ControlClient(site.control_port, "nobody listens")


def test_an_order_book_that_falls_silent_is_not_waited_for_for_ever() -> None:
    with (
        socket.create_server(("127.0.0.1", 0)) as deaf,
        ControlClient(deaf.getsockname()[1], "token", patience=0.05) as operator,
        pytest.raises(TimeoutError),
    ):
        operator.send(Pause())


def test_lanes_take_no_notice_of_actions_on_the_market(tmp_path: Path) -> None:
    config = load_config(write_config(tmp_path, system_config(tmp_path)))
    folder = open_run_folder(config, "run-1")
    with closing(ControlLog(folder / "control.jsonl")) as log:
        numbers = [log.append(action) for action in MARKET_ACTIONS]
    steered, alone = (make_lane("one", config, "run-1") for _ in range(2))
    for lane in (steered, alone):
        lane.advance([(0, 5, 0.0, 0, 0, 0, Kind.EPOCH), (1, 6, 1.5, 0, 0, 0, Kind.TICK)], ["AAPL"])
    for seq, number in enumerate([*numbers, 0], 2):
        steered.mark(seq, 6, Kind.CONTROL, float(number))
        alone.mark(seq, 6, Kind.TIME, 0.0)
    assert take_state(steered) == take_state(alone)


def test_host_ledger_and_replay_agree_on_a_run_that_is_steered(tmp_path: Path) -> None:
    site = Site(
        tmp_path,
        Strategy={"strategies": [{"id": "kinds", "path": "testing/strategies/every_kind.py"}]},
        Recorder={"enabled": True},
    )
    with running(["main.py", str(site.config)], tmp_path) as process:
        process.wait_for("ticks ")
        live_through(site)
        assert process.stop(signal.SIGINT) == 0
        assert "DIVERGED" not in process.output
    result = replay(site.run_folder)
    assert result.same, str(result)
    assert sum(result.orders.values()) > 20


def live_through(site: Site) -> None:
    """Every action on the market, some records apart."""
    with closing(wait_until(site.tape_if_any)) as tape, site.operator() as operator:
        wait_for(tape, 500)
        for number, action in enumerate(MARKET_ACTIONS, 1):
            answer = operator.send(action)
            assert record(tape, answer.seq)[1:] == (number, Kind.CONTROL)
            wait_for(tape, 0 if action == Pause() else 500)
