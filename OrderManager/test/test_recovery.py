"""Killed at any instant and started again, a ledger stands where one that was left alone stands.

Two ledgers serve the same host on the same tape; one of them is killed over and over: between two rounds,
in the middle of a write, before an fdatasync. At the end lanes, reports and rows must be the same.
"""

import os
from collections import deque
from collections.abc import Callable, Iterator
from pathlib import Path
from random import Random

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from OrderManager import records
from OrderManager.journal import Journal, JournalError, JournalReader
from OrderManager.ledger import REQUESTS_AT_ONCE
from OrderManager.recovery import final_money
from OrderManager.test.ledger_room import (
    RUN_ID,
    STEP,
    SYMBOLS,
    Client,
    Room,
    Tape,
    cancel,
    limit,
    order,
    tape,
    ts_of,
)
from testing.harness import segment_name
from trading_lib.broker import Terms
from trading_lib.control import Action, Cancel, PlaceOrder
from trading_lib.lane import Lane, Request
from trading_lib.lane_state import LaneHead, LaneState
from trading_lib.models import Account, Kind, Order, OrderStatus, OrderType, Report, Side, TimeInForce
from trading_lib.risk import Limits
from trading_lib.tally import TallyState

EXAMPLES = settings(
    deadline=None,
    max_examples=12,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
)


class Killed(BaseException):
    """The process ends here: nothing may catch it."""


class Grave:
    """Lets a ledger die in its next write or fdatasync. `part`: how much of the write is still done."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.part: float | None = None
        self.before_sync = False
        monkeypatch.setattr("OrderManager.journal._write_all", self._write_all)
        monkeypatch.setattr("OrderManager.journal._sync_data", self._sync)

    def _write_all(self, fd: int, data: bytes, offset: int) -> None:
        if self.part is None:
            os.pwrite(fd, data, offset)
            return
        used = len(data.rstrip(b"\0"))
        os.pwrite(fd, data[: int(used * self.part)], offset)
        self.part = None
        raise Killed

    def _sync(self, fd: int) -> None:
        if self.before_sync:
            self.before_sync = False
            raise Killed
        os.fdatasync(fd)


@pytest.fixture
def grave(monkeypatch: pytest.MonkeyPatch) -> Grave:
    return Grave(monkeypatch)


def lane_of_all_kinds(strategy_id: str) -> Lane:
    """Costs, jitter, partial fills: whatever a recovery could get wrong."""
    terms = Terms(
        latency_ns=STEP * 3 // 2, latency_jitter_ns=3 * STEP, commission_fixed=0.1, partial_fills=0.3, seed=7
    )
    return Lane(strategy_id, terms, Limits(max_orders_per_s=50, max_position=60), account_every=25)


class Hosted:
    """A ledger and the one host it serves, which resends what was not acknowledged, as the order link does."""

    def __init__(self, folder: Path, market: Tape, actions: dict[int, Action]) -> None:
        folder.mkdir()
        self.room = Room(folder, market, lane_of_all_kinds)
        self.room.actions = actions
        self.heard: list[Report] = []
        self.kept: deque[Request] = deque()
        self.progress = market.tail
        self.client = self.room.join("sma", number=market.tail)
        self.room.ledger.settle()

    def send(self, requests: list[Request], progress: int) -> None:
        self.kept.extend(requests)
        self.progress = progress
        self.room.take(self.client, *requests, progress)

    def settle(self) -> None:
        self.room.ledger.settle()
        self._read()

    def _read(self) -> None:
        self.heard += self.client.reports
        for cause, index in self.client.acknowledged:
            while self.kept and (self.kept[0].cause_seq, self.kept[0].index) <= (cause, index):
                self.kept.popleft()
        self.client.reports.clear()
        self.client.acknowledged.clear()

    def kill(self) -> None:
        """The ledger dies and comes back; what it had said still reaches the host."""
        self._read()
        self.room.kill()
        self.come_back()

    def come_back(self) -> None:
        self.room.open()
        self.client = self.room.join("sma", "again", self.heard[-1].exec_id if self.heard else 0)
        self.room.take(self.client, *self.kept, self.progress)

    def tally(self, strategy: str) -> TallyState:
        return self.room.ledger.desks[strategy].tally.state()

    def stop(self) -> None:
        self.room.ledger.finish()
        self._read()
        self.room.ledger.close()
        self.room.market.close()


class Trader:
    """Ticks, news and quotes, and orders of every kind because of them."""

    def __init__(self, seed: int, market: Tape) -> None:
        self._random = Random(seed)
        self._market = market
        self._limits: list[str] = []
        self.actions: dict[int, Action] = {}  # an operator's
        self._by_hand: list[str] = []

    def ticks(self) -> None:
        random = self._random
        for _ in range(random.randint(1, 8)):
            price = round(random.uniform(9.8, 10.2), 2)
            kind = Kind.TICK if random.random() < 0.9 else random.choice([Kind.NEWS, Kind.TIME])
            symbol = random.choices(SYMBOLS, (8, 4, 1, 1))[0]
            self._market.put(50.0 if kind is not Kind.TICK else price, symbol=symbol, kind=kind)
            if random.random() < 0.1:
                self._operate(price, symbol)
        if random.random() < 0.02:
            self._market.put(0.0, kind=Kind.EPOCH)

    def _operate(self, price: float, symbol: str) -> None:
        """An operator orders by hand, or cancels what he did."""
        random, number = self._random, len(self.actions) + 1
        if self._by_hand and random.random() < 0.3:
            self.actions[number] = Cancel(strategy="manual", client_order_id=random.choice(self._by_hand))
        else:
            self._by_hand.append(f"{self._market.tail}.-1")
            self.actions[number] = PlaceOrder(
                symbol=symbol,
                side=random.choice(list(Side)),
                qty=random.randint(1, 20),
                type=random.choice(("market", "limit")),
                price=price,
            )
        self._market.put(float(number), kind=Kind.CONTROL)

    def requests(self, begin: int) -> list[Request]:
        random, found = self._random, list[Request]()
        for cause in range(begin, self._market.tail):
            for index in range(random.choice((0, 0, 0, 1, 2))):
                found.append(self._request(cause, index))
        return found

    def _request(self, cause: int, index: int) -> Request:
        random = self._random
        if self._limits and random.random() < 0.2:
            return cancel(random.choice(self._limits), cause, index)
        side, symbol = random.choice(list(Side)), random.choice(SYMBOLS[:2])
        qty = random.randint(1, 20)
        price = round(random.uniform(9.7, 10.3), 2)
        kind = random.choice(list(OrderType))
        if kind is OrderType.MARKET:
            return order(cause, index, qty, side, symbol)
        self._limits.append(f"{cause}.{index}")
        tif = random.choice(list(TimeInForce))
        stop = price if kind is not OrderType.LIMIT else 0.0
        limit_price = price if kind is not OrderType.STOP else 0.0
        return Order(
            symbol, qty, 10.0, side, ts_of(cause), cause, index, 0, kind, tif, limit_price, stop, "tag"
        )

    def plain_order(self) -> Order:
        return Order("AAPL", self._random.randint(1, 5), 10.0, self._random.choice(list(Side)), 1)


def committed(path: Path) -> tuple[list[Report], list[Account]]:
    """Reports and rows as a reader of the journal counts them: those with a head behind them."""
    found, waiting = list[Report | Account](), list[Report | Account]()
    reader = JournalReader(path)
    for _, payload in reader.read(1_000_000):
        match records.decode(payload):
            case (Report() | Account()) as fact:
                waiting.append(fact)
            case LaneHead(strategy_id=strategy):
                found += [fact for fact in waiting if fact.strategy_id == strategy]
                waiting = [fact for fact in waiting if fact.strategy_id != strategy]
            case records.Recovered():
                waiting.clear()
            case _:
                pass
    reader.close()
    found.sort(
        key=lambda fact: fact.strategy_id
    )  # their rounds are not the same; within a lane all is in order
    return [f for f in found if isinstance(f, Report)], [f for f in found if isinstance(f, Account)]


def by_hand(path: Path) -> list[Request]:
    """An operator's orders as the journal has them."""
    with JournalReader(path) as reader:
        facts = [records.decode(payload) for _, payload in reader.read(1_000_000)]
    return [fact.request for fact in facts if isinstance(fact, records.Taken) and fact.by_operator]


@pytest.fixture
def market() -> Iterator[Tape]:
    with tape() as made:
        yield made


def no_harm(_: Hosted, __: Random) -> None:
    """Leave it alone."""


def between_rounds(victim: Hosted, random: Random) -> None:
    if random.random() < 0.2:
        victim.kill()


def with_a_torn_tail(victim: Hosted, random: Random) -> None:
    if random.random() < 0.2:
        journal = victim.room.ledger.journal
        os.pwrite(journal._fd, random.randbytes(random.randint(1, 300)), journal._written.offset)
        victim.kill()
        assert victim.room.ledger.journal.cut


def run(folder: Path, seed: int, grave: Grave, harm: Callable[[Hosted, Random], None], deaths: float) -> None:
    """Two ledgers, one of them harmed between rounds and, with a probability of `deaths`, in its writes."""
    random = Random(seed)
    with tape() as market:
        market.put(10.0)
        market.put(10.0, symbol="MSFT")
        trader = Trader(seed, market)
        steady, victim = (Hosted(folder / name, market, trader.actions) for name in ("steady", "victim"))
        for _ in range(60):
            begin = market.tail
            trader.ticks()
            requests = trader.requests(begin)
            for hosted in (steady, victim):
                hosted.send(requests, market.tail)
            harm(victim, random)
            if random.random() < 0.2:
                plain = trader.plain_order()
                for hosted in (steady, victim):
                    hosted.room.take(Client(), plain)
                    hosted.settle()
                continue
            steady.settle()
            if random.random() < deaths:
                if random.random() < 0.5:
                    grave.part = random.random()
                else:
                    grave.before_sync = True
                if not settle_or_die(victim):
                    victim.come_back()
                grave.part, grave.before_sync = None, False
            else:
                victim.settle()
        for hosted in (steady, victim):
            hosted.stop()
        assert victim.kept == steady.kept == deque()
        assert victim.heard == steady.heard
        for strategy in ("sma", "manual"):
            assert state_of(victim, strategy) == state_of(steady, strategy)
            assert victim.tally(strategy) == steady.tally(strategy)
        expected = committed(folder / "steady" / "journal.bin")
        assert committed(folder / "victim" / "journal.bin") == expected
        assert by_hand(folder / "victim" / "journal.bin") == by_hand(folder / "steady" / "journal.bin")


def state_of(hosted: Hosted, strategy: str) -> LaneState:
    """All that a lane knows, but for when it valued what it holds last: it does so whenever it is asked."""
    state = hosted.room.state(strategy)
    lines = [
        msgspec.structs.replace(line, price=0.0, marked=False)
        for line in state.portfolio.lines
        if line.qty != "0"
    ]
    portfolio = msgspec.structs.replace(state.portfolio, lines=lines, ts=0)
    return msgspec.structs.replace(state, portfolio=portfolio)


def settle_or_die(victim: Hosted) -> bool:
    try:
        victim.settle()
    except Killed:
        victim._read()
        victim.room.kill()
        return False
    return True


seeds = st.integers(0, 2**32)


@given(seed=seeds)
@EXAMPLES
def test_killed_between_two_rounds_it_stands_where_one_left_alone_stands(
    tmp_path_factory: pytest.TempPathFactory, grave: Grave, seed: int
) -> None:
    run(tmp_path_factory.mktemp("run"), seed, grave, between_rounds, 0.0)


@given(seed=seeds)
@EXAMPLES
def test_killed_in_a_write_or_before_an_fdatasync_it_stands_where_one_left_alone_stands(
    tmp_path_factory: pytest.TempPathFactory, grave: Grave, seed: int
) -> None:
    run(tmp_path_factory.mktemp("run"), seed, grave, no_harm, 0.3)


@given(seed=seeds)
@EXAMPLES
def test_with_checkpoints_in_between_and_torn_tails_too(
    tmp_path_factory: pytest.TempPathFactory, grave: Grave, monkeypatch: pytest.MonkeyPatch, seed: int
) -> None:
    monkeypatch.setattr("OrderManager.ledger.CHECKPOINT_EVERY", 20)
    run(tmp_path_factory.mktemp("run"), seed, grave, with_a_torn_tail, 0.1)


# --------------------------------------------------------------------------------------------- one by one


def test_what_was_acknowledged_survives_what_was_only_received_does_not(tmp_path: Path, market: Tape) -> None:
    market.put(*[10.0] * 4)
    room = Room(tmp_path, market)
    client = room.join("sma", number=4)
    room.send(client, order(3, 0), 4)
    room.take(client, order(3, 1))
    room.kill()
    room.open()
    again = room.join("sma", "again", 0)
    room.send(again, order(3, 0))
    room.send(again, order(3, 1), order(3, 2), 4)
    market.put(*[10.0] * 4)
    room.send(again, 8)
    ids = [r.client_order_id for r in again.reports if r.last_qty]
    assert ids == ["3.0", "3.1", "3.2"]
    assert room.ledger.counters["seen before"] == 1
    room.stop()


def test_a_recovered_lane_knows_prices_and_quotes_from_the_tape_and_the_book(
    tmp_path: Path, market: Tape
) -> None:
    market.put(20.0, symbol="MSFT")
    market.put(9.9, symbol="AAPL.BID")
    market.put(10.0, 10.1)
    room = Room(tmp_path, market)
    client = room.join("sma", number=4)
    room.send(client, limit(3, 5.0), 4)
    market.put(10.2, 10.3)
    room.send(client, 6)
    before = room.state("sma")
    market.put(99.0)  # behind the lane: not its business yet
    room.kill()
    room.open()
    room.join("sma", "again", 1)
    after = room.lane("sma")
    assert after.broker.quotes == {"AAPL.BID": (9.9, ts_of(1))} == before.quotes
    assert after.prices["MSFT"] == 20.0
    assert after.prices["AAPL"] != 99.0
    room.stop()


def test_an_operator_reads_what_a_recovery_cut(
    tmp_path: Path, market: Tape, caplog: pytest.LogCaptureFixture
) -> None:
    market.put(10.0)
    room = Room(tmp_path, market)
    room.send(room.join("sma", number=1), order(0), 1)
    journal = room.ledger.journal
    os.pwrite(journal._fd, b"half a record", journal._written.offset)
    room.kill()
    room.open()
    room.ledger.settle()
    (recovered,) = (r for _, r in room.published if isinstance(r, records.Recovered))
    assert recovered.cut.startswith("13 bytes cut behind ")
    assert any(
        message.startswith("recovered 1 orders of 2 strategies from the journal; 13 bytes cut")
        for message in caplog.messages
    )
    room.stop()


def test_orders_are_numbered_on_after_a_recovery(tmp_path: Path, market: Tape) -> None:
    market.put(10.0)
    room = Room(tmp_path, market)
    room.send(room.join("sma", number=1), order(0), order(0, 1), cancel("0.0", 0, 2))
    room.kill()
    room.open()
    assert room.ledger.orders == 2
    room.stop()


def test_requests_that_wait_for_their_record_survive_a_checkpoint(
    tmp_path: Path, market: Tape, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("OrderManager.ledger.CHECKPOINT_EVERY", 1)
    market.put(*[10.0] * 4)
    room = Room(tmp_path, market)
    client = room.join("sma", number=4)
    market.put(*[10.0] * 8)
    wanted: list[Request] = [limit(5, 9.0, index) for index in range(REQUESTS_AT_ONCE + 10)]
    room.send(client, *wanted, cancel("5.520", 7), 12)
    assert room.ledger.behind  # more than it does at once: the rest is in the checkpoint's queue
    room.kill()
    room.open()
    again = room.join("sma", "again", 0)
    room.take(again, 12)
    room.ledger.finish()
    assert [r.client_order_id for r in again.reports if r.status is OrderStatus.NEW] == [
        request.client_order_id for request in wanted
    ]
    assert again.told[-1] == ("5.520", "Canceled")
    room.stop()


def test_a_tape_that_begins_anew_inside_a_run_ends_the_epoch_and_ids_begin_again(tmp_path: Path) -> None:
    name = segment_name()
    old = Tape(name)
    old.put(0.0, kind=Kind.EPOCH)
    old.put(*[10.0] * 9)
    room = Room(tmp_path, old)
    client = room.join("sma", number=10)
    room.send(client, order(9), limit(9, 1.0, 1), 10)
    old.put(*[10.0] * 5)
    room.send(client, 15)
    assert room.lane("sma").portfolio.position("AAPL") == 1
    room.kill()
    old.close()
    new = Tape(name)
    try:
        new.put(0.0, kind=Kind.EPOCH)
        new.put(*[20.0] * 3)
        room.open()
        client = room.join("sma")
        assert client.next_seq == 0
        room.send(client, 4, order(3))
        assert client.told == [("9.1", "Expired"), ("0.-1", "Filled")]  # at 10.0, the old tape's last price
        for _ in range(2):  # as it is, and recovered once more
            assert room.lane("sma").portfolio.position("AAPL") == 0
            assert client.acknowledged[-1:] == [(3, 0)] or client.acknowledged == []
            room.kill()
            room.open()
            client = room.join("sma", mode="again", number=room.lane("sma").executions)
        new.put(*[20.0] * 4)
        room.send(client, 8)
        assert client.told == [("3.0", "New"), ("3.0", "Filled")]
        room.stop()
    finally:
        new.close()


def test_a_journal_of_another_version_is_refused_with_its_name(tmp_path: Path, market: Tape) -> None:
    path = tmp_path / "journal.bin"
    with Journal.create(path, RUN_ID) as journal:
        journal.append(b'["future",1]')
    with pytest.raises(JournalError, match=r"journal\.bin: is of another version"):
        Room(tmp_path, market)
    with pytest.raises(JournalError, match=r"journal\.bin: is of another version"):
        final_money(path)
