"""The strategies in strategies/: what each orders, computed by hand or by a plain rule beside it."""

import random
import statistics
from collections.abc import Iterable, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trading_lib.broker import Terms
from trading_lib.context import ALREADY_IN_POSITION, RISK_DENIED, WARMING_UP
from trading_lib.engine import Engine
from trading_lib.lane import Lane, Record
from trading_lib.models import Kind, Order
from trading_lib.risk import Limits
from trading_lib.strategy_file import StrategyError, load_strategy

FOLDER = Path(__file__).resolve().parents[2] / "strategies"
NAMES = sorted(path.parent.name for path in FOLDER.glob("*/strategy.py"))
TRADERS = [name for name in NAMES if name != "buy_and_hold"]
SHORT_WINDOWS: dict[str, dict[str, Any]] = {
    "buy_and_hold": {},
    "mean_reversion": {"window": 6, "width": 1.3333},
    "momentum": {"window": 4, "threshold_bps": 20},
    "sma_crossover": {"fast": 2, "slow": 5},
    "sma_news": {"short_window": 2, "long_window": 5},
}
SYMBOLS = ("AAPL", "MSFT", "IBM")
TS = 1_735_828_200_000_000_000
STEP_NS = 20_000_000  # between two records

checked = settings(deadline=None, derandomize=True, max_examples=150)
walks = st.lists(st.integers(-4, 4), min_size=10, max_size=60).map(
    lambda steps: [1000.0 + sum(steps[:i]) for i in range(1, len(steps) + 1)]
)


class Trial(NamedTuple):
    """An engine that has consumed records; its orders, and its position in their symbol after each record."""

    engine: Engine
    orders: list[Order]
    positions: list[float]

    @property
    def reasons(self) -> dict[str, int]:
        return self.engine.why_no_trade()


def made(
    name: str,
    params: dict[str, Any] | None = None,
    *,
    limits: Limits | None = None,
    latency_ms: int = 0,
    lane: Lane | None = None,
) -> Engine:
    terms = Terms(latency_ns=latency_ms * 1_000_000, slippage_bps=0, commission_bps=0)
    return Engine(
        name,
        load_strategy(FOLDER / name / "strategy.py"),
        SHORT_WINDOWS[name] | (params or {}),
        SYMBOLS.__getitem__,
        pytest.fail,  # no shipped strategy may raise
        lane=lane or Lane(name, terms, limits or Limits()),
    )


def fed(engine: Engine, records: Iterable[Record]) -> Trial:
    orders, positions = [], []
    for record in records:
        engine.consume([record])
        orders += [request for request in engine.take_requests() if isinstance(request, Order)]
        positions.append(engine.lane.position(SYMBOLS[record[5]]))
    return Trial(engine, orders, positions)


def tape(prices: Iterable[float], slot: int = 0, *, start: int = 1) -> list[Record]:
    """Ticks of one symbol."""
    return [
        (seq, TS + seq * STEP_NS, price, 0, 0, slot, int(Kind.TICK))
        for seq, price in enumerate(prices, start)
    ]


def market(seed: int, ticks: int = 600) -> list[Record]:
    """Three symbols that walk, with news of each now and then."""
    rng = random.Random(seed)
    prices, records = [100.0, 200.0, 50.0], []
    for seq in range(1, ticks + 1):
        slot = rng.randrange(3)
        if seq % 10 == 0:
            value, kind = float(rng.randrange(101)), Kind.NEWS
        else:
            prices[slot] = value = round(prices[slot] * (1 + rng.gauss(0, 0.002)), 4)
            kind = Kind.TICK
        records.append((seq, TS + seq * STEP_NS, value, 0, 0, slot, int(kind)))
    return records


def essence(orders: Sequence[Order]) -> list[tuple[object, ...]]:
    return [(o.cause_seq, o.symbol, o.side, o.quantity, o.type, o.limit_price) for o in orders]


# --------------------------------------------------------------------------------------- all of them


@pytest.mark.parametrize("name", NAMES)
def test_a_file_is_short_and_says_its_name_and_parameters(name: str) -> None:
    module = load_strategy(FOLDER / name / "strategy.py")
    assert name == module.NAME
    assert module.PARAMS["quantity"] == 10
    assert SHORT_WINDOWS[name].keys() <= module.PARAMS.keys()
    assert module.__doc__
    assert len((FOLDER / name / "strategy.py").read_text().splitlines()) < 40


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("latency_ms", [0, 50])
def test_it_trades_and_holds_no_more_than_its_quantity(name: str, latency_ms: int) -> None:
    trial = fed(made(name, {"quantity": 3}, latency_ms=latency_ms), market(1))
    assert {order.symbol for order in trial.orders} == set(SYMBOLS)
    assert min(trial.positions) >= (0 if name == "buy_and_hold" else -3)
    assert max(trial.positions) == 3
    assert trial.engine.denied == 0


@pytest.mark.parametrize("name", NAMES)
def test_a_symbol_is_traded_alike_alone_and_among_others(name: str) -> None:
    records = market(2)
    together = essence(fed(made(name), records).orders)
    for slot, symbol in enumerate(SYMBOLS):
        alone = essence(fed(made(name), [record for record in records if record[5] == slot]).orders)
        assert alone == [order for order in together if order[1] == symbol]


@pytest.mark.parametrize("name", NAMES)
def test_every_tick_brings_an_order_or_its_reason(name: str) -> None:
    trial = fed(made(name, latency_ms=50), market(3))
    told = sum(trial.reasons.values()) + len(trial.orders)
    if name == "sma_crossover":  # silent for as long as the averages stay on their sides
        assert 0 < told < trial.engine.ticks
    else:
        assert told == trial.engine.ticks


@pytest.mark.parametrize("name", TRADERS)
def test_it_says_that_it_is_warming_up(name: str) -> None:
    ticks = market(4, 4)
    assert fed(made(name), ticks).reasons == {WARMING_UP: 4}


@pytest.mark.parametrize("name", NAMES)
def test_an_epoch_begins_with_nothing_remembered(name: str) -> None:
    first, second = market(5), market(5)
    engine = made(name)
    before = fed(engine, first).orders
    end = first[-1]
    engine.consume([(end[0] + 1, end[1] + STEP_NS, 0.0, 0, 0, 0, int(Kind.EPOCH))])
    shift = end[0] + 1
    again = fed(engine, [(seq + shift, *rest) for seq, *rest in second]).orders  # type: ignore[misc]
    assert [order[1:] for order in essence(again)] == [order[1:] for order in essence(before)]


@pytest.mark.parametrize("name", NAMES)
def test_who_holds_more_than_the_quantity_does_not_sell_on_a_signal_to_buy(name: str) -> None:
    first = fed(made("buy_and_hold", {"quantity": 25}), tape([1000.0, 1000.0, 1000.0]))
    later = made(name, lane=first.engine.lane)  # as after a reload: fresh state, the position kept
    later.consume([(4, TS + 4 * STEP_NS, 100.0, 0, 0, 0, int(Kind.NEWS))])
    up = [1000.0, 1001.0, 1002.0, 1004.0, 1008.0, 1016.0, 1032.0]
    prices = [2000.0 - price for price in up] if name == "mean_reversion" else up
    trial = fed(later, tape(prices, start=5))
    assert trial.orders == []
    assert trial.reasons[ALREADY_IN_POSITION] > 0


@pytest.mark.parametrize("name", NAMES)
def test_after_a_denial_it_waits_for_another_signal(name: str) -> None:
    engine = made(name, limits=Limits(max_order_qty=5))
    engine.consume([(1, TS, 100.0, 0, 0, 0, int(Kind.NEWS))])
    up = [1000.0 + i * i for i in range(10)]
    prices = [2000.0 - price for price in up] if name == "mean_reversion" else up
    trial = fed(engine, tape(prices, start=2))
    assert [str(order.side) for order in trial.orders] == ["BUY"]
    assert engine.denied == 1
    assert trial.reasons[RISK_DENIED] > 0


@pytest.mark.parametrize("name", ["mean_reversion", "momentum", "sma_crossover"])
def test_a_signal_that_went_and_came_back_orders_again_after_a_denial(name: str) -> None:
    signal = 990.0 if name == "mean_reversion" else 1010.0
    wave = [1000.0] * 6 + [signal] * 2
    trial = fed(made(name, limits=Limits(max_order_qty=5)), tape(wave * 2))
    bought = [order.cause_seq for order in trial.orders if str(order.side) == "BUY"]
    assert bought == [7, 15]
    assert trial.engine.denied == len(trial.orders)


# ------------------------------------------------------------------------------------------ one by one


@checked
@given(walks)
def test_crossover_is_on_the_side_of_the_fast_average(prices: list[float]) -> None:
    trial = fed(made("sma_crossover"), tape(prices))
    aim = 0
    for i, position in enumerate(trial.positions, 1):
        if i >= 5:
            apart = 5 * sum(prices[i - 2 : i]) - 2 * sum(prices[i - 5 : i])
            aim = 10 if apart > 0 else -10 if apart < 0 else aim
        assert position == aim
    assert all(order.is_market for order in trial.orders)


def test_crossover_flips_with_one_order() -> None:
    prices = [1000.0, 1000.0, 1000.0, 1000.0, 1001.0, 1002.0, 1000.0, 997.0]
    assert essence(fed(made("sma_crossover"), tape(prices)).orders) == [
        (5, "AAPL", "BUY", 10, "MARKET", 0),
        (8, "AAPL", "SELL", 20, "MARKET", 0),
    ]


def test_crossover_refuses_a_fast_average_that_is_not() -> None:
    with pytest.raises(StrategyError, match=r"line \d+: ValueError: fast \(50\) must be below slow \(50\)"):
        made("sma_crossover", {"fast": 50, "slow": 50})


@checked
@given(walks)
def test_momentum_follows_a_change_beyond_its_threshold(prices: list[float]) -> None:
    trial = fed(made("momentum"), tape(prices))
    aim = 0
    for i, position in enumerate(trial.positions):
        if i >= 4:
            change = Fraction(prices[i]) / Fraction(prices[i - 4]) - 1
            aim = 10 if change > 0.002 else -10 if change < -0.002 else aim
        assert position == aim


def test_momentum_tries_a_denied_side_again_with_the_next_trend() -> None:
    prices = [1000.0] * 5 + [1010.0] * 8 + [1020.0] * 2
    trial = fed(made("momentum", limits=Limits(max_order_qty=5)), tape(prices))
    assert [(order.cause_seq, str(order.side)) for order in trial.orders] == [(6, "BUY"), (14, "BUY")]


@checked
@given(walks)
def test_mean_reversion_trades_against_the_bands_and_leaves_at_the_average(prices: list[float]) -> None:
    trial = fed(made("mean_reversion"), tape(prices))
    aim, aims = 0, [0]
    for i, price in enumerate(prices, 1):
        if i >= 6:
            window = [Fraction(x) for x in prices[i - 6 : i]]
            away = Fraction(price) - statistics.mean(window)
            outside = away**2 > Fraction(1.3333) ** 2 * statistics.pvariance(window)
            if outside:
                aim = -10 if away > 0 else 10
            elif aim * away >= 0:
                aim = 0
        aims.append(aim)
    assert trial.positions == aims[:-1]  # an order is seen in the position when the next record fills it
    assert all((order.type, order.tif) == ("LIMIT", "IOC") for order in trial.orders)
    assert all(order.limit_price == order.price for order in trial.orders)


def test_mean_reversion_has_one_order_on_its_way() -> None:
    prices = [1000.0, 1001.0, 1000.0, 1001.0, 1000.0, 990.0, 980.0, 970.0, 960.0]
    trial = fed(made("mean_reversion", latency_ms=50), tape(prices))
    assert [(order.cause_seq, str(order.side)) for order in trial.orders] == [(6, "BUY")]
    assert trial.reasons["order on its way"] == 2
    assert trial.positions[-1] == 10


def test_mean_reversion_tries_again_when_the_price_has_run_away() -> None:
    prices = [1000.0, 1001.0, 1000.0, 1001.0, 1000.0, 980.0, 985.0, 984.0, 984.0, 984.0]
    trial = fed(made("mean_reversion", {"width": 0.5}, latency_ms=30), tape(prices))
    assert [(order.cause_seq, order.limit_price) for order in trial.orders] == [(6, 980.0), (8, 984.0)]
    assert trial.positions[-2:] == [0, 10]


def test_buy_and_hold_buys_once_of_every_symbol() -> None:
    trial = fed(made("buy_and_hold"), market(6))
    assert sorted((order.symbol, str(order.side), order.quantity) for order in trial.orders) == [
        (symbol, "BUY", 10) for symbol in sorted(SYMBOLS)
    ]
    assert trial.reasons == {ALREADY_IN_POSITION: trial.engine.ticks - 3}
