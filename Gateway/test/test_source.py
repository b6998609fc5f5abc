"""The configured market: every shipped configuration of a model, and what is around a source."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from config import ROOT, Config, load_config, parse_config
from Gateway.providers import Batch
from Gateway.providers.provider import take
from Gateway.source import make_provider
from trading_lib.models import Kind

SHIPPED = sorted((ROOT / "configs").glob("*.json"))


def first(config: Config, count: int = 1000) -> tuple[tuple[str, ...], tuple[int, ...], Batch]:
    """Symbols, decimals and the first records of the configured market."""
    source, _ = make_provider(config)
    try:
        return source.symbols, source.decimals, take(source, count)
    finally:
        source.close()


def configured(**gateway: Any) -> Config:
    return parse_config(json.dumps({"symbols": ["A", "B"], "Gateway": gateway}).encode())


def simulated(**gateway: Any) -> Batch:
    return first(configured(provider="simulated", **gateway))[2]


def test_there_is_a_configuration_for_each_model() -> None:
    assert {path.stem for path in SHIPPED} >= {"ou", "gbm", "correlated", "jump", "regime", "heston"}


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.stem)
def test_a_shipped_configuration_yields_sane_records(path: Path) -> None:
    config = load_config(path, {})
    symbols, decimals, batch = first(config)
    assert batch.size == 1000
    assert batch.kinds[0] == Kind.EPOCH
    assert batch.times[0] == config.run.start_ns
    assert (np.diff(batch.times) >= 0).all()
    assert Kind.TIME in batch.kinds  # paced by event time
    for symbol in config.symbols:
        index = symbols.index(symbol)
        prices = batch.values[(batch.kinds == Kind.TICK) & (batch.symbols == index)] / 10 ** decimals[index]
        assert prices.size > 20
        assert prices[0] == 100
        assert np.unique(prices).size > 5
        assert 20 < prices.min() <= prices.max() < 500


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.stem)
def test_its_strategies_exist_and_trade_what_can_be_traded(path: Path) -> None:
    config = load_config(path, {})
    assert all((ROOT / entry.path).is_file() for entry in config.Strategy.entries)
    assert all(entry.symbols == config.symbols for entry in config.Strategy.entries)


def test_the_schedule_says_when_and_its_speed_does_not() -> None:
    fixed = simulated(schedule={"dt_fixed_ms": 50, "speed": 100})
    ticks = fixed.times[fixed.kinds == Kind.TICK]
    assert np.unique(np.diff(ticks)).tolist() == [0, 50_000_000]
    poisson = simulated(schedule={"mode": "poisson", "dt_mean_ms": 50})
    ticks = np.unique(poisson.times[poisson.kinds == Kind.TICK])
    assert np.diff(ticks).mean() == pytest.approx(50e6, rel=0.3)
    assert np.unique(np.diff(ticks)).size > 50


def test_faults_are_between_the_source_and_the_news() -> None:
    plain, faulty = simulated(), simulated(faults={"drop": 0.2, "jitter_ms": 3})
    assert Kind.GAP not in plain.kinds
    assert 120 < np.count_nonzero(faulty.kinds == Kind.GAP) < 280
    news = np.flatnonzero(faulty.kinds == Kind.NEWS)
    assert (faulty.kinds[news - 1] == Kind.TICK).all()
    assert (faulty.times[news - 1] == faulty.times[news]).all()


def test_news_may_follow_returns() -> None:
    by_chance, by_return = simulated(), simulated(news={"follows_returns": 1})
    is_news = by_chance.kinds == Kind.NEWS
    assert (is_news == (by_return.kinds == Kind.NEWS)).all()
    assert (by_chance.values != by_return.values)[is_news].any()
    assert (by_chance.values == by_return.values)[~is_news].all()


def test_a_correlated_market_is_one() -> None:
    batch = simulated(model={"type": "gbm", "sigma": 5.0}, correlation=[[1, -0.9], [-0.9, 1]])
    prices = [batch.values[(batch.kinds == Kind.TICK) & (batch.symbols == i)] for i in (0, 1)]
    returns = np.diff(np.log(np.array([series[:400] for series in prices])))
    assert np.corrcoef(returns)[0, 1] == pytest.approx(-0.9, abs=0.05)
