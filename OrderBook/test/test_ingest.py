"""The compiled path and the plain one leave the same records, books, counts and positions, for any bytes."""

import random
import socket
import time
from collections.abc import Iterator
from contextlib import ExitStack, closing
from dataclasses import replace
from itertools import pairwise
from pathlib import Path as FilePath
from typing import Any, NamedTuple

import numpy as np
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from OrderBook.ingest import Ingest, make_ingest, warm_kernels
from OrderBook.order_book import OrderBook, Source
from OrderBook.test.actors import sequencer
from OrderBook.test.desk import T0, Desk, Path, compiled_path, plain
from runtime.loop import EventLoop
from shared_memory.layout import CHUNK
from shared_memory.test.actors import actor, first_words
from shared_memory_utils import (
    RECORD_DTYPE,
    FeedPosition,
    SharedPriceBook,
    TapeReader,
    TapeWriter,
    unlink_all,
)
from testing.harness import segment_name, segments, wait_until
from trading_lib.jit import compiled
from trading_lib.models import Kind

EXAMPLES = settings(
    deadline=None,
    max_examples=400,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.large_base_example],
)
LONGEST = "ABCDEFGHIJKLMNOPQRSTUVWX"  # 24 bytes
A_DAY = 86_400 * 10**9
PUBLISHED = b"*AAPL,1.5*"  # ends the frame that was begun; a record brings the position to the tape
WALL = -1  # what a test sees in place of a time of arrival
needs_kernels = pytest.mark.skipif(not compiled(), reason="there are no kernels in plain Python")
PATHS = [pytest.param(plain, id="plain"), pytest.param(compiled_path, id="compiled", marks=needs_kernels)]

# ------------------------------------------------------------------------------------ what may be on a wire

symbols = st.one_of(
    st.sampled_from(["AAPL", "MSFT"]),
    st.sampled_from(
        ["AAPL", "MSFT", "NEW1", "NEW2", "NEW3", "NEW4", "NEW5", "NEW6", "a.b/c=d-e^f:g_h", LONGEST]
    ),
    st.sampled_from(
        ["", " AAPL", "AAPL ", "AAPL\0", "AAP\0L", "\0", "aapl", "AA PL", "Ä", f"{LONGEST}Y", "!AAPL"]
    ),
)
prices = st.one_of(
    st.integers(1, 10**9).map(lambda m: str(m / 10**4)),
    st.floats(min_value=5e-324, allow_nan=False, allow_infinity=False).map(str),
    st.floats(1e-4, 1e6).map(str),
    st.from_regex(r"[0-9]{0,20}\.?[0-9]{0,20}", fullmatch=True),
    st.sampled_from(
        [
            "+1.5",
            "1e3",
            "1E-3",
            ".5",
            "5.",
            ".",
            "",
            "0",
            "0.0",
            "-1",
            "nan",
            "inf",
            "1.5.2",
            " 1.5",
            "1.5 ",
            "1 5",
        ]
    ),
    st.sampled_from(
        ["9007199254740991", "9007199254740993", "0.1234567890123456789", "0" * 22 + "1", "1\n", "\x001"]
    ),
)
recent = st.integers(0, 50).map(lambda n: str(T0 + n))
times = st.one_of(
    recent,
    st.sampled_from([2**63 - 1, 2**63, 10**19 - 1, 10**18, 10**17, 4 * 10**18]).map(str),
    st.sampled_from(
        ["2023-11-14 22:13:20", "2023-11-14 22:13:2", "1700000000", "1700000000.000000003", "17000000000"]
    ),
    st.sampled_from(
        ["", "x", "-1", "170000000000", f"0{T0}", f" {T0}", f"{T0} ", f"{T0}0", "0" * 19, "0" * 18, "+1"]
    ),
)
sentiments = st.one_of(
    st.integers(0, 100).map(str),
    st.sampled_from(["101", "-1", "-0", "+50", "050", "0050", "50.0", "", " 50", "999"]),
)
numbers = st.sampled_from(
    ["0", "1", "7", str(2**63 - 1), str(2**63), "9" * 19, "1" * 20, "", "x", "-1", " 3", "٣"]
)


def frame(*fields: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    return st.tuples(*fields).map(lambda parts: ",".join(parts) + "*")


good_ticks = st.one_of(
    frame(st.sampled_from(["AAPL", "MSFT"]), st.integers(1, 10**7).map(lambda m: str(m / 10**4)), recent),
    frame(st.sampled_from(["AAPL", "MSFT"]), st.integers(1, 10**7).map(lambda m: str(m / 10**4))),
)
text_frames = st.one_of(
    good_ticks,
    good_ticks,
    frame(symbols, prices),
    frame(symbols, prices, times),
    frame(symbols, prices, times, numbers),
    frame(st.just("!N"), st.sampled_from(["AAPL", "MSFT", "NEW1"]), sentiments, recent),
    frame(st.just("!N"), symbols, sentiments, times),
    frame(st.just("!N"), symbols, sentiments),
    frame(st.sampled_from(["!T", "!E", "!X"]), times),
    frame(st.just("!C"), numbers, times),
    frame(
        st.sampled_from(["!S", "! S", "!s", "!", "!N ", "!OK", "!HELLO", "!C", "!Q", "!!"]), numbers, numbers
    ),
    st.sampled_from(
        ["*", "**", "***", "!*", "!!*", "!S*", "!S,*", "!S,1*", "!N*", "!N,*", "!N,AAPL*", ",*", ",,*", "\n*"]
    ),
)
noise = st.one_of(
    st.binary(max_size=30),
    st.binary(max_size=30).map(lambda data: data + b"*"),
    st.sampled_from(
        [b"GET / HTTP/1.1\r\n\r\n", b"\r\nAAPL,1.5*", b"\xff,1.5*", b"AAPL,1.5", b"AAPL,", b"!N,", b"!"]
    ),
    st.integers(200, 1200).map(lambda size: b"x" * size),
    st.integers(200, 300).map(lambda size: b"AAPL," + b"0" * size + b"1*"),
)


class Burst(NamedTuple):
    """`!S` with the number that is right here plus `jump`, and then `ticks` good ticks."""

    jump: int
    due: int
    ticks: int


class Answer(NamedTuple):
    """`!OK` of a session, `jump` beyond the number that is right here."""

    session: int
    jump: int


class OnNewsPort(NamedTuple):
    """Bytes on the plain news port, which always takes the plain path."""

    data: bytes


class Reconnect(NamedTuple):
    """The connection is lost, with what it had begun to send."""


class Restart(NamedTuple):
    """The sequencer is killed, and its successor connects."""


Item = bytes | Burst | Answer | OnNewsPort | Reconnect | Restart
bursts = st.builds(
    Burst,
    st.sampled_from([0, 0, 0, 0, 1, 5, -1]),
    st.sampled_from([0, 5, 2 * 10**9]),
    st.one_of(st.integers(0, 5), st.sampled_from([CHUNK - 1, CHUNK, CHUNK + 1, 600])),
)
answers = st.builds(Answer, st.sampled_from([5, 5, 6]), st.sampled_from([0, 0, 3, -2]))
items = st.one_of(
    text_frames.map(str.encode),
    text_frames.map(str.encode),
    text_frames.map(str.encode),
    bursts,
    answers,
    noise,
    st.one_of(frame(symbols, sentiments), frame(symbols, sentiments, times)).map(str.encode).map(OnNewsPort),
    st.sampled_from([Reconnect(), Restart()]),
)
streams: st.SearchStrategy[list[Item]] = st.builds(
    lambda head, rest: [*head, *rest],
    st.sampled_from([[], [], [Answer(5, 0)], [Answer(5, 0), Burst(0, 5, 3)], [b"AAPL,1.5*"]]),
    st.lists(items, max_size=30),
)


def play(desk: Desk, stream: list[Item], places: list[int]) -> None:
    """Send a stream, cut at `places` (taken modulo its length); numbers follow what the sequencer has seen."""
    data = b""
    right = 0
    for item in [*stream, None]:
        match item:
            case bytes():
                data += item
                right += item.count(b"*")
            case Burst(jump, due, ticks):
                right = max(0, right + jump)
                data += f"!S,{right},{due}*".encode()
                data += "".join(f"AAPL,{n + 1}.5,{T0 + n}*" for n in range(ticks)).encode()
                right += ticks
            case Answer(session, jump):
                right = max(0, right + jump)
                data += f"!OK,{session},{right}*".encode()
            case _:
                send(desk, data, places)
                data = b""
                if isinstance(item, Restart):
                    desk.ticks.take(PUBLISHED)
                    desk.crash_and_return()
                elif isinstance(item, Reconnect):
                    desk.connect(again=True)
                elif isinstance(item, OnNewsPort):
                    desk.news.take(item.data)


def send(desk: Desk, data: bytes, places: list[int]) -> None:
    edges = sorted({0, len(data), *(place % (len(data) + 1) for place in places)})
    for start, end in pairwise(edges):
        desk.ticks.take(data[start:end])


class Left(NamedTuple):
    """What a sequencer leaves behind; wall-clock times as WALL."""

    records: list[tuple[Any, ...]]
    book: list[tuple[Any, ...]]
    counts: Any
    source: Any
    positions: list[FeedPosition]
    other: tuple[Any, ...]


def left_by(path: Path, stream: list[Item], places: list[int]) -> Left:
    """Play a stream to a sequencer of its own."""
    name = segment_name()
    begun = time.time_ns()

    def masked(ts: int) -> int:
        return WALL if begun - A_DAY < ts < begun + A_DAY else ts

    with Desk(name, path) as desk:
        play(desk, stream, places)
        positions = [desk.order_book.position]
        desk.ticks.take(PUBLISHED)
        positions += [desk.order_book.position, desk.tape.position]
        assert positions[1] == positions[2]
        records = desk.records()
        assert [record.seq for record in records] == list(range(desk.tape.tail))
        assert all(begun <= record.booked <= time.time_ns() for record in records)
        slots = range(desk.book.count)
        left = Left(
            [(masked(r.ts), r.value, masked(r.due), r.slot, Kind(r.kind)) for r in records],
            [
                (desk.book.symbols[n], desk.book.read_slot(n)[0], masked(desk.book.read_slot(n)[1] or 0))
                for n in slots
            ],
            desk.counts,
            replace(desk.source, due=masked(desk.source.due)),
            positions,
            (masked(desk.order_book.last_ts), desk.order_book.arrival_stamped, desk.book.versions().tolist()),
        )
    assert segments(name) == []
    return left


@needs_kernels
@EXAMPLES
@given(streams, st.lists(st.integers(0, 100_000), max_size=12))
@example([b"!*"], [])
@example([Answer(5, 0), b"!S,9223372036854775807,0*AAPL,1.5*"], [])
@example([b"AAPL,1.5*AAPL\0,2.5*"], [])
@example([Answer(5, 0), Burst(0, 5, 3), Reconnect(), b"AAPL,1.5*", b"AAPL,2.5*"], [])
@example([b"AAPL,1.5*", Answer(5, 0), Burst(0, 5, 3)], [])
@example([Answer(5, 0), b"AAPL,1.5*", b"AAPL,2.5*"], [])
@example([b"AAPL,1.5,1700000000000000000*", Reconnect(), b"AAPL,1.5*AAPL,1.5,1600000000000000000*"], [])
@example([Answer(5, 0), Burst(0, 5, 600), Restart(), Answer(5, 0), Burst(0, 5, 600)], [1000])
def test_both_paths_leave_the_same(stream: list[Item], places: list[int]) -> None:
    assert left_by(compiled_path, stream, places) == left_by(plain, stream, places)


@settings(EXAMPLES, max_examples=150)
@given(streams, st.lists(st.integers(0, 100_000), max_size=12))
@pytest.mark.parametrize("path", PATHS)
def test_any_split_of_the_bytes_leaves_the_same(path: Path, stream: list[Item], places: list[int]) -> None:
    assert left_by(path, stream, places) == left_by(path, stream, [])


@needs_kernels
@settings(deadline=None, max_examples=60)
@given(st.lists(text_frames.map(str.encode), max_size=6))
def test_both_paths_leave_the_same_when_bytes_come_one_at_a_time(frames: list[bytes]) -> None:
    stream: list[Item] = [Answer(5, 0), *frames]
    every = list(range(sum(len(frame) for frame in frames) + 20))
    assert left_by(compiled_path, stream, every) == left_by(plain, stream, every)


# ------------------------------------------------------------------------------------------------ sockets


@pytest.fixture(params=PATHS)
def desk(request: pytest.FixtureRequest, name: str) -> Iterator[Desk]:
    with Desk(name, request.param) as desk:
        yield desk


@pytest.fixture
def ends() -> Iterator[tuple[socket.socket, socket.socket]]:
    one, other = socket.socketpair()
    one.setblocking(False)
    with one, other:
        yield one, other


def ingest_of(desk: Desk) -> Ingest:
    return desk.ticks  # type: ignore[return-value]  # both have `receive` as well


def test_receive_reads_once_says_how_much_and_zero_at_the_end(
    desk: Desk, ends: tuple[socket.socket, socket.socket]
) -> None:
    here, there = ends
    ingest = ingest_of(desk)
    with pytest.raises(BlockingIOError):
        ingest.receive(here)
    there.send(b"AAPL,1.5*AAPL,2")
    assert ingest.receive(here) == 15
    assert desk.counts.ticks == 1
    there.send(b".5*")
    assert ingest.receive(here) == 3
    assert desk.book.read_slot(0)[0] == 2.5
    there.close()
    assert ingest.receive(here) == 0


@needs_kernels
def test_following_outlasts_a_packet_and_ends_with_the_stream_of_which_the_loop_hears(
    name: str, ends: tuple[socket.socket, socket.socket]
) -> None:
    here, there = ends
    heard: list[int] = []
    with Desk(name, compiled_path) as desk, closing(EventLoop()) as loop:
        ingest = ingest_of(desk)
        loop.add(here, heard.append)
        desk.ticks.take(b"AAPL,1.5*")  # from here on the kernel does it alone
        ingest.follow(here, loop, 0.0)  # it may have to be compiled
        there.send(b"AAPL,2.5*")
        begun = time.monotonic()
        assert ingest.follow(here, loop, 0.2)
        assert time.monotonic() - begun >= 0.2
        assert desk.counts.ticks == 2
        there.close()
        assert ingest.follow(here, loop, 60.0)
        assert not heard
        loop.run_once(0)
        assert heard


@pytest.mark.parametrize("path", PATHS)
def test_a_new_symbol_costs_the_same_however_many_there_are(
    name: str, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def whole_list(_: SharedPriceBook) -> None:
        raise AssertionError("every symbol so far was looked at for one more")

    with (
        closing(TapeWriter.open(name, 4096)) as tape,
        SharedPriceBook(["A"], name, create=True, capacity=5000) as book,
    ):
        ingest = path(OrderBook(tape, book), Source())
        with monkeypatch.context() as patch:
            patch.setattr(SharedPriceBook, "symbols", property(whole_list))
            ingest.take(b"".join(b"S%d,1.5*S%d,2.5*" % (n, n) for n in range(3000)))
        assert book.symbols == ("A", *(f"S{n}" for n in range(3000)))
        assert [book.symbol(slot) for slot in (0, 1, 3000)] == ["A", "S0", "S2999"]
        assert book.read_all().keys() == {f"S{n}" for n in range(3000)}


def test_a_long_stream_arrives_whole_in_whatever_pieces_the_kernel_makes(
    desk: Desk, ends: tuple[socket.socket, socket.socket]
) -> None:
    here, there = ends
    count = 60_000
    data = f"!OK,5,0*!S,0,9*!E,{T0}*" + "".join(f"AAPL,{n}.25,{T0 + n}*" for n in range(1, count + 1))
    rest = memoryview(data.encode())
    there.setblocking(False)
    ingest = ingest_of(desk)
    while rest:
        rest = rest[there.send(rest[: random.randrange(1, 300_000)]) :]
        assert ingest.receive(here) > 0
    there.close()
    while ingest.receive(here):
        pass
    assert desk.counts.ticks == count
    assert desk.tape.tail == count + 1
    assert desk.order_book.position == FeedPosition(5, count + 1)
    newest = desk.records(count - 4000)
    assert [record.value for record in newest] == [n + 0.25 for n in range(count - 4000, count + 1)]
    assert [record.ts - T0 for record in newest] == list(range(count - 4000, count + 1))
    assert (desk.counts.late, desk.counts.rejected.total()) == (0, 0)


def test_which_path_a_connection_takes(desk: Desk) -> None:
    ticks = make_ingest(desk.order_book, desk.source)
    news = make_ingest(desk.order_book, desk.source, news=True)
    assert type(ticks).__name__ == ("CompiledIngest" if compiled() else "PureIngest")
    assert type(news).__name__ == "PureIngest"


def test_warming_leaves_nothing_in_shared_memory() -> None:
    before = set(segments("algosim-warm"))
    warm_kernels(lambda _: None)
    assert set(segments("algosim-warm")) <= before


# ----------------------------------------------------------------------------------------- sleeping readers


def test_a_sleeping_reader_is_woken_by_every_way_a_record_can_be_published(
    desk: Desk, name: str, tmp_path: FilePath
) -> None:
    for frames in ("AAPL,1.5*", "NEW1,1.5*", "AAPL,2.5*", f"AAPL,1.5,{T0}*", f"AAPL,1.5,{T0 + 1}*"):
        with actor("sleep_on_tape", name, tmp_path) as sleeper:
            sleeper.wait_for("ready")
            desk.feed(frames)
            sleeper.wait_for("woken")


def test_no_wake_up_of_the_kernels_is_lost(desk: Desk, name: str, tmp_path: FilePath) -> None:
    """Ping-pong, each waiting for the other in one long sleep: a lost wake-up ends the test."""
    rounds = 1000
    with ExitStack() as stack:
        desk.feed(f"!OK,5,0*!S,0,9*AAPL,1.5,{T0}*")
        other = stack.enter_context(actor("echo", name, tmp_path, rounds))
        other.wait_for("listening")
        back = stack.enter_context(closing(TapeReader(f"{name}.back")))
        wait_until(lambda: desk.tape.panel.readers, "the other side")
        for n in range(rounds):
            desk.feed(f"AAPL,1.5,{T0 + n}*")
            while not back.take():
                back.wait(600.0)
        back.close()
        assert other.popen.wait(30) == 0, other.output


# ------------------------------------------------------------------------------------------ at full speed


def test_a_reader_at_the_rings_very_end_gets_whole_records_or_none(name: str, tmp_path: FilePath) -> None:
    """Where the writer is about to write, it has said so before: its intent covers the chunk it is at."""
    with ExitStack() as stack:
        stack.callback(unlink_all, name)
        process = sequencer(name, tmp_path)
        stack.callback(process.kill)
        first_words(process)
        reader = stack.enter_context(closing(TapeReader(name)))
        wait_until(lambda: reader.tail > 2 * reader.capacity)
        received = looks = 0
        while received < 500 or looks < 5_000:
            looks += 1
            reader.cursor = reader.tail - reader.capacity
            records = np.frombuffer(reader.take(random.randrange(1, CHUNK)), RECORD_DTYPE)
            assert (records["seq"] == np.arange(reader.cursor - len(records), reader.cursor)).all()
            received += len(records)
        assert process.alive, process.output


# --------------------------------------------------------------------------------------------------- kills


class Follower:
    """Reads the tape of `feed_flat_out` and checks that every tick is there once, in order."""

    def __init__(self, reader: TapeReader) -> None:
        self._reader = reader
        self._expected: int | None = None
        self.ticks = 0
        self.marks = 0

    def read(self) -> None:
        reader = self._reader
        missed = reader.missed
        records = np.frombuffer(reader.take(1 << 16), RECORD_DTYPE)
        if reader.missed != missed:
            self._expected = None
        assert (records["seq"] == np.arange(reader.cursor - len(records), reader.cursor)).all()
        ticks = records[records["kind"] == Kind.TICK]
        self.marks += len(records) - len(ticks)
        if len(ticks):
            first = int(ticks["value"][0])
            assert self._expected in (None, first)
            numbers = np.arange(first, first + len(ticks))
            assert (ticks["value"] == numbers).all()
            assert (ticks["ts"] == T0 + numbers - 1).all()
            assert (ticks["slot"] == 0).all()
            self._expected = first + len(ticks)
            self.ticks += len(ticks)


def kill_sequencers(name: str, folder: FilePath, kills: int, patience: float) -> None:
    """Sequencers adopt the tape from one another, each killed at full speed; a reader follows all of them."""
    with ExitStack() as stack:
        stack.callback(unlink_all, name)
        follower: Follower | None = None
        said: dict[str, Any] = {}
        for generation in range(1, kills + 2):
            process = sequencer(name, folder)
            stack.callback(process.kill)
            said = first_words(process, patience)
            assert said["generation"] == generation
            assert said["next"] == said["last_on_tape"], "the feed position and the tape disagree"
            assert said["whole"]
            if follower is None:
                reader = stack.enter_context(closing(TapeReader(name)))
                follower = Follower(reader)
            read_on(follower, reader, random.randrange(1, 200_000), patience)
            assert process.alive, process.output
            process.kill()
            while reader.cursor != reader.tail:
                follower.read()
        assert follower is not None
        print(
            f"\n{follower.ticks:,} ticks read, {reader.missed:,} missed by the reader, {kills + 1} writers killed"
        )


def read_on(follower: Follower, reader: TapeReader, more: int, patience: float) -> None:
    enough = reader.tail + more

    def far_enough() -> bool:
        follower.read()
        return reader.tail > enough

    wait_until(far_enough, "the sequencer to get so far", patience)


def test_every_tick_is_on_the_tape_once_though_sequencers_are_killed(name: str, tmp_path: FilePath) -> None:
    kill_sequencers(name, tmp_path, kills=3, patience=30)


@pytest.mark.chaos
@pytest.mark.timeout(3000)
def test_every_tick_is_on_the_tape_once_in_100_kills(name: str, tmp_path: FilePath) -> None:
    kill_sequencers(name, tmp_path, kills=120, patience=300)
