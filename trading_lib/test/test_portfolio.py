"""The portfolio against its identities, against fractions, and against the ledgers of docs/MONEY.md."""

import random
import re
from collections import deque
from collections.abc import Iterable
from fractions import Fraction
from itertools import groupby
from pathlib import Path
from typing import Final, NamedTuple

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trading_lib.models import Fill, Side
from trading_lib.money import MULTIPLIER_SCALE, PRICE_SCALE, commission, scaled, slipped
from trading_lib.portfolio import Portfolio, PortfolioState, RoundTrip, Trade

DOCS: Final = Path(__file__).parents[2] / "docs" / "MONEY.md"
BUY, SELL = Side.BUY, Side.SELL
MULTIPLIERS: Final = {"ES": 50.0, "MINI": 0.1}
SYMBOLS: Final = ("AAPL", "ES", "MINI")


class Mark(NamedTuple):
    """A tick."""

    symbol: str
    price: float
    ts: int


Event = Fill | Mark

symbols = st.sampled_from(SYMBOLS)
prices = st.builds(lambda n: float(f"{n}e-4"), st.integers(1, 10**7))
quantities = st.builds(lambda n: float(f"{n}e-3"), st.integers(1, 20_000))
commissions = st.builds(lambda n: float(f"{n}e-6"), st.integers(0, 10**7))
fills = st.builds(Fill, symbols, st.sampled_from(Side), quantities, prices, commissions, st.integers(1, 9))
marks = st.builds(Mark, symbols, prices, st.integers(1, 9))
events = st.lists(st.one_of(fills, marks), max_size=25)
whole_fills = st.builds(
    Fill,
    st.just("AAPL"),
    st.sampled_from(Side),
    st.integers(1, 6).map(float),
    prices,
    commissions,
    st.integers(1, 9),
)


def feed(portfolio: Portfolio, happened: Iterable[Event]) -> Portfolio:
    """Apply and mark in order."""
    for event in happened:
        if isinstance(event, Fill):
            portfolio.apply(event)
        else:
            portfolio.mark(*event)
    return portfolio


def fill(side: Side, qty: float, price: float, fee: float = 0.0, ts: int = 0, symbol: str = "AAPL") -> Fill:
    """With the arguments a test varies in front."""
    return Fill(symbol, side, qty, price, fee, ts)


def decimal_of(x: float) -> Fraction:
    """What a float stands for."""
    return Fraction(repr(x))


class Books(NamedTuple):
    """A portfolio's exact amounts, from its state."""

    initial: int
    cash: int
    realized: int
    unrealized: int
    commission: int
    value: int

    @property
    def equity(self) -> int:
        return self.initial + self.realized + self.unrealized - self.commission


def books(portfolio: Portfolio) -> Books:
    """Positions are valued here, not by the portfolio."""
    state = portfolio.state()
    value = cost = 0
    for line in state.lines:
        multiplier = scaled(state.multipliers.get(line.symbol, 1.0), MULTIPLIER_SCALE)
        value += int(line.qty) * scaled(line.price, PRICE_SCALE) * multiplier
        cost += int(line.cost) * multiplier
    return Books(
        int(state.initial), int(state.cash), int(state.realized), value - cost, int(state.commission), value
    )


# ------------------------------------------------------------------------------------------------ identities


@settings(deadline=None, max_examples=300)
@given(events)
def test_equity_is_cash_and_positions_at_their_marks_to_the_last_digit(happened: list[Event]) -> None:
    portfolio = Portfolio(100_000.0, MULTIPLIERS)
    for event in happened:
        feed(portfolio, [event])
        exact = books(portfolio)
        assert exact.equity == exact.cash + exact.value


@settings(deadline=None)
@given(events, st.one_of(fills, marks))
def test_equity_changes_by_realized_and_unrealized_less_commission(
    happened: list[Event], last: Event
) -> None:
    portfolio = feed(Portfolio(100_000.0, MULTIPLIERS), happened)
    before = books(portfolio)
    after = books(feed(portfolio, [last]))
    change = after.realized - before.realized + after.unrealized - before.unrealized
    assert (
        after.cash + after.value - before.cash - before.value == change - after.commission + before.commission
    )


class Reference:
    """The definitions in fractions, a price per unit instead of a total cost; no code of ours."""

    def __init__(self, cash: float) -> None:
        self.cash = decimal_of(cash)
        self.realized = self.commission = Fraction()
        self.position = dict.fromkeys(SYMBOLS, Fraction())
        self.average = dict.fromkeys(SYMBOLS, Fraction())
        self.price = dict.fromkeys(SYMBOLS, Fraction())
        self.marked: set[str] = set()

    def take(self, event: Event) -> None:
        symbol, price = event.symbol, decimal_of(event.price)
        if isinstance(event, Fill):
            self._fill(event, price)
        if isinstance(event, Mark) or symbol not in self.marked:
            self.price[symbol] = price
        if isinstance(event, Mark):
            self.marked.add(symbol)

    def _fill(self, event: Fill, price: Fraction) -> None:
        symbol = event.symbol
        multiplier = decimal_of(MULTIPLIERS.get(symbol, 1.0))
        qty, held = decimal_of(event.qty) * event.side.sign, self.position[symbol]
        fee = decimal_of(event.commission)
        self.cash -= qty * price * multiplier + fee
        self.commission += fee
        if held * qty >= 0:
            self.average[symbol] = (held * self.average[symbol] + qty * price) / (held + qty)
        else:
            closed = min(abs(qty), abs(held)) * (1 if held > 0 else -1)
            self.realized += closed * (price - self.average[symbol]) * multiplier
            if abs(qty) > abs(held):
                self.average[symbol] = price
        self.position[symbol] = held + qty

    @property
    def value(self) -> Fraction:
        return sum(
            (self.position[s] * self.price[s] * decimal_of(MULTIPLIERS.get(s, 1.0)) for s in SYMBOLS),
            Fraction(),
        )


@settings(deadline=None, max_examples=300)
@given(events)
def test_every_number_is_that_of_the_definitions_in_fractions(happened: list[Event]) -> None:
    portfolio, reference = Portfolio(12_345.67, MULTIPLIERS), Reference(12_345.67)
    for event in happened:
        feed(portfolio, [event])
        reference.take(event)
    assert portfolio.cash == float(reference.cash)
    assert portfolio.commission == float(reference.commission)
    assert portfolio.equity == float(reference.cash + reference.value)
    assert portfolio.realized == pytest.approx(float(reference.realized), rel=1e-15, abs=1e-20)
    for symbol in SYMBOLS:
        position = reference.position[symbol]
        assert portfolio.position(symbol) == float(position)
        if position:
            assert portfolio.average_price(symbol) == pytest.approx(
                float(reference.average[symbol]), rel=1e-15
            )
        else:
            assert portfolio.average_price(symbol) is None
    assert portfolio.positions == {s: float(reference.position[s]) for s in SYMBOLS if reference.position[s]}


@settings(deadline=None)
@given(events, fills)
def test_a_flip_is_two_fills(happened: list[Event], last: Fill) -> None:
    one, two = (feed(Portfolio(100_000.0, MULTIPLIERS), happened) for _ in range(2))
    held = one.position(last.symbol)
    side = SELL if held > 0 else BUY
    parts = [msgspec.structs.replace(last, side=side, qty=q, commission=0.0) for q in (abs(held), last.qty)]
    feed(two, [part for part in parts if part.qty])
    feed(one, [msgspec.structs.replace(parts[0], qty=float(decimal_of(abs(held)) + decimal_of(last.qty)))])
    assert books(one) == books(two)
    assert one.net_of_trades == two.net_of_trades
    assert list(one.trades) == list(two.trades)
    assert list(one.round_trips) == list(two.round_trips)


@settings(deadline=None)
@given(events, st.randoms(use_true_random=False))
def test_shuffling_symbols_that_have_nothing_to_do_with_each_other_changes_nothing(
    happened: list[Event], rng: random.Random
) -> None:
    by_symbol = {symbol: deque(e for e in happened if e.symbol == symbol) for symbol in SYMBOLS}
    turns = [event.symbol for event in happened]
    rng.shuffle(turns)
    shuffled = [by_symbol[symbol].popleft() for symbol in turns]
    one = feed(Portfolio(1_000.0, MULTIPLIERS), happened)
    other = feed(Portfolio(1_000.0, MULTIPLIERS), shuffled)
    assert books(one) == books(other)
    assert one.positions == other.positions
    assert sorted(one.trades, key=repr) == sorted(other.trades, key=repr)


@settings(deadline=None)
@given(events, events)
def test_a_restored_portfolio_goes_on_as_if_nothing_had_happened(
    before: list[Event], after: list[Event]
) -> None:
    portfolio = feed(Portfolio(1_000.0, MULTIPLIERS), before)
    for codec in (msgspec.json, msgspec.msgpack):
        saved = codec.encode(portfolio.state())
        restored = Portfolio.from_state(codec.decode(saved, type=PortfolioState))
        assert restored.state() == portfolio.state()
        uninterrupted = feed(Portfolio(1_000.0, MULTIPLIERS), [*before, *after])
        assert feed(restored, after).state() == uninterrupted.state()


@settings(deadline=None)
@given(events)
def test_what_each_symbol_has_made_adds_up_to_all(happened: list[Event]) -> None:
    portfolio = feed(Portfolio(1_000.0, MULTIPLIERS), happened)
    holdings = portfolio.holdings()
    assert {symbol: holding.qty for symbol, holding in holdings.items()} == portfolio.positions
    for symbol, holding in holdings.items():
        assert holding.average_price == portfolio.average_price(symbol)
    exact = portfolio.state()
    assert sum(int(line.realized) for line in exact.lines) == int(exact.realized)
    assert sum(portfolio.realized_by_symbol().values()) == pytest.approx(portfolio.realized)
    assert sum(h.unrealized for h in holdings.values()) == pytest.approx(portfolio.unrealized, abs=1e-6)


# -------------------------------------------------------------------------------------------- trades, matched


def close(portfolio: Portfolio, price: float, fee: float) -> None:
    """Make everything flat."""
    for symbol, qty in portfolio.positions.items():
        portfolio.apply(fill(SELL if qty > 0 else BUY, abs(qty), price, fee, 10, symbol))


@settings(deadline=None, max_examples=300)
@given(events, prices, commissions)
def test_trades_net_to_realized_less_commission_when_all_is_flat(
    happened: list[Event], price: float, fee: float
) -> None:
    portfolio = feed(Portfolio(0.0, MULTIPLIERS), happened)
    close(portfolio, price, fee)
    state, exact = portfolio.state(), books(portfolio)
    assert state.fifo is not None
    assert int(state.fifo.net) == exact.realized - exact.commission == exact.cash
    assert state.fifo.open == []
    assert portfolio.net_of_trades == portfolio.equity == portfolio.cash


def trades_by_the_share(happened: list[Fill]) -> list[tuple[Fill, Fill, int]]:
    """(entry, exit, shares) with a queue of single shares, each the number of the fill it came with."""
    queue: deque[int] = deque()
    closed: list[tuple[int, int]] = []
    for i, f in enumerate(happened):
        for _ in range(int(f.qty)):
            if queue and happened[queue[0]].side is not f.side:
                closed.append((queue.popleft(), i))
            else:
                queue.append(i)
    return [
        (happened[entry], happened[exit_], len(list(shares))) for (entry, exit_), shares in groupby(closed)
    ]


@settings(deadline=None, max_examples=300)
@given(st.lists(whole_fills, max_size=20))
def test_trades_are_those_of_a_queue_of_single_shares(happened: list[Fill]) -> None:
    portfolio = feed(Portfolio(0.0), happened)
    expected = trades_by_the_share(happened)
    assert [
        (t.side, t.qty, t.entry_ts, t.exit_ts, t.entry_price, t.exit_price) for t in portfolio.trades
    ] == [
        (entry.side, float(n), entry.ts, exit_.ts, entry.price, exit_.price) for entry, exit_, n in expected
    ]
    for trade, (entry, exit_, n) in zip(portfolio.trades, expected, strict=True):
        gross = n * entry.side.sign * (decimal_of(exit_.price) - decimal_of(entry.price))
        shares = [decimal_of(f.commission) * n / decimal_of(f.qty) for f in (entry, exit_)]
        assert trade.gross == float(gross)
        assert trade.net == pytest.approx(float(gross - sum(shares)), rel=1e-15, abs=1e-20)


def test_a_round_trip_goes_from_flat_to_flat() -> None:
    portfolio = Portfolio(0.0)
    portfolio.apply(fill(BUY, 10, 100.0, 1.0, ts=1))
    portfolio.apply(fill(BUY, 10, 110.0, 1.0, ts=2))
    portfolio.apply(fill(SELL, 5, 120.0, 1.0, ts=3))
    assert portfolio.round_trips == []
    portfolio.apply(fill(SELL, 25, 120.0, 5.0, ts=4))  # 15 to flat, 10 short
    portfolio.apply(fill(BUY, 10, 115.0, 1.0, ts=5))
    assert portfolio.round_trips == [
        RoundTrip("AAPL", BUY, 20.0, 1, 4, 300.0, 294.0),
        RoundTrip("AAPL", SELL, 10.0, 4, 5, 50.0, 47.0),
    ]
    assert portfolio.realized == 350.0


def test_trades_that_were_taken_are_gone() -> None:
    portfolio = feed(Portfolio(0.0), [fill(BUY, 1, 1.0), fill(SELL, 1, 2.0, ts=1)])
    assert portfolio.take_trades() == [Trade("AAPL", BUY, 1.0, 0, 1, 1.0, 2.0, 1.0, 1.0)]
    assert portfolio.take_round_trips() == [RoundTrip("AAPL", BUY, 1.0, 0, 1, 1.0, 1.0)]
    assert not portfolio.take_trades() and not portfolio.take_round_trips()
    assert not portfolio.trades and not portfolio.round_trips
    assert portfolio.net_of_trades == 1.0


def test_without_trades_all_other_numbers_are_the_same() -> None:
    happened = [fill(BUY, 3, 10.0, 0.5), fill(SELL, 5, 11.0, 0.5), fill(BUY, 1, 9.0, 0.5)]
    kept, lean = (feed(Portfolio(100.0, keep_trades=keep), happened) for keep in (True, False))
    assert books(kept) == books(lean)
    assert not lean.trades and not lean.round_trips
    assert not lean.take_trades() and not lean.take_round_trips()
    assert lean.net_of_trades is None
    assert Portfolio.from_state(lean.state()).net_of_trades is None


# ----------------------------------------------------------------------------------------------------- facts


def test_a_position_without_a_mark_is_valued_at_its_last_fill() -> None:
    portfolio = feed(Portfolio(0.0), [fill(BUY, 1, 10.0), fill(BUY, 1, 12.0)])
    assert (portfolio.last_price("AAPL"), portfolio.unrealized, portfolio.equity) == (12.0, 2.0, 2.0)
    portfolio.mark("AAPL", 9.0, 5)
    portfolio.apply(fill(BUY, 2, 20.0, ts=6))
    assert (portfolio.last_price("AAPL"), portfolio.unrealized, portfolio.ts) == (9.0, -26.0, 6)


def test_after_an_epoch_a_fill_comes_before_the_marks_of_the_old_one() -> None:
    portfolio = Portfolio(0.0)
    portfolio.mark("AAPL", 9.0, 5)
    portfolio.forget_marks()
    portfolio.apply(fill(BUY, 1, 20.0))
    assert portfolio.last_price("AAPL") == 20.0


def test_a_mark_of_a_symbol_nobody_holds_is_noted() -> None:
    portfolio = Portfolio(50.0)
    portfolio.mark("AAPL", 9.0, 5)
    assert (portfolio.equity, portfolio.positions, portfolio.ts) == (50.0, {}, 5)
    portfolio.apply(fill(BUY, 1, 8.0))
    assert portfolio.unrealized == 1.0


def test_an_empty_portfolio_has_numbers_for_everything() -> None:
    portfolio = Portfolio(100_000.0)
    assert portfolio.initial == portfolio.cash == portfolio.equity == 100_000.0
    assert (
        portfolio.realized == portfolio.unrealized == portfolio.commission == portfolio.net_of_trades == 0.0
    )
    assert portfolio.position("AAPL") == 0.0
    assert portfolio.average_price("AAPL") is None
    assert portfolio.last_price("AAPL") is None


@pytest.mark.parametrize(
    "bad",
    [
        fill(BUY, 0.0, 1.0),
        fill(BUY, -1.0, 1.0),
        fill(BUY, 1e-13, 1.0),
        fill(BUY, float("nan"), 1.0),
        fill(BUY, 1.0, float("inf")),
        fill(BUY, 1.0, 1.0, float("nan")),
    ],
)
def test_a_fill_that_is_no_fill_changes_nothing(bad: Fill) -> None:
    portfolio = feed(Portfolio(100.0), [fill(BUY, 1, 10.0)])
    before = portfolio.state()
    with pytest.raises(ValueError, match=r"must be positive|not a finite"):
        portfolio.apply(bad)
    assert portfolio.state() == before


def test_a_mark_that_is_no_number_changes_nothing() -> None:
    portfolio = feed(Portfolio(100.0), [fill(BUY, 1, 10.0)])
    before = portfolio.state()
    with pytest.raises(ValueError, match="not a finite price of AAPL"):
        portfolio.mark("AAPL", float("nan"), 5)
    assert portfolio.state() == before


@pytest.mark.parametrize("multiplier", [0.0, -1.0, 1e-13, float("nan"), float("inf")])
def test_a_multiplier_that_is_not_positive_is_refused(multiplier: float) -> None:
    with pytest.raises(ValueError, match=r"multiplier of ES|not a finite"):
        Portfolio(0.0, {"ES": multiplier})


def test_two_hundred_thousand_fills_do_not_drift() -> None:
    rng = random.Random(7)
    portfolio = Portfolio(100_000.0)
    cash, commissions_paid = (
        10**14 * 10**3,
        0,
    )  # by hand in 1e-12: prices have 4 decimals, quantities and fees 3 and 12
    position = 0
    for ts in range(200_000):
        side = SELL if position > 0 else BUY
        milli, ticks, fee = rng.randrange(1, 5000), rng.randrange(990_000, 1_010_000), rng.randrange(10**9)
        portfolio.apply(fill(side, float(f"{milli}e-3"), float(f"{ticks}e-4"), float(f"{fee}e-12"), ts))
        position += side.sign * milli
        cash -= side.sign * milli * ticks * 10**5 + fee
        commissions_paid += fee
    portfolio.mark("AAPL", 0.1, 200_000)
    assert portfolio.cash == cash / 10**12
    assert portfolio.commission == commissions_paid / 10**12
    assert portfolio.equity == (cash + position * 10**8) / 10**12
    assert portfolio.position("AAPL") == position / 1000
    exact = books(portfolio)
    assert exact.equity == exact.cash + exact.value


# ---------------------------------------------------------------------------------- the ledgers of docs/MONEY.md


def table(heading: str) -> list[dict[str, str]]:
    """The rows of the first table below a heading, by column."""
    below = DOCS.read_text().partition(f"\n{heading}\n")[2]
    found = re.search(r"(?:^\|.*\|\n)+", below, re.MULTILINE)
    assert found is not None, heading
    cells = [[cell.strip() for cell in row[1:-1].split("|")] for row in found[0].splitlines()]
    return [dict(zip(cells[0], row, strict=True)) for row in cells[2:]]


def number(cell: str) -> float | None:
    """A cell: `1,234.5`, `−3`, or `–` for what is undefined."""
    return None if cell == "–" else float(cell.replace(",", "").replace("−", "-"))


def check(portfolio: Portfolio, row: dict[str, str], symbol: str) -> None:
    """Every number of a ledger's row."""
    shown = {
        "position": portfolio.position(symbol),
        "average price": portfolio.average_price(symbol),
        "cash": portfolio.cash,
        "realized": portfolio.realized,
        "unrealized": portfolio.unrealized,
        "commission": portfolio.commission,
        "equity": portfolio.equity,
    }
    assert {name: number(row[name]) for name in shown} == shown, row["#"]


def test_the_first_ledger_of_the_documentation_is_right() -> None:
    portfolio = Portfolio(10_000.0)
    rows = table("### A ledger through zero and back")
    for ts, row in enumerate(rows):
        if event := re.fullmatch(r"(BUY|SELL) ([\d.]+) @ ([\d.]+)", row["event"]):
            qty, price, fee = float(event[2]), float(event[3]), number(row["its commission"])
            assert fee is not None
            portfolio.apply(fill(Side(event[1]), qty, price, fee, ts))
        elif event := re.fullmatch(r"mark ([\d.]+)", row["event"]):
            portfolio.mark("AAPL", float(event[1]), ts)
        else:
            assert row["event"] == "start"
        check(portfolio, row, "AAPL")
    assert len(rows) == 10
    matches = table("### Its trades")
    assert [
        (str(t.entry_ts), str(t.exit_ts), t.side, t.qty, t.entry_price, t.exit_price, t.gross, t.net)
        for t in portfolio.trades
    ] == [
        (row["entry"], row["exit"], row["side"], *(number(row[name]) for name in list(row)[3:8]))
        for row in matches
    ]
    trips = table("### Its round trips")
    assert [
        (str(t.entry_ts), str(t.exit_ts), t.side, t.peak_qty, t.gross, t.net) for t in portfolio.round_trips
    ] == [
        (row["entry"], row["exit"], row["side"], *(number(row[name]) for name in list(row)[3:6]))
        for row in trips
    ]


def test_the_second_ledger_of_the_documentation_is_right() -> None:
    portfolio = Portfolio(100_000.0, {"ES": 50.0})
    rows = table("### A ledger with slippage, commission and a multiplier")
    for ts, row in enumerate(rows):
        event = re.fullmatch(r"(BUY|SELL) ([\d.]+), tick ([\d.]+)", row["event"])
        assert event is not None
        side, qty, tick = Side(event[1]), float(event[2]), float(event[3])
        price = slipped(tick, 1.0, side.sign)
        fee = commission(price, qty, 0.5, multiplier=50.0)
        assert (number(row["price"]), number(row["its commission"])) == (price, fee)
        portfolio.apply(fill(side, qty, price, fee, ts, "ES"))
        portfolio.mark("ES", tick, ts)
        check(portfolio, row, "ES")
    assert len(rows) == 2
