"""The event stream: a snapshot first, then everything in order; and no listener can harm another."""

import contextlib
import json
import socket
import struct
from collections.abc import Callable, Iterator
from typing import Any

import msgspec
import pytest

from OrderManager import records
from OrderManager.events import SCHEMA, EventServer
from OrderManager.records import event_of
from runtime.loop import EventLoop, PortInUse
from testing.harness import free_port, wait_until
from trading_lib.broker import Terms
from trading_lib.lane import Lane
from trading_lib.lane_state import take_head, take_state
from trading_lib.models import (
    Account,
    CancelRequest,
    Order,
    OrderStatus,
    OrderType,
    Report,
    Side,
    TimeInForce,
)
from trading_lib.risk import Limits

RUN_ID = "run-1"
TS = 1_735_828_200_000_000_123  # more digits than a JSON number keeps in every language

REPORT = Report(
    "sma", "7.0", 1, 2, OrderStatus.FILLED, "AAPL", Side.BUY, 10, 0, 8, TS, 10, 173.2, latency_ns=5
)
ACCOUNT = Account("sma", 0, 8, TS, "fill", "AAPL", 173.2, {"AAPL": 10.0}, 1.0, 2.0, 3.0, 4.0, 5.0)
ORDER = Order("AAPL", 10, 173.2, Side.BUY, TS, 7, 0, 99, OrderType.LIMIT, TimeInForce.GTC, 173.0)


class Stream:
    """An event server whose loop the test turns."""

    def __init__(self, **options: Any) -> None:
        self.loop = EventLoop()
        self.port = free_port()
        self.number = 0  # of the last record published
        self.server = EventServer(self.loop, "127.0.0.1", self.port, self._snapshot, **options)
        self.listeners: list[socket.socket] = []

    def _snapshot(self) -> dict[str, Any]:
        return {"type": "snapshot", "seq": self.number, "run_id": RUN_ID, "lanes": ["as they are"]}

    def publish(self, *found: records.JournalRecord) -> None:
        for record in found:
            self.number += 1
            self.server.publish(self.number, record, RUN_ID)
        self.server.flush()

    def turn(self) -> None:
        self.loop.run_once(0.005)

    def until(self, condition: Callable[[], object]) -> None:
        def turned() -> object:
            self.turn()
            return condition()

        wait_until(turned)

    def connect(self) -> socket.socket:
        before = self.server.counters["connected"]
        listener = socket.create_connection(("127.0.0.1", self.port))
        self.listeners.append(listener)
        self.until(lambda: self.server.counters["connected"] > before)
        listener.settimeout(0.01)
        return listener

    def lines(self, listener: socket.socket, count: int) -> list[dict[str, Any]]:
        """The first lines that a listener gets."""
        data = b""

        def enough() -> bool:
            nonlocal data
            with contextlib.suppress(TimeoutError):
                data += listener.recv(1 << 16)
            return data.count(b"\n") >= count

        self.until(enough)
        assert data.endswith(b"\n")
        return [json.loads(line) for line in data.splitlines()]

    def close(self) -> None:
        for listener in self.listeners:
            listener.close()
        self.server.close()
        self.loop.close()


@pytest.fixture
def stream() -> Iterator[Stream]:
    made = Stream()
    yield made
    made.close()


def horizon(seq: int) -> records.Horizon:
    return records.Horizon(seq)


# ------------------------------------------------------------------------------------------ what is said


def test_who_joins_gets_a_snapshot_first_and_then_what_follows_in_order(stream: Stream) -> None:
    stream.publish(horizon(1), horizon(2))  # nobody listens yet
    listener = stream.connect()
    stream.publish(REPORT, ACCOUNT, horizon(3))
    lines = stream.lines(listener, 4)
    assert [(line["type"], line["seq"]) for line in lines] == [
        ("snapshot", 2),
        ("report", 3),
        ("account", 4),
        ("horizon", 5),
    ]
    assert lines[0]["lanes"] == ["as they are"]
    assert {line["schema"] for line in lines} == {SCHEMA}
    assert {line["run_id"] for line in lines} == {RUN_ID}
    assert all(line["ts_wall"].isdigit() for line in lines)


def test_listeners_that_no_descriptor_was_left_for_are_counted(stream: Stream) -> None:
    stream.server._socket.refused = 3
    stream.connect()
    assert stream.server.counters["refused: no descriptor left"] == 3


def test_what_is_queued_when_somebody_joins_is_not_told_twice(stream: Stream) -> None:
    first = stream.connect()
    stream.number += 1
    stream.server.publish(stream.number, horizon(1), RUN_ID)  # not flushed
    second = stream.connect()
    stream.publish(horizon(2))
    assert [line["seq"] for line in stream.lines(first, 3)] == [0, 1, 2]
    assert [line["seq"] for line in stream.lines(second, 2)] == [1, 2]


def test_times_in_ns_are_strings_and_exact(stream: Stream) -> None:
    listener = stream.connect()
    stream.publish(REPORT, records.Taken("sma", 12, TS + 1, ORDER))
    _, report, order = stream.lines(listener, 3)
    assert (report["ts"], report["latency_ns"], report["tape_seq"]) == (str(TS), "5", 8)
    assert (order["ts"], order["sent_wall"]) == (str(TS), "99")


def test_a_report_has_every_field_of_it(stream: Stream) -> None:
    event = event_of(REPORT)
    assert event is not None
    expected = msgspec.structs.asdict(REPORT)
    expected["tape_seq"] = expected.pop("seq")
    expected |= {"type": "report", "ts": str(TS), "latency_ns": "5"}
    assert event == expected


def test_orders_cancels_and_notes_say_whose_they_are() -> None:
    order = event_of(records.Taken("sma", 12, TS, ORDER))
    assert order is not None
    names = ("type", "tape_seq", "wall", "order_type", "strategy_id", "number", "client_order_id", "symbol")
    assert {name: order[name] for name in names} == {
        "type": "order",
        "tape_seq": 7,
        "wall": str(TS),
        "order_type": "LIMIT",
        "strategy_id": "sma",
        "number": 12,
        "client_order_id": "7.0",
        "symbol": "AAPL",
    }
    cancel = event_of(records.Taken("sma", 0, TS, CancelRequest("7.0", TS, 9, 1)))
    assert cancel is not None
    assert (cancel["type"], cancel["client_order_id"], cancel["target"], cancel["ts"]) == (
        "cancel",
        "9.1",
        "7.0",
        str(TS),
    )
    assert event_of(records.Note("sma", 9, "restart")) == {
        "type": "note",
        "strategy_id": "sma",
        "tape_seq": 9,
        "what": "restart",
        "detail": "",
    }
    assert event_of(records.Recovered(TS, "7 bytes cut")) == {
        "type": "recovered",
        "wall": str(TS),
        "cut": "7 bytes cut",
    }


def test_what_only_a_recovery_needs_is_no_event(stream: Stream) -> None:
    lane = Lane("sma", Terms(), Limits())
    opened = records.Opened("sma", msgspec.json.encode(take_state(lane)))
    internal = (opened, take_head(lane), records.Checkpoint(0, []))
    assert [event_of(record) for record in internal] == [None] * 3
    listener = stream.connect()
    stream.publish(*internal, horizon(1))
    assert [line["seq"] for line in stream.lines(listener, 2)] == [0, 4]  # ascending, not without holes


# ------------------------------------------------------------------------------------------- bad neighbours


def test_many_listeners_get_the_same(stream: Stream) -> None:
    listeners = [stream.connect() for _ in range(20)]
    stream.publish(*[horizon(i) for i in range(100)])
    for listener in listeners:
        assert [line["seq"] for line in stream.lines(listener, 101)] == list(range(101))


def test_a_listener_that_never_reads_is_dropped_alone(
    stream: Stream, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("OrderManager.events.MAX_OUTBOX", 100_000)
    deaf, other = stream.connect(), stream.connect()
    heard = [line["seq"] for line in stream.lines(other, 1)]

    def dropped() -> bool:
        stream.publish(*[REPORT] * 100)
        heard.extend(line["seq"] for line in stream.lines(other, 100))
        return stream.server.counters["disconnected: does not read"] == 1

    stream.until(dropped)
    stream.publish(REPORT)
    heard.extend(line["seq"] for line in stream.lines(other, 1))
    assert heard == list(range(stream.number + 1))
    assert stream.server.clients == 1
    assert deaf.fileno() >= 0


def test_a_slow_listener_gets_every_line_whole_and_in_order(stream: Stream) -> None:
    slow = stream.connect()
    while not any(listener.outbox for listener in stream.server._listeners):  # until the kernel takes no more
        stream.publish(*[REPORT] * 200)
    count = stream.number + 1
    assert [line["seq"] for line in stream.lines(slow, count)] == list(range(count))


def test_garbage_from_a_listener_is_ignored(stream: Stream) -> None:
    listener = stream.connect()
    listener.sendall(b"GET / HTTP/1.1\r\n\r\n\xff\x00*!HELLO*")
    stream.until(lambda: stream.server.counters["bytes ignored"])
    stream.publish(horizon(1))
    assert [line["seq"] for line in stream.lines(listener, 2)] == [0, 1]


def reset(listener: socket.socket) -> None:
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    listener.close()


@pytest.mark.parametrize("leave", [socket.socket.close, reset])
def test_listeners_that_leave_leave_nothing_behind(
    stream: Stream, leave: Callable[[socket.socket], None]
) -> None:
    stays = stream.connect()
    for _ in range(10):
        leave(stream.connect())
        stream.publish(horizon(1))
    stream.until(lambda: stream.server.clients == 1)
    assert stream.server.counters["disconnected"] == 10
    assert len(stream.lines(stays, 11)) == 11


def test_one_listener_too_many_is_refused_and_counted() -> None:
    stream = Stream(max_clients=1)
    try:
        stream.connect()
        with socket.create_connection(("127.0.0.1", stream.port)) as refused:
            stream.until(lambda: stream.server.counters["refused: too many listeners"] == 1)
            refused.settimeout(30)
            assert refused.recv(1) == b""
        assert stream.server.clients == 1
    finally:
        stream.close()


def test_a_busy_port_names_its_key(stream: Stream) -> None:
    with pytest.raises(PortInUse, match=r"change OrderManager\.events_port"):
        EventServer(stream.loop, "127.0.0.1", stream.port, dict)


def test_at_its_end_what_was_published_is_still_sent() -> None:
    stream = Stream()
    listener = stream.connect()
    stream.lines(listener, 1)
    stream.number += 1
    stream.server.publish(stream.number, horizon(1), RUN_ID)
    stream.server.close()
    stream.loop.close()
    listener.settimeout(30)
    data = b""
    while received := listener.recv(4096):
        data += received
    listener.close()
    assert json.loads(data)["seq"] == 1
