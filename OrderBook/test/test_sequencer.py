"""What each message means: every rule of the sequencer, on the plain and on the compiled path."""

import time
from collections.abc import Iterator

import pytest

from OrderBook.test.desk import ROOM, T0, Desk, Path, R, S, compiled_path, plain
from shared_memory_utils import FeedPosition
from trading_lib import wire
from trading_lib.jit import compiled
from trading_lib.models import Kind

LONG_AGO = 1_759_311_000 * S  # 2025-10-01 09:30:00 UTC
LONGEST = "ABCDEFGHIJKLMNOPQRSTUVWX"  # 24 bytes

needs_kernels = pytest.mark.skipif(not compiled(), reason="there are no kernels in plain Python")


@pytest.fixture(params=[plain, pytest.param(compiled_path, marks=needs_kernels)], ids=["plain", "compiled"])
def path(request: pytest.FixtureRequest) -> Path:
    found: Path = request.param
    return found


@pytest.fixture
def desk(name: str, path: Path) -> Iterator[Desk]:
    with Desk(name, path) as desk:
        yield desk


def tick(ts: int, price: float = 1.5, symbol: str = "AAPL") -> R:
    return R(Kind.TICK, ts, price, symbol)


def news(ts: int, sentiment: float, symbol: str = "AAPL") -> R:
    return R(Kind.NEWS, ts, sentiment, symbol)


def epoch(ts: int) -> R:
    return R(Kind.EPOCH, ts)


def gap(ts: int, missed: float) -> R:
    return R(Kind.GAP, ts, missed)


# --------------------------------------------------------------------------------------------- a session


def test_a_session_keeps_the_gateways_order_times_and_due_instants(desk: Desk) -> None:
    desk.feed(f"!OK,5,0*!S,0,111*!E,{T0}*AAPL,1.5,{T0}*!N,MSFT,70,{T0 + 1}*")
    desk.feed(f"!S,3,222*MSFT,2.5,{T0 + 2}*")
    assert desk.seen() == [
        epoch(T0),
        tick(T0),
        news(T0 + 1, 70, "MSFT"),
        tick(T0 + 2, 2.5, "MSFT"),
    ]
    assert [record.due for record in desk.records()] == [111, 111, 111, 222]
    assert [record.seq for record in desk.records()] == [0, 1, 2, 3]
    assert desk.order_book.position == desk.tape.position == FeedPosition(5, 4)
    assert (desk.counts.ticks, desk.counts.news, desk.counts.epochs, desk.counts.gaps) == (2, 1, 1, 0)


def test_a_new_session_is_an_epoch_even_when_we_came_too_late_for_its_mark(desk: Desk) -> None:
    desk.feed(f"!OK,5,1000*!S,1000,7*AAPL,1.5,{T0}*AAPL,1.5,{T0 + 1}*")
    assert desk.seen() == [epoch(T0), tick(T0), tick(T0 + 1)]


@pytest.mark.parametrize("mark", ["T", "X"])
def test_a_mark_may_be_the_first_of_a_new_session(desk: Desk, mark: str) -> None:
    desk.feed(f"!OK,5,1000*!S,1000,7*!{mark},{T0}*AAPL,1.5,{T0}*")
    assert [record.kind for record in desk.seen()] == [
        Kind.EPOCH,
        {"T": Kind.TIME, "X": Kind.END}[mark],
        Kind.TICK,
    ]


def test_another_session_begins_another_epoch_and_its_earlier_times_are_not_late(desk: Desk) -> None:
    desk.feed(f"!OK,5,0*!S,0,7*AAPL,1.5,{T0}*")
    desk.connect(again=True)
    desk.feed(f"!OK,6,40*!S,40,7*AAPL,2.5,{T0 - 10 * S}*")
    assert desk.seen(2) == [epoch(T0 - 10 * S), tick(T0 - 10 * S, 2.5)]
    assert (desk.counts.late, desk.counts.gaps) == (0, 0)


def test_marks_have_their_kind_time_and_value(desk: Desk) -> None:
    desk.order_book.awaited.add(17)
    desk.feed(f"!OK,5,0*!S,0,9*!E,{T0}*!T,{T0 + 1}*!C,17,{T0 + 2}*!X,{T0 + 3}*!E,{T0 - 5}*")
    assert desk.seen() == [
        epoch(T0),
        R(Kind.TIME, T0 + 1),
        R(Kind.CONTROL, T0 + 2, 17.0),
        R(Kind.END, T0 + 3),
        epoch(T0 - 5),
    ]
    assert [record.due for record in desk.records()] == [9] * 5
    assert desk.counts.epochs == 2
    assert desk.order_book.position == FeedPosition(5, 5)


def test_an_actions_mark_is_told_when_it_is_on_the_tape_with_its_record(desk: Desk) -> None:
    told: list[tuple[int, int, bool]] = []
    book = desk.order_book
    book.on_done = lambda number, seq: told.append((number, seq, desk.tape.tail > seq))
    book.awaited |= {3, 4}
    desk.feed(f"!OK,5,0*!S,0,9*AAPL,1.5,{T0}*AAPL,2.5,{T0}*!C,3,{T0}*AAPL,1.5,{T0}*!C,4,{T0}*")
    assert told == [(3, 3, True), (4, 5, True)]
    assert [record.value for record in desk.seen() if record.kind is Kind.CONTROL] == [3.0, 4.0]
    assert not book.awaited


def test_the_mark_of_an_action_that_is_not_ours_is_on_the_tape_without_a_number(desk: Desk) -> None:
    told: list[int] = []
    desk.order_book.on_done = lambda number, _: told.append(number)
    desk.order_book.awaited.add(3)
    desk.feed(f"!OK,5,0*!S,0,9*AAPL,1.5,{T0}*!C,0,{T0}*!C,2,{T0}*!C,3,{T0}*!C,3,{T0}*")
    assert [record.value for record in desk.seen(2)] == [0.0, 0.0, 3.0, 0.0]
    assert told == [3]


def test_a_refusal_takes_no_feed_number_and_no_place_on_the_tape(desk: Desk) -> None:
    told: list[tuple[int, str]] = []
    desk.order_book.on_refused = lambda number, why: told.append((number, why))
    desk.feed(f"!OK,5,0*!S,0,9*AAPL,1.5,{T0}*!REFUSED,3,no such parameter*AAPL,2.5,{T0}*")
    assert told == [(3, "no such parameter")]
    assert desk.seen() == [epoch(T0), tick(T0), tick(T0, 2.5)]
    assert desk.order_book.position == FeedPosition(5, 2)
    assert desk.counts.rejected == {}


def test_what_a_source_has_lost_is_a_gap_at_its_place_and_no_loss_of_the_feed(desk: Desk) -> None:
    desk.feed(f"!OK,5,0*!S,0,9*AAPL,1.5,{T0}*!G,3,{T0 + 1}*AAPL,1.5,{T0 + 2}*")
    assert desk.seen(1) == [tick(T0), gap(T0 + 1, 3), tick(T0 + 2)]
    assert (desk.counts.gaps, desk.counts.missed) == (1, 3)
    assert desk.order_book.position == FeedPosition(5, 3)


def test_an_epoch_mark_lets_time_go_back(desk: Desk) -> None:
    desk.feed(f"!OK,5,0*!S,0,9*AAPL,1.5,{T0}*!E,{T0 - S}*AAPL,1.5,{T0 - S}*")
    assert desk.seen(1) == [tick(T0), epoch(T0 - S), tick(T0 - S)]
    assert desk.counts.late == 0


def test_an_earlier_stamp_is_raised_to_the_last_one_and_counted(desk: Desk) -> None:
    desk.feed(f"!OK,5,0*!S,0,9*AAPL,1.5,{T0}*AAPL,1.5,{T0 - 1}*!N,AAPL,50,{T0 - 2}*")
    desk.feed(f"!T,{T0 - 3}*!C,1,{T0 - 4}*AAPL,2.5,{T0 + 1}*AAPL,1.5,{T0}*")
    assert [record.ts for record in desk.seen()] == [T0] * 6 + [T0 + 1] * 2
    assert desk.counts.late == 5
    assert desk.book.read_slot(0) == (1.5, T0 + 1)


def test_a_session_tick_without_a_time_takes_the_heads(desk: Desk) -> None:
    desk.feed(f"!OK,5,0*!S,0,9*AAPL,1.5,{T0}*AAPL,2.5*!N,AAPL,50*")
    assert desk.seen(1) == [tick(T0), tick(T0, 2.5), news(T0, 50)]


def test_a_session_that_never_said_when_it_was_due_is_due_now(desk: Desk) -> None:
    before = time.time_ns()
    desk.feed(f"!OK,5,0*AAPL,1.5,{T0}*", f"AAPL,1.5,{T0}*" * 5)
    assert all(before <= record.due <= time.time_ns() for record in desk.records())
    slowest = desk.order_book.tick_to_book.percentile(100)
    assert slowest is not None and slowest < 600 * S


# --------------------------------------------------------------------------------------------------- gaps


def test_missing_feed_numbers_are_a_gap_of_exactly_so_many(desk: Desk) -> None:
    desk.feed(f"!OK,5,0*!S,0,9*AAPL,1.5,{T0}*!S,4,9*AAPL,1.5,{T0 + 1}*!S,5,9*AAPL,1.5,{T0 + 2}*")
    assert desk.seen(1) == [tick(T0), gap(T0, 3), tick(T0 + 1), tick(T0 + 2)]
    assert (desk.counts.gaps, desk.counts.missed) == (1, 3)
    assert desk.order_book.position == FeedPosition(5, 6)


def test_a_feed_number_that_goes_back_is_counted_and_no_gap(desk: Desk) -> None:
    desk.feed(f"!OK,5,10*!S,10,9*AAPL,1.5,{T0}*!S,10,9*AAPL,2.5,{T0 + 1}*")
    assert desk.seen(1) == [tick(T0), tick(T0 + 1, 2.5)]
    assert desk.counts.rejected == {"feed number went back": 1}
    assert desk.order_book.position == FeedPosition(5, 11)


@pytest.mark.parametrize("missed", [0, 1, 12_345])
def test_what_a_session_sent_while_the_connection_was_lost_is_a_gap_of_exactly_so_many(
    desk: Desk, missed: int
) -> None:
    desk.feed(f"!OK,5,0*!S,0,9*AAPL,1.5,{T0}*AAPL,1.5,{T0 + 1}*MSFT,2.5,{T0 + 2}*MSFT,2")
    desk.connect(again=True)
    desk.feed(f"!OK,5,{3 + missed}*!S,{3 + missed},9*AAPL,3.5,{T0 + 3}*")
    expected = [gap(T0 + 2, missed)] if missed else []
    assert desk.seen(4) == [*expected, tick(T0 + 3, 3.5)]
    assert desk.counts.missed == missed
    assert desk.order_book.position == FeedPosition(5, 4 + missed)


@pytest.mark.parametrize("missed", [0, 7])
def test_across_a_restart_of_the_sequencer_the_gap_is_exact_too(desk: Desk, missed: int) -> None:
    """The position comes from the tape: 1,000 records in one piece, published in several chunks."""
    body = "".join(f"AAPL,1.5,{T0 + n}*" for n in range(1000))
    desk.feed(f"!OK,5,0*!S,0,9*{body}")
    desk.crash_and_return()
    assert desk.tape.adopted
    assert desk.order_book.position == FeedPosition(5, 1000)
    assert desk.order_book.last_ts == T0 + 999
    desk.feed(f"!OK,5,{1000 + missed}*!S,{1000 + missed},9*AAPL,2.5,{T0 + 500}*")
    assert desk.seen(1001) == [gap(T0 + 999, missed), tick(T0 + 999, 2.5)]
    assert (desk.counts.late, desk.counts.gaps, desk.counts.missed) == (1, 1, missed)
    assert desk.book.read_slot(0) == (2.5, T0 + 999)


def test_a_restarted_sequencer_that_meets_another_session_cannot_know_what_it_missed(desk: Desk) -> None:
    desk.feed(f"!OK,5,0*!S,0,9*AAPL,1.5,{T0}*")
    desk.crash_and_return()
    desk.feed(f"!OK,6,3*!S,3,9*AAPL,2.5,{T0 - S}*")
    assert desk.seen(2) == [gap(T0, -1), epoch(T0 - S), tick(T0 - S, 2.5)]


def test_a_restarted_sequencer_that_meets_a_plain_source_cannot_know_either(desk: Desk) -> None:
    desk.feed(f"AAPL,1.5,{T0}*")
    desk.crash_and_return()
    desk.feed(f"AAPL,2.5,{T0 + S}*AAPL,3.5,{T0}*")
    assert desk.seen(2) == [gap(T0, -1), tick(T0 + S, 2.5), tick(T0 + S, 3.5)]
    assert desk.counts.late == 1


def test_an_answer_below_the_known_position_is_no_negative_gap(desk: Desk) -> None:
    desk.feed(f"!OK,5,10*!S,10,9*AAPL,1.5,{T0}*")
    desk.crash_and_return()
    desk.feed(f"!OK,5,4*!S,4,9*AAPL,2.5,{T0}*")
    assert desk.seen(2) == [gap(T0, 0), tick(T0, 2.5)]


# ---------------------------------------------------------------------------------------- a plain source


def test_a_plain_source_without_times_is_stamped_on_arrival(desk: Desk) -> None:
    before = time.time_ns()
    desk.feed("AAPL,1.5*MSFT,2.5*")
    between = time.time_ns()
    desk.feed("AAPL,3.5*")
    stamps = [record.ts for record in desk.seen()]
    assert [record.kind for record in desk.seen()] == [Kind.EPOCH, Kind.TICK, Kind.TICK, Kind.TICK]
    assert stamps == sorted(stamps)
    assert before <= stamps[0] <= stamps[2] <= between <= stamps[3] <= time.time_ns()
    assert [record.due for record in desk.records()][3] >= between


def test_a_third_partys_first_real_time_begins_an_epoch_and_no_tick_is_late(desk: Desk) -> None:
    """Untimed news on one port comes first, then `SYMBOL,PRICE,2025-10-01 09:30:00*` on the other."""
    before = time.time_ns()
    desk.feed_news("AAPL,70*")
    desk.feed("AAPL,1.5,2025-10-01 09:30:00*")
    desk.feed_news("MSFT,30*")
    desk.feed("MSFT,2.5,2025-10-01 09:30:01*AAPL,3.5,2025-10-01 09:30:02*")
    desk.feed_news("AAPL,55*")
    seen = desk.seen()
    assert [record.kind for record in seen[:2]] == [Kind.EPOCH, Kind.NEWS]
    assert before <= seen[0].ts <= seen[1].ts <= time.time_ns()
    assert seen[2:] == [
        epoch(LONG_AGO),
        tick(LONG_AGO, 1.5),
        news(LONG_AGO, 30, "MSFT"),
        tick(LONG_AGO + S, 2.5, "MSFT"),
        tick(LONG_AGO + 2 * S, 3.5),
        news(LONG_AGO + 2 * S, 55),
    ]
    assert (desk.counts.late, desk.counts.gaps) == (0, 0)


def test_real_times_ahead_of_our_clock_begin_no_epoch_and_are_real_from_then_on(desk: Desk) -> None:
    ahead = time.time_ns() + 3600 * S
    desk.feed(f"AAPL,1.5*AAPL,1.5,{ahead}*AAPL,1.5,{ahead - S}*")
    assert [record.kind for record in desk.seen()] == [Kind.EPOCH, Kind.TICK, Kind.TICK, Kind.TICK]
    assert [record.ts for record in desk.seen(2)] == [ahead, ahead]
    assert desk.counts.late == 1


def test_news_without_a_time_takes_the_heads_once_ticks_have_one(desk: Desk) -> None:
    desk.feed(f"AAPL,1.5,{T0}*AAPL,2.5,{T0 + 5}*")
    desk.feed_news("AAPL,80*")
    desk.feed("AAPL,3.5*", f"AAPL,1.5,{T0 + 4}*")
    assert desk.seen() == [
        epoch(T0),
        tick(T0),
        tick(T0 + 5, 2.5),
        news(T0 + 5, 80),
        tick(T0 + 5, 3.5),
        tick(T0 + 5),
    ]
    assert desk.counts.late == 1


def test_a_plain_source_that_reconnects_is_a_gap_nobody_can_count(desk: Desk) -> None:
    desk.feed(f"AAPL,1.5,{T0}*")
    for n in (1, 2):
        desk.connect(again=True)
        desk.feed(f"AAPL,{n}.5,{T0 + n}*")
    assert desk.seen(1) == [
        tick(T0),
        gap(T0, -1),
        tick(T0 + 1, 1.5),
        gap(T0 + 1, -1),
        tick(T0 + 2, 2.5),
    ]
    assert (desk.counts.gaps, desk.counts.missed, desk.counts.epochs) == (2, 0, 1)


def test_a_plain_source_that_reconnects_with_earlier_times_begins_an_epoch_once(desk: Desk) -> None:
    desk.feed(f"AAPL,1.5,{T0}*")
    desk.connect(again=True)
    desk.feed("AAPL,2.5*", f"AAPL,2.5,{T0 - 9}*AAPL,2.5,{T0 - 10}*AAPL,2.5,{T0 - 8}*")
    assert desk.seen(1) == [
        tick(T0),
        gap(T0, -1),
        tick(T0, 2.5),
        epoch(T0 - 9),
        tick(T0 - 9, 2.5),
        tick(T0 - 9, 2.5),
        tick(T0 - 8, 2.5),
    ]
    assert desk.counts.late == 1


def test_a_second_connection_of_a_plain_source_is_no_gap_and_no_epoch(desk: Desk) -> None:
    """The news port, connected to when the tick port has turned out to be plain."""
    desk.feed(f"AAPL,1.5,{T0}*")
    desk.order_book.connected(desk.source, again=False)
    desk.feed_news("AAPL,70*")
    desk.feed(f"AAPL,1.5,{T0 + 1}*")
    assert desk.seen() == [epoch(T0), tick(T0), news(T0, 70), tick(T0 + 1)]


def test_what_came_before_the_answer_to_the_hello_counts_and_the_session_is_an_epoch(desk: Desk) -> None:
    desk.feed("AAPL,1.5*AAPL,2.5*", f"!OK,5,0*!S,0,9*AAPL,3.5,{T0}*AAPL,4.5,{T0 + 1}*")
    assert [record.kind for record in desk.seen()[:3]] == [Kind.EPOCH, Kind.TICK, Kind.TICK]
    assert desk.seen(3) == [epoch(T0), tick(T0, 3.5), tick(T0 + 1, 4.5)]
    assert (desk.counts.ticks, desk.counts.late) == (4, 0)
    assert desk.order_book.position == FeedPosition(5, 2)


def test_a_plain_source_in_a_sessions_place_has_times_of_its_own_and_leaves_its_position(desk: Desk) -> None:
    desk.feed(f"!OK,5,0*!S,0,9*AAPL,1.5,{T0}*AAPL,1.5,{T0}*")
    desk.connect(again=True)
    before = time.time_ns()
    desk.feed("AAPL,2.5*", "AAPL,2.5*" * 10)
    assert desk.seen(3)[0] == gap(T0, -1)
    assert all(before <= record.ts <= time.time_ns() for record in desk.seen(4))
    assert desk.order_book.position == desk.tape.position == FeedPosition(5, 2)
    desk.connect(again=True)
    tail = desk.tape.tail
    desk.feed(f"!OK,5,8*!S,8,9*AAPL,3.5,{T0 + 1}*AAPL,3.5,{T0 + 2}*")
    assert [record.kind for record in desk.seen(tail)] == [Kind.GAP, Kind.EPOCH, Kind.TICK, Kind.TICK]
    assert desk.seen(tail)[0].value == 6
    assert desk.seen(tail)[1:] == [epoch(T0 + 1), tick(T0 + 1, 3.5), tick(T0 + 2, 3.5)]
    assert desk.counts.late == 0


def test_times_are_read_in_all_their_forms(desk: Desk) -> None:
    second = LONG_AGO // S
    desk.feed("AAPL,1.5,2025-10-01 09:30:00*", f"AAPL,1.5,{second}*AAPL,1.5,{second}.000000001*")
    desk.feed(f"AAPL,1.5,{LONG_AGO + 2}*", f" AAPL , 1.5 , {second}.5 *")
    assert [record.ts - LONG_AGO for record in desk.seen(1)] == [0, 0, 1, 2, S // 2]


# -------------------------------------------------------------------------------------- symbols and book


def test_the_book_has_the_last_price_and_its_tape_time_and_news_is_none(desk: Desk) -> None:
    desk.feed(f"!OK,5,0*!S,0,9*AAPL,1.5,{T0}*MSFT,2.5,{T0 + 1}*AAPL,3.5,{T0 + 2}*!N,MSFT,99,{T0 + 3}*")
    assert desk.book.read_slot(0) == (3.5, T0 + 2)
    assert desk.book.read_slot(1) == (2.5, T0 + 1)
    assert desk.book.versions().tolist() == [2, 1]


def test_unknown_symbols_are_added_to_the_capacity_and_then_counted(desk: Desk) -> None:
    names = ["AAPL", *(f"NEW{n}" for n in range(6)), LONGEST]
    desk.feed(f"!OK,5,0*!S,0,9*!E,{T0}*", *(f"{symbol},1.5,{T0}*" for symbol in names * 2))
    known = ["AAPL", *(f"NEW{n}" for n in range(ROOM - 2))]
    assert desk.seen(1) == [tick(T0, 1.5, symbol) for symbol in known * 2]
    assert desk.book.symbols == ("AAPL", "MSFT", *known[1:])
    assert desk.counts.rejected == {"no room for another symbol": 6}
    assert desk.order_book.position == FeedPosition(5, 17)
    desk.feed(f"!S,17,9*MSFT,2.5,{T0}*")
    assert desk.seen()[-1] == tick(T0, 2.5, "MSFT")
    assert desk.counts.gaps == 0


def test_a_symbol_that_another_process_added_has_its_slot(desk: Desk) -> None:
    desk.feed(f"AAPL,1.5,{T0}*")
    desk.book.add("THEIRS")
    desk.feed(f"THEIRS,2.5,{T0}*OURS,3.5,{T0}*THEIRS,4.5,{T0}*")
    assert desk.seen(2) == [tick(T0, 2.5, "THEIRS"), tick(T0, 3.5, "OURS"), tick(T0, 4.5, "THEIRS")]


# --------------------------------------------------------------------------------------------- rejections


@pytest.mark.parametrize(
    ("frame", "reason"),
    [
        ("*", "wrong number of fields"),
        ("AAPL*", "wrong number of fields"),
        ("AAPL,1.5,1,2*", "wrong number of fields"),
        (",1.5*", "bad symbol"),
        ("AA PL,1.5*", "bad symbol"),
        ("AAPL\0,1.5*", "bad symbol"),
        ("\0,1.5*", "bad symbol"),
        (f"{LONGEST}Y,1.5*", "bad symbol"),
        ("Ä,1.5*", "bad symbol"),
        *((f"AAPL,{price}*", "bad price") for price in ("", "x", "nan", "inf", "-1", "0", "0.0", "1e999")),
        *((f"AAPL,{price}*", "bad price") for price in ("1_0", ".", "1.5.5", "0x10", "--1", "1e", "１")),
        *((f"AAPL,1.5,{when}*", "bad timestamp") for when in ("", "x", "-1", "123456789012", "1e18")),
        (f"AAPL,1.5,{2**63}*", "bad timestamp"),
        ("AAPL,1.5,2025-13-01 00:00:00*", "bad timestamp"),
        ("AAPL,1.5,2025-10-01T09:30:00*", "bad timestamp"),
        ("!N,AAPL,101*", "bad sentiment"),
        ("!N,AAPL,-1*", "bad sentiment"),
        ("!N,AAPL,good*", "bad sentiment"),
        ("!N,AAPL,50.0*", "bad sentiment"),
        ("!N,AAPL*", "wrong number of fields"),
        ("!*", "bad control frame"),
        ("!S*", "bad control frame"),
        ("!S,x,1*", "bad control frame"),
        ("!S,1,2,3*", "bad control frame"),
        (f"!T,{2**63}*", "bad control frame"),
        ("!E,-1*", "bad control frame"),
        ("!C,1*", "bad control frame"),
        ("!REFUSED,1*", "bad control frame"),
        ("!REFUSED,x,why*", "bad control frame"),
        ("!G,1*", "bad control frame"),
        (f"!G,0,{T0}*", "bad control frame"),
        ("!OK,6,0*", "bad control frame"),
        (f"!S,{2**62 + 1},0*", "bad control frame"),
        (f"!S,{2**63 - 1},0*", "bad control frame"),
        ("!HELLO,1,feed*", "bad control frame"),
        ("!Q,1*", "bad control frame"),
        ("x" * 257 + "*", "frame too long"),
    ],
)
def test_a_bad_frame_is_counted_by_its_reason_takes_its_number_and_the_next_one_is_served(
    desk: Desk, frame: str, reason: str
) -> None:
    said: list[wire.Rejection] = []
    desk.order_book.on_rejected = said.append
    desk.feed(f"!OK,5,0*!S,0,9*AAPL,1.5,{T0}*", frame, f"!S,2,9*AAPL,2.5,{T0}*")
    assert desk.counts.rejected == {reason: 1}
    assert [rejection.reason for rejection in said] == [reason]
    assert desk.seen(1) == [tick(T0), tick(T0, 2.5)]
    assert desk.order_book.position == FeedPosition(5, 3)


@pytest.mark.parametrize("number", [2**62 + 1, 2**63 - 1])
def test_an_answer_with_a_number_beyond_counting_is_rejected(desk: Desk, number: int) -> None:
    desk.feed(f"!OK,5,{number}*AAPL,1.5*", f"!OK,5,{2**62}*!S,{2**62},7*AAPL,1.5,{T0}*AAPL,1.5,{T0}*")
    assert desk.counts.rejected == {"bad control frame": 1}
    assert desk.order_book.position == desk.tape.position == FeedPosition(5, 2**62 + 2)


def test_bytes_that_are_not_text_are_counted(desk: Desk) -> None:
    desk.ticks.take(b"\xff\xfe,1.5*AAPL,1.5*")
    assert desk.counts.rejected == {"not UTF-8": 1}
    assert desk.counts.ticks == 1


@pytest.mark.parametrize(
    "frame", ["!REFUSED,1,x*", f"!T,{T0}*", f"!E,{T0}*", "!S,1,2*", "!OK,0,0*", "!HELLO*", "!*"]
)
def test_a_plain_source_has_no_control_frames(desk: Desk, frame: str) -> None:
    desk.feed("AAPL,1.5*", frame, "AAPL,2.5*")
    assert desk.counts.rejected == {"control frame from a plain source": 1}
    assert desk.counts.ticks == 2


def test_a_frame_without_an_end_is_counted_once_however_long_it_is(desk: Desk) -> None:
    for _ in range(20):
        desk.ticks.take(b"y" * 100_000)
    assert desk.counts.rejected == {"frame too long": 1}
    desk.feed("still the same one*AAPL,1.5*")
    assert desk.counts.rejected == {"frame too long": 1}
    assert desk.counts.ticks == 1


def test_a_flood_of_rejections_is_counted_to_the_last_and_the_next_good_one_is_served(desk: Desk) -> None:
    desk.ticks.take(b"?*" * 20_000)
    desk.feed("AAPL,1.5*")
    assert desk.counts.rejected == {"wrong number of fields": 20_000}
    assert desk.counts.ticks == 1


# ------------------------------------------------------------------------------------------- publishing


def test_every_tail_has_the_feed_position_that_goes_with_it(desk: Desk) -> None:
    """A kill between two chunks of one piece must not lose or repeat a record: number = tail, here."""
    pairs: list[tuple[int, FeedPosition]] = []
    publish = desk.tape._write_checkpoint

    def watch(tail: int, position: FeedPosition) -> None:
        pairs.append((tail, position))
        publish(tail, position)

    desk.tape._write_checkpoint = watch  # type: ignore[method-assign]
    desk.feed(f"!OK,5,0*!S,0,9*!E,{T0}*", *(f"!C,1,{T0 + n}*" for n in range(2000)))
    assert pairs
    assert all(position == FeedPosition(5, tail) for tail, position in pairs)
    assert desk.tape.tail == 2001
