"""The control port: an action is in its file before its mark is on the tape, and no client can hurt."""

import contextlib
import json
import logging
import resource
import signal
import socket
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from OrderBook.control import HOST, MAX_CLIENTS, MAX_LINE, BadAction, ControlPort, parse_action
from OrderBook.control_log import ControlLog, DamagedControlLog
from OrderBook.feed_handler import FeedHandler
from OrderBook.forwarding import MAX_UNMARKED, PATIENCE_S
from OrderBook.steered import Steered, done
from OrderBook.test.desk import T0, Desk
from OrderBook.test.gateway import HELLO, Port, session
from runtime.loop import EventLoop
from shared_memory.layout import CHUNK
from shared_memory_utils import Entry, TapeWriter
from testing.harness import free_port, segment_name, wait_until
from trading_lib.control import (
    Cancel,
    Costs,
    HotReload,
    KillSwitch,
    MarketAction,
    Model,
    Params,
    Pause,
    Resume,
    Speed,
    parse_strategy_actions,
    read_actions,
)
from trading_lib.models import Kind

TOKEN = "0123456789abcdef"
GREETING = json.dumps({"token": TOKEN}) + "\n"
KILL = '{"action": "kill_switch", "strategy": null, "flatten": true}\n'
EXAMPLES = settings(
    deadline=None,
    max_examples=150,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
)


class Room:
    """A sequencer, its control port, and the clients of a test, in one thread."""

    def __init__(self, folder: Path, name: str) -> None:
        self.path = folder / "control.jsonl"
        self.desk = Desk(name)
        self.loop = EventLoop()
        self.log = ControlLog(self.path)
        self.number = free_port()
        self.said: list[str] = []
        self.gateway = Port(free_port())
        self.feed = FeedHandler(
            self.loop, self.desk.order_book, HOST, self.gateway.number, free_port(), logging.getLogger("test")
        )
        self.port = ControlPort(
            *(self.loop, self.desk.order_book, self.feed, self.log, TOKEN, self.number, ["mine"]),
            say=self.said.append,
        )
        self._clients: list[socket.socket] = []

    def connect(self, said: str = "") -> socket.socket:
        """A client that has said something."""
        client = socket.create_connection((HOST, self.number))
        client.setblocking(False)
        self._clients.append(client)
        client.sendall(said.encode())
        return client

    def until(self, condition: Callable[[], Any]) -> Any:
        def turned() -> Any:
            self.loop.run_once(0.001)
            return condition()

        return wait_until(turned)

    def answers(self, client: socket.socket, count: int) -> list[dict[str, Any]]:
        """The next answers."""
        text = b""

        def enough() -> bool:
            nonlocal text
            try:
                text += client.recv(1 << 16)
            except BlockingIOError:
                return False
            return text.count(b"\n") >= count

        self.until(enough)
        return [json.loads(line) for line in text.splitlines()]

    def closed(self, client: socket.socket) -> bool:
        """Whether the port has hung up, what it said before that passed over."""
        try:
            return client.recv(1 << 16) == b""
        except BlockingIOError:
            return False
        except ConnectionError:
            return True

    def marks(self) -> list[int]:
        """The ids of the CONTROL records on the tape."""
        return [int(record.value) for record in self.desk.records() if record.kind == Kind.CONTROL]

    def assert_every_mark_has_its_line(self) -> None:
        assert set(self.marks()) <= set(read_actions(self.path))

    def meet_gateway(self, *frames: str) -> None:
        """Connect to the scripted Gateway; `frames` is what it says to the hello."""

        def accepted() -> bool:
            self.feed.tend()
            return self.gateway.accept()

        self.until(accepted)
        self.until(lambda: self.gateway.received() == HELLO)
        self.gateway.send(*frames)
        before = self.desk.tape.tail
        self.until(lambda: self.desk.tape.tail > before)

    def asked(self) -> str:
        """The next frames that the Gateway is asked with."""
        return str(self.until(self.gateway.received).decode())

    def close(self) -> None:
        for client in self._clients:
            client.close()
        self.port.close()
        self.feed.close()
        self.gateway.close()
        self.log.close()
        self.desk.close()
        self.loop.close()


@contextmanager
def open_room(folder: Path) -> Iterator[Room]:
    with closing(Room(folder, segment_name())) as room:
        yield room


@pytest.fixture
def room(tmp_path: Path) -> Iterator[Room]:
    with open_room(tmp_path) as room:
        yield room


# ------------------------------------------------------------------------------------------------- actions


def test_an_action_gets_a_line_and_a_mark_at_the_head_and_its_client_is_told_where(room: Room) -> None:
    room.desk.feed("!OK,5,0*!S,0,7*", f"!E,{T0}*", f"AAPL,1.5,{T0 + 5}*")
    client = room.connect(
        GREETING + KILL + '{"action": "cancel", "strategy": "a", "client_order_id": "4.0"}\n'
    )
    assert room.answers(client, 2) == [
        {"ok": True, "id": 1, "seq": 2},
        {"ok": True, "id": 2, "seq": 3},
    ]
    assert [(kind, ts, value) for kind, ts, value, _ in room.desk.seen(2)] == [
        (Kind.CONTROL, T0 + 5, 1.0),
        (Kind.CONTROL, T0 + 5, 2.0),
    ]
    assert read_actions(room.path) == {
        1: KillSwitch(flatten=True),
        2: Cancel(strategy="a", client_order_id="4.0"),
    }
    first = json.loads(room.path.read_text().splitlines()[0])
    assert first["ts_wall"].isdigit() and first["action"] == "kill_switch"
    assert room.path.stat().st_mode & 0o777 == 0o600


def test_what_the_strategy_is_to_do_has_its_line_and_its_mark_and_concerns_no_lane(room: Room) -> None:
    params = '{"action": "params", "strategy": "mine", "params": {"n": [1, {"a": null}]}}\n'
    room.answers(room.connect(GREETING + params + '{"action": "hot_reload", "on": false}\n'), 2)
    assert parse_strategy_actions(room.path.read_bytes()) == {
        1: Params(strategy="mine", params={"n": [1, {"a": None}]}),
        2: HotReload(on=False),
    }
    assert room.marks() == [1, 2]
    assert read_actions(room.path) == {}


def test_marks_take_no_feed_number(room: Room) -> None:
    room.desk.feed("!OK,5,0*!S,0,7*", f"AAPL,1.5,{T0}*")
    room.answers(room.connect(GREETING + KILL), 1)
    room.desk.feed("!S,1,7*", f"AAPL,2.5,{T0 + 1}*")
    assert room.desk.counts.gaps == 0
    assert [record.kind for record in room.desk.seen()] == [Kind.EPOCH, Kind.TICK, Kind.CONTROL, Kind.TICK]


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("", "truncated"),
        ("GET / HTTP/1.1", "JSON"),
        ("[]", "object"),
        ("{}", "action"),
        ('{"action": "dance"}', "dance"),
        ('{"action": "kill_switch", "strategy": 5}', "strategy"),
        ('{"action": "kill_switch", "strategy": "a b"}', "strategy"),
        ('{"action": "kill_switch", "flaten": true}', "flaten: no such key, only action, flatten, strategy"),
        ('{"action": "cancel", "strategy": "a"}', "client_order_id"),
        ('{"action": "costs"}', "nothing to change"),
        ('{"action": "costs", "strategy": "a"}', "nothing to change"),
        ('{"action": "costs", "slippage_bps": -1}', "slippage_bps"),
        ('{"action": "costs", "latency_ms": 1e999}', "out of range"),
        ('{"action": "costs", "commission_fixed": NaN}', "JSON"),
        ('{"action": "order", "symbol": "A", "side": "BUY", "qty": 1, "type": "limit"}', "needs a price"),
        ('{"action": "order", "symbol": "A", "side": "BUY", "qty": 0, "type": "market"}', "qty"),
        ('{"action": "order", "symbol": "A,B", "side": "BUY", "qty": 1, "type": "market"}', "symbol"),
        ('{"action": "order", "symbol": "A", "side": "HOLD", "qty": 1, "type": "market"}', "side"),
        ('{"action": "order", "symbol": "A", "side": "BUY", "qty": 1, "type": "stop"}', "type"),
        ('{"action": "params", "strategy": "yours", "params": {"n": 1}}', "no strategy 'yours'"),
        ('{"action": "params", "strategy": "mine", "params": {}}', "params"),
        ('{"action": "params", "strategy": "mine", "params": {"short window": 1}}', "params"),
        ('{"action": "params", "strategy": "mine", "params": {"n": "%s"}}' % ("x" * 4096), "4,096 bytes"),
        ('{"action": "params", "strategy": "mine", "params": {"n": [[[[[[[[]]]]]]]]}}', "8 lists"),
        ('{"action": "hot_reload", "on": 1}', "on"),
        ('{"a":' * 12_000, "recursion"),
    ],
)
def test_what_is_no_action_is_refused_with_its_reason_and_the_next_one_is_served(
    room: Room, line: str, said: str
) -> None:
    client = room.connect(f"{GREETING}{line}\n{KILL}")
    refused, served = room.answers(client, 2)
    assert refused["ok"] is False and said in refused["error"]
    assert served == {"ok": True, "id": 1, "seq": 0}
    assert room.marks() == [1]
    assert len(room.path.read_text().splitlines()) == 1


def test_costs_change_what_they_name() -> None:
    assert parse_action(b'{"action":"costs","slippage_bps":2}') == Costs(slippage_bps=2.0)
    with pytest.raises(BadAction):
        parse_action(b"\xff")


# ---------------------------------------------------------------------------------------- on the market

PAUSE = '{"action": "pause"}\n'
MODEL = '{"action": "model", "changes": {"kappa": 2.5}}\n'


def test_an_action_on_the_market_is_answered_when_its_mark_is_on_the_tape(room: Room) -> None:
    room.meet_gateway(session(5, 0, 1))
    client = room.connect(GREETING + MODEL + KILL)
    assert room.asked() == '!CONTROL,1,{"action":"model","changes":{"kappa":2.5}}*'
    assert len(room.path.read_text().splitlines()) == 1, "the next line is served after the answer"
    assert room.marks() == []
    room.gateway.send(f"AAPL,2.5,{T0 + 2}*!C,1,{T0 + 2}*AAPL,3.5,{T0 + 3}*")
    first, second = room.answers(client, 2)
    assert first == {"ok": True, "id": 1, "seq": 3}
    assert second["ok"] and second["id"] == 2
    assert [record.kind for record in room.desk.seen(2)[:2]] == [Kind.TICK, Kind.CONTROL]
    assert room.marks() == [1, 2]
    assert read_actions(room.path) == {2: KillSwitch(flatten=True)}, "the lanes have nothing to do with it"


def test_what_the_gateway_refuses_is_told_and_leaves_no_mark(room: Room) -> None:
    room.meet_gateway(session(5, 0, 1))
    client = room.connect(GREETING + MODEL)
    room.asked()
    room.gateway.send("!REFUSED,1,this market has no model*", f"AAPL,2.5,{T0 + 2}*!C,1,{T0 + 2}*")
    assert room.answers(client, 1) == [{"ok": False, "id": 1, "error": "this market has no model"}]
    room.until(lambda: room.desk.tape.tail == 4)
    assert room.marks() == [0], "a mark after a refusal is nobody's"
    assert room.port.counters == {"control refused by the Gateway": 1}


@pytest.mark.parametrize("frames", [(), ("AAPL,1.5*",)])
def test_without_a_feed_session_the_market_cannot_be_steered_and_nothing_is_logged(
    room: Room, frames: tuple[str, ...]
) -> None:
    if frames:
        room.meet_gateway(*frames)
    answer, killed = room.answers(room.connect(GREETING + PAUSE + KILL), 2)
    assert answer["ok"] is False and "no session" in answer["error"]
    assert killed["ok"] and killed["id"] == 1
    assert room.port.counters["control refused: no Gateway to ask"] == 1


def test_when_the_feed_is_lost_who_waits_is_told_and_a_late_mark_is_nobodys(room: Room) -> None:
    room.meet_gateway(session(5, 0, 1))
    client = room.connect(GREETING + PAUSE)
    room.asked()
    room.gateway.hang_up()
    answer = room.answers(client, 1)[0]
    assert (answer["ok"], answer["id"]) == (False, 1) and "feed was lost" in answer["error"]
    room.meet_gateway(session(5, 1), f"!C,1,{T0 + 1}*")
    assert room.marks() == [0]
    assert room.port.counters == {"control lost with the feed": 1}


def steer(room: Room, *actions: str) -> None:
    """Have a Gateway do actions, whose ids go on from those of the file."""
    client = room.connect(GREETING)
    for number, action in enumerate(actions, len(room.path.read_text().splitlines()) + 1):
        client.sendall(f"{action}\n".encode())
        room.asked()
        room.gateway.send(f"!C,{number},{T0 + 1}*")
        assert room.answers(client, 1)[0]["ok"]


def test_a_gateway_that_begins_anew_is_told_what_the_operator_has_made_of_the_market(room: Room) -> None:
    room.meet_gateway(session(5, 0, 1))
    steer(
        room,
        '{"action": "model", "changes": {"kappa": 2.5}}',
        '{"action": "reset", "seed": 7}',
        '{"action": "model", "changes": {"sigma": 0.5}}',
        '{"action": "speed", "speed": 4.0}',
        '{"action": "speed", "speed": 2.0}',
        PAUSE.strip(),
    )
    room.gateway.hang_up()
    room.meet_gateway(session(6, 0, 1))
    assert room.asked() == (
        '!CONTROL,7,{"action":"reset","seed":7}*'
        '!CONTROL,8,{"action":"model","changes":{"sigma":0.5}}*'
        '!CONTROL,9,{"action":"speed","speed":2.0}*'
        '!CONTROL,10,{"action":"pause"}*'
    )
    room.gateway.send("!REFUSED,8,this market has no model*", *(f"!C,{n},{T0 + 1}*" for n in (7, 9, 10)))
    room.until(lambda: room.marks()[-3:] == [7, 9, 10])
    assert len(room.path.read_text().splitlines()) == 10, "each has a line of its own"
    assert room.port.counters["control handed on again"] == 4
    assert room.port.counters["control refused by the Gateway"] == 1
    assert len(room.said) == 5


def test_after_a_restart_what_the_tape_has_no_mark_of_was_not_done(name: str) -> None:
    asked: dict[int, MarketAction] = {
        1: Speed(speed=2.0),
        2: Model(changes={"kappa": 9.0}),
        3: Pause(),
        4: Resume(),
    }
    with closing(TapeWriter.open(name, 2 * CHUNK, "run-1")) as tape:
        for number in (1, 3):
            tape.append([Entry(1, float(number), 1, 0, int(Kind.CONTROL))])
        assert Steered(done(asked, tape)).actions() == [Speed(speed=2.0), Pause()]
        tape.append([Entry(1, 1.5, 1, 0, int(Kind.TICK))] * (2 * CHUNK - 1))  # 1 is written over, 3 is not
        assert list(done(asked, tape)) == [asked[1], asked[2], asked[3]]
        tape.append([Entry(1, 1.5, 1, 0, int(Kind.TICK))] * CHUNK)
        assert list(done(asked, tape)) == list(asked.values()), "nobody knows any more"


def test_the_same_gateway_is_not_told_again(room: Room) -> None:
    room.meet_gateway(session(5, 0, 1))
    steer(room, PAUSE.strip())
    room.gateway.hang_up()
    before = room.desk.counts.gaps
    room.meet_gateway(session(5, 4, 9))
    assert room.desk.counts.gaps == before + 1
    assert room.gateway.received() == b"" and room.said == []


def test_after_a_resume_and_a_reset_nothing_is_left_to_tell(room: Room) -> None:
    room.meet_gateway(session(5, 0, 1))
    steer(room, MODEL.strip(), PAUSE.strip(), '{"action": "resume"}', '{"action": "reset"}')
    room.gateway.hang_up()
    room.meet_gateway(session(6, 0, 1))
    assert room.gateway.received() == b"" and room.said == []


def test_a_gateway_that_does_not_answer_is_not_waited_for_for_ever_but_its_mark_still_counts(
    room: Room, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = 100.0
    monkeypatch.setattr(room.port._forwarding, "_clock", lambda: now)
    room.meet_gateway(session(5, 0, 1))
    client = room.connect(GREETING + PAUSE)
    room.asked()
    now += PATIENCE_S - 0.001
    room.port.tend()
    assert room.port.counters == {}
    now += 0.001
    room.port.tend()
    answer = room.answers(client, 1)[0]
    assert (answer["ok"], answer["id"]) == (False, 1) and "does not answer" in answer["error"]
    room.gateway.send(f"!C,1,{T0 + 1}*")
    room.until(lambda: room.marks() == [1])
    client.sendall(PAUSE.encode())
    assert room.asked() == '!CONTROL,2,{"action":"pause"}*'


def test_more_unanswered_actions_than_there_may_be_are_refused(room: Room) -> None:
    room.meet_gateway(session(5, 0, 1))
    room.desk.order_book.awaited |= set(range(1000, 1000 + MAX_UNMARKED))
    answer = room.answers(room.connect(GREETING + PAUSE), 1)[0]
    assert answer["ok"] is False and "has not answered" in answer["error"]


def test_a_client_that_goes_while_it_waits_takes_nothing_with_it(room: Room) -> None:
    room.meet_gateway(session(5, 0, 1))
    for said in (PAUSE, PAUSE + PAUSE):
        leaver = room.connect(GREETING + said)
        room.asked()
        leaver.close()
    stayer = room.connect(GREETING + PAUSE)
    room.until(room.gateway.received)
    room.gateway.send("".join(f"!C,{number},{T0 + 1}*" for number in (1, 2, 3)))
    assert room.answers(stayer, 1)[0]["id"] == 3
    assert room.marks() == [1, 2, 3]
    room.until(lambda: len(room.port._clients) == 1)


def test_every_client_waits_for_its_own_action(room: Room) -> None:
    room.meet_gateway(session(5, 0, 1))
    clients = []
    for number in range(1, 9):
        clients.append(room.connect(GREETING + PAUSE))
        assert room.asked() == f'!CONTROL,{number},{{"action":"pause"}}*'
    for number in (3, 1, 8, 2):
        room.gateway.send(f"!C,{number},{T0 + 1}*")
        assert room.answers(clients[number - 1], 1)[0]["id"] == number


def test_a_gateway_that_reads_nothing_is_hung_up_on_at_last(room: Room) -> None:
    room.meet_gateway(session(5, 0, 1))
    while room.feed.connected:
        room.feed.forward(b"x" * 65536)
    assert room.feed.counters["ticks disconnected"] == 1


def test_drop_feed_marks_hangs_up_and_the_feed_is_made_again(room: Room) -> None:
    drop = '{"action": "drop_feed"}\n'
    stranded = room.answers(room.connect(GREETING + drop), 1)[0]
    assert stranded["ok"] is False and "no connection" in stranded["error"]
    room.meet_gateway(session(5, 0, 1))
    client = room.connect(GREETING + drop)
    assert room.answers(client, 1) == [{"ok": True, "id": 1, "seq": 2}]
    room.until(room.gateway.hung_up)
    room.meet_gateway(session(5, 3, 4))
    assert [record.kind for record in room.desk.seen(2)] == [Kind.CONTROL, Kind.GAP, Kind.TICK]
    assert room.marks() == [1]


# ------------------------------------------------------------------------------------------------- clients


@pytest.mark.parametrize(
    "said",
    [
        '{"token": "wrong"}\n',
        '{"token": "\\ud800"}\n',
        "GET / HTTP/1.1\r\n\r\n",
        KILL,
        "\n",
        "[" * 5000,
        "x" * 300,
    ],
)
def test_without_the_token_nothing_is_done_and_the_client_is_let_go(room: Room, said: str) -> None:
    stranger = room.connect(said + KILL)
    room.until(lambda: room.closed(stranger))
    assert room.desk.tape.tail == 0
    assert room.answers(room.connect(GREETING + KILL), 1) == [{"ok": True, "id": 1, "seq": 0}]


def test_a_line_without_an_end_is_not_kept_for_ever(room: Room) -> None:
    client = room.connect(GREETING)
    client.setblocking(True)
    with closing(client):
        sent = 0

        def refused() -> bool:
            nonlocal sent
            client.settimeout(0.001)
            try:
                sent += client.send(b"x" * 4096)
            except TimeoutError:
                return False
            except ConnectionError:
                return True
            return False

        room.until(refused)
        assert sent > MAX_LINE
    assert room.port.counters["control rejected: line too long"] == 1


def test_a_client_that_never_reads_is_not_read_from_either_and_the_others_are_served(room: Room) -> None:
    deaf = room.connect(GREETING)

    def deafened() -> bool:
        with contextlib.suppress(BlockingIOError):
            deaf.send(b"no\n" * 1000)
        return any(client.unsent for client in room.port._clients)

    room.until(deafened)
    refused = room.port.counters["control rejected: bad action"]
    for _ in range(3):
        deafened()
        room.loop.run_once(0)
    assert room.port.counters["control rejected: bad action"] == refused
    assert room.answers(room.connect(GREETING + KILL), 1)[0]["ok"]


def test_strangers_give_way_and_known_clients_do_not(room: Room) -> None:
    strangers = [room.connect() for _ in range(MAX_CLIENTS)]
    operators = []
    for number in range(MAX_CLIENTS):
        operators.append(room.connect(GREETING + KILL))
        assert room.answers(operators[-1], 1)[0]["id"] == number + 1
    for stranger in strangers:
        room.until(lambda stranger=stranger: room.closed(stranger))  # type: ignore[misc]
    late = room.connect(GREETING + KILL)
    room.until(lambda: room.closed(late))
    operators[0].sendall(KILL.encode())
    assert room.answers(operators[0], 1)[0]["ok"]


ACTIONS = st.sampled_from(
    [
        KILL,
        '{"action":"costs","latency_ms":5}\n',
        '{"action":"cancel","strategy":"a","client_order_id":"1.0"}\n',
    ]
)


@EXAMPLES
@given(
    lines=st.lists(
        st.one_of(
            ACTIONS.map(str.encode), st.binary(max_size=40).map(lambda b: b.replace(b"\n", b"") + b"\n")
        ),
        max_size=20,
    ),
    pieces=st.lists(st.integers(1, 60), min_size=1, max_size=20),
)
def test_whatever_is_sent_in_whatever_pieces_each_line_is_answered_and_no_mark_is_without_its_line(
    tmp_path_factory: pytest.TempPathFactory, lines: list[bytes], pieces: list[int]
) -> None:
    with open_room(tmp_path_factory.mktemp("run")) as room:
        client = room.connect(GREETING)
        data = b"".join(lines)
        while data:
            size = pieces[len(data) % len(pieces)]
            client.sendall(data[:size])
            data = data[size:]
            room.loop.run_once(0)
            room.assert_every_mark_has_its_line()
        good = [line for line in lines if line.startswith(b'{"action"')]
        answers = room.answers(client, len(lines)) if lines else []
        assert [answer["ok"] for answer in answers] == [line in good for line in lines]
        assert room.marks() == list(range(1, len(good) + 1)) == sorted(read_actions(room.path))


# ---------------------------------------------------------------------------------------------------- file


def test_ids_go_on_after_a_restart_and_a_torn_line_is_cut_off(tmp_path: Path) -> None:
    path = tmp_path / "control.jsonl"
    for start, torn in ((1, b'{"id":2,"ts_wa'), (2, b""), (3, b"{")):
        with closing(ControlLog(path)) as log:
            assert log.append(KillSwitch()) == start
        with path.open("ab") as file:
            file.write(torn)
    with closing(ControlLog(path)):
        assert list(read_actions(path)) == [1, 2, 3]
        assert path.read_bytes().endswith(b"}\n")


@pytest.mark.parametrize("last", [b"\0\0\0\n", b"{}\n", b'{"id":"7"}\n', b"\n"])
def test_a_file_that_does_not_say_its_last_id_is_refused_and_left_alone(tmp_path: Path, last: bytes) -> None:
    path = tmp_path / "control.jsonl"
    path.write_bytes(last)
    with pytest.raises(DamagedControlLog, match=r"control\.jsonl"):
        ControlLog(path)
    assert path.read_bytes() == last


def test_what_cannot_be_written_is_refused_and_not_marked(room: Room) -> None:
    client = room.connect(GREETING + KILL)
    assert room.answers(client, 1)[0]["ok"]
    before = room.path.read_bytes()
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    ignored = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (len(before) + 10, limits[1]))  # half a line goes in
    try:
        client.sendall(KILL.encode())
        answer = room.answers(client, 1)[0]
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, ignored)
    assert answer["ok"] is False and "control.jsonl cannot be written" in answer["error"]
    assert room.path.read_bytes() == before
    assert room.marks() == [1]
    client.sendall(KILL.encode())
    assert room.answers(client, 1) == [{"ok": True, "id": 2, "seq": 1}]
