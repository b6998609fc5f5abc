"""The control port: an action is in its file before its mark is on the tape, and no client can hurt."""

import contextlib
import json
import resource
import signal
from contextlib import closing
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from OrderBook.control import MAX_CLIENTS, MAX_LINE, BadAction, parse_action
from OrderBook.control_log import ControlLog, DamagedControlLog
from OrderBook.test.control_room import GREETING, KILL, Room, open_room
from OrderBook.test.desk import T0
from trading_lib.control import (
    Cancel,
    Costs,
    HotReload,
    KillSwitch,
    Params,
    parse_strategy_actions,
    read_actions,
)
from trading_lib.models import Kind

EXAMPLES = settings(
    deadline=None,
    max_examples=150,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
)


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
