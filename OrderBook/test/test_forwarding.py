"""Actions on the market: handed on to the Gateway, answered by their mark, and told to one that begins anew."""

from contextlib import closing

import pytest

from OrderBook.forwarding import MAX_UNMARKED, PATIENCE_S
from OrderBook.steered import Steered, done
from OrderBook.test.control_room import GREETING, KILL, Room
from OrderBook.test.desk import T0
from OrderBook.test.gateway import session
from shared_memory.layout import CHUNK
from shared_memory_utils import Entry, TapeWriter
from trading_lib.control import (
    KillSwitch,
    MarketAction,
    Model,
    Pause,
    Resume,
    Speed,
    read_actions,
)
from trading_lib.models import Kind

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
