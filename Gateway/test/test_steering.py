"""An operator's actions on a running Gateway: what they change, and where their marks stand."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from config import load_config
from Gateway.encoder import Encoder
from Gateway.pacing import EventTime, Pacer, TicksPerSecond, Unpaced
from Gateway.providers import RandomWalkProvider
from Gateway.providers.provider import Provider
from Gateway.source import make_provider
from Gateway.steering import MAX_WAITING, Refused, Steering
from Gateway.test.feed import Running, Session, gateway, session
from testing.harness import wait_until
from trading_lib.control import MarketAction, Model, Pause, Reset, Resume, Schedule, Speed
from trading_lib.control_wire import encode_request
from trading_lib.models import NS_PER_S
from trading_lib.wire import Control, FeedDecoder, Message

MS = 1_000_000
MARKET = {
    "provider": "simulated",
    "model": {"type": "ou"},
    "pace": {"mode": "event"},
    "schedule": {"speed": 100},  # 500 rounds of four symbols a second
    "news": {"every_ticks": 10},
}


@contextmanager
def steered(folder: Path, **changes: Any) -> Iterator[tuple[Running, Session]]:
    """A simulated market, and a session with the control that has seen some of it."""
    with (
        gateway(folder, csv=None, Gateway={**MARKET, **changes}) as running,
        session(running, "wait", "control") as feed,
    ):
        feed.until(lambda: len(feed.ticks) > 10)
        yield running, feed


def source_of(folder: Path) -> Provider:
    """The same market, without a Gateway."""
    return make_provider(load_config(folder / "config.json"))[0]


def messages_of(source: Provider, count: int) -> list[Message]:
    """The next `count` records as a session's messages."""
    encoder, found = Encoder(source.symbols, source.decimals), list[Message]()
    while len(found) < count:
        found += FeedDecoder().feed(encoder.session(source.read(count - len(found))))
    return found


def split_at(feed: Session, number: int) -> tuple[list[Message], list[Message]]:
    """What came before and after a mark, other marks left out."""
    at = next(i for i, m in enumerate(feed.messages) if isinstance(m, Control) and m[1][0] == f"{number}")
    return [[m for m in part if m[0] != "C"] for part in (feed.messages[:at], feed.messages[at:])]  # type: ignore[return-value]


def more(feed: Session, count: int = 300) -> None:
    """Wait for so many more messages."""
    enough = len(feed.messages) + count
    feed.until(lambda: len(feed.messages) >= enough)


def test_in_a_pause_nothing_leaves_and_afterwards_it_goes_on_with_the_next_record(tmp_path: Path) -> None:
    with steered(tmp_path) as (_, feed):
        for first in range(1, 40, 13):
            feed.request(first, Pause())
            for number in range(first + 1, first + 11):
                feed.request(number, Speed(speed=100 + number))
            marks = feed.messages[-11:]
            assert [m[0] for m in marks] == ["C"] * 11, "a record left in a pause"
            feed.request(first + 11, Pause())
            feed.request(first + 12, Resume())
            more(feed)
        kept = [m for m in feed.messages if m[0] != "C"]
        assert kept == messages_of(source_of(tmp_path), len(kept))


def paced(make: Callable[[Provider], Pacer]) -> tuple[Steering, Pacer]:
    """A pacer over ticks 100 ms apart that has started at 0 and sent the first, and who steers it."""
    source = RandomWalkProvider(["AAPL"], 0, seed=42, dt_ms=100)
    pacer = make(source)
    pacer.start(0)
    pacer.take(0)
    return Steering(pacer), pacer


@pytest.mark.parametrize("make", [lambda s: TicksPerSecond(s, 10), lambda s: EventTime(s, 1)])
@pytest.mark.parametrize("late", [0, 250 * MS])
def test_the_schedule_stands_still_in_a_pause_whatever_is_done_in_it(
    make: Callable[[Provider], Pacer], late: int
) -> None:
    steering, pacer = paced(make)
    steering.apply(Pause(), 40 * MS + late)
    steering.apply(Speed(speed=3), 70 * MS + late)
    steering.apply(Pause(), 5 * NS_PER_S + late)
    steering.apply(Speed(speed=1), 6 * NS_PER_S + late)
    seen = [steering.paused]
    steering.apply(Resume(), 7 * NS_PER_S + 40 * MS + late)
    seen.append(steering.paused)
    assert abs(pacer.next_due() - (7 * NS_PER_S + 100 * MS)) <= 2  # two changes of speed, rounded to ns
    assert pacer.take(7 * NS_PER_S + 100 * MS + late).batch.size >= 1
    assert pacer.resyncs == 0
    due = pacer.next_due()
    steering.apply(Resume(), 8 * NS_PER_S)
    assert pacer.next_due() == due
    assert [*seen, steering.paused] == [True, False, False]


def test_flat_out_there_is_no_speed() -> None:
    steering, _ = paced(Unpaced)
    with pytest.raises(Refused, match="no speed"):
        steering.apply(Speed(speed=2), 0)
    assert steering.counters == {}


@pytest.mark.parametrize("seed", [None, 7])
def test_a_reset_begins_anew_with_an_epoch_right_after_its_mark(tmp_path: Path, seed: int | None) -> None:
    with steered(tmp_path) as (_, feed):
        feed.request(1, Reset(seed=seed))
        more(feed)
        before, after = split_at(feed, 1)
    assert after[0] == before[0] and before[0][0] == "E"
    source = source_of(tmp_path)
    source.restart(seed)
    assert after == messages_of(source, len(after))
    assert (after[: len(before)] == before[: len(after)]) is (seed is None)


def test_other_arrivals_begin_the_market_anew_and_stay_over_a_reset(tmp_path: Path) -> None:
    with steered(tmp_path) as (_, feed):
        feed.request(1, Schedule(mode="poisson", dt_ms=70))
        more(feed)
        feed.request(2, Reset())
        more(feed)
    (before, after), (until, again) = split_at(feed, 1), split_at(feed, 2)
    first = after[: len(until) - len(before)]
    source = source_of(tmp_path)
    source.set_schedule(70, random_arrivals=True)
    source.restart()
    assert again == messages_of(source, len(again))
    source.restart()
    assert first == messages_of(source, len(first)) and len(first) >= 300


def test_a_model_changes_exactly_at_its_mark_also_in_a_pause(tmp_path: Path) -> None:
    changes = [{"sigma": 3.0}, {"theta": 1.0, "kappa": 5.0}]
    with steered(tmp_path) as (_, feed):
        feed.request(1, Model(changes=changes[0]))
        more(feed)
        feed.request(2, Pause())
        feed.request(3, Model(changes=changes[1]))
        feed.request(4, Resume())
        more(feed)
    source, at = source_of(tmp_path), 0
    for number, change in ((1, changes[0]), (3, changes[1])):
        before, after = split_at(feed, number)
        assert before[at:] == messages_of(source, len(before) - at)
        source.set_model(change)
        at = len(before)
    assert after == messages_of(source, len(after))


@pytest.mark.parametrize(
    ("market", "action", "why"),
    [
        ({"provider": "random_walk"}, Model(changes={"kappa": 1.0}), "no model"),
        ({}, Model(changes={"kapa": 1.0}), "kapa"),
        ({}, Model(changes={"sigma": -1.0}), "sigma"),
        ({"provider": "random_walk"}, Schedule(mode="fixed", dt_ms=5), "not simulated"),
    ],
)
def test_what_cannot_be_is_refused_with_its_reason_and_leaves_no_mark(
    tmp_path: Path, market: dict[str, Any], action: MarketAction, why: str
) -> None:
    if market.get("provider"):
        market = {**market, "model": None}
    with steered(tmp_path, **market) as (_, feed):
        feed.request(1, action)
        assert why in feed.refused[1]
        more(feed)
        feed.request(2, Pause())
        assert feed.controls == ["2"]
        kept = feed.messages[:-1]
        assert kept == messages_of(source_of(tmp_path), len(kept))


def test_after_the_end_only_a_reset_is_taken(tmp_path: Path) -> None:
    with gateway(tmp_path) as running, session(running, "control") as feed:
        for number, ends in ((1, 1), (3, 2)):
            feed.until(lambda ends=ends: len(feed.marks("X")) == ends)  # type: ignore[misc]
            feed.request(number, Pause())
            assert feed.refused[number] == "the source has ended"
            feed.request(number + 1, Reset())
        feed.until(lambda: len(feed.marks("X")) == 3)
    assert feed.controls == ["2", "4"]
    assert len(feed.marks("E")) == 3 and len(feed.ticks) == 3 * 4


def test_others_see_where_something_was_done_but_may_do_nothing(tmp_path: Path) -> None:
    with steered(tmp_path) as (running, feed), session(running, "control") as other:
        other.until(lambda: other.id > 0)
        other.send(encode_request(5, Pause()))
        other.until(lambda: other.refused)
        assert "another session has the control" in other.refused[5]
        feed.request(6, Pause())
        other.until(lambda: other.controls)
        assert (other.controls, feed.controls) == (["0"], ["6"])
        feed.close()

        def taken_over() -> bool:
            other.refused.pop(7, None)
            other.request(7, Resume())
            return 7 not in other.refused

        wait_until(taken_over)
        assert other.controls == ["0", "7"]


def test_requests_at_once_are_taken_in_their_order_and_too_many_are_refused(tmp_path: Path) -> None:
    count = MAX_WAITING + 40
    with steered(tmp_path) as (_, feed):
        feed.send(b"".join(encode_request(n, Speed(speed=100)) for n in range(1, count + 1)))
        feed.until(lambda: len(feed.controls) + len(feed.refused) == count)
        assert [int(number) for number in feed.controls] == sorted(
            set(range(1, count + 1)) - set(feed.refused)
        )
        assert all("waiting already" in reason for reason in feed.refused.values())
        assert len(feed.controls) >= MAX_WAITING


def test_what_is_no_request_is_counted_and_the_next_one_is_served(tmp_path: Path) -> None:
    with steered(tmp_path) as (running, feed):
        feed.send(b"!CONTROL*!X,1,2*" + b"z" * 9000 + b"*!CONTROL,9,{}*")
        feed.until(lambda: 9 in feed.refused)
        assert "action" in feed.refused[9]
        feed.request(10, Pause())
        assert running.process.stop() == 0
