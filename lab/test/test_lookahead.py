"""Strategies that know too much are found; honest ones are not accused."""

from pathlib import Path

import pytest

from lab.lookahead import check_lookahead
from lab.test.live import CROSSOVER, KINDS
from testing.harness import ROOT

DATA = ROOT / "data" / "market_data-1.csv"
READS_THE_FILE = """
import csv

with open({path!r}) as file:
    PRICES = [(row["symbol"], float(row["price"])) for row in csv.DictReader(file)]

def init(ctx):
    ctx.at = 0

def on_tick(ctx, tick):
    symbol, now = PRICES[ctx.at]
    later = [price for name, price in PRICES[ctx.at + 1 : ctx.at + 9] if name == tick.symbol]
    ctx.at += 1
    if later and later[-1] > tick.price * 1.02 and ctx.position() < 10:
        ctx.place_market_order("BUY", 1)
    elif later and later[-1] < tick.price and ctx.position() > 0:
        ctx.place_market_order("SELL", 1)
"""
USES_A_GLOBAL = """
import pandas as pd

HIGHEST = pd.read_csv({path!r}).groupby("symbol").price.max().to_dict()

def on_tick(ctx, tick):
    if tick.price >= 0.5 * HIGHEST[tick.symbol] and ctx.position() < 5:
        ctx.place_market_order("BUY", 1)
"""
READS_LATE = """
from pathlib import Path

def on_tick(ctx, tick):
    if ctx.position() < 3 and tick.seq % 500 == 0:
        lines = Path({path!r}).read_text().splitlines()
        ctx.place_limit_order("BUY", 1, float(lines[-1].split(",")[2]), symbol=tick.symbol)
"""


@pytest.mark.parametrize("text", [READS_THE_FILE, USES_A_GLOBAL, READS_LATE], ids=["file", "global", "late"])
def test_a_strategy_that_reads_the_data_is_found_by_its_first_order_that_changes(
    tmp_path: Path, text: str
) -> None:
    cheat = tmp_path / "cheat.py"
    cheat.write_text(text.format(path=str(DATA)))
    result = check_lookahead(cheat, DATA)
    assert result.orders > 0
    assert not result.ok
    assert result.changed is not None
    assert result.changed.seq < result.changed_at
    assert str(result).startswith("LOOK-AHEAD: an order changes when the market ends behind record ")


@pytest.mark.parametrize("strategy", [KINDS["path"], CROSSOVER["path"]])
def test_an_honest_strategy_gives_the_same_orders_without_what_follows(strategy: str) -> None:
    result = check_lookahead(strategy, DATA, prefixes=3)
    assert result.ok, str(result)
    assert result.orders > 100
    assert len(result.prefixes) == 3


def test_a_simulated_market_is_cut_short_too(tmp_path: Path) -> None:
    config = {"symbols": ["AAPL"], "Gateway": {"provider": "random_walk"}}
    assert check_lookahead(CROSSOVER["path"], config=config, duration_s=30, prefixes=2).ok


def test_files_open_as_before_when_the_check_is_over(tmp_path: Path) -> None:
    before = open, Path.open, DATA.read_bytes()
    check_lookahead(CROSSOVER["path"], DATA, prefixes=1)
    assert (open, Path.open, DATA.read_bytes()) == before
