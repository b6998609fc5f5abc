"""What `evaluate` gives, refuses and never does."""

import json
import multiprocessing
import os
import subprocess
import sys
import types
from pathlib import Path
from typing import Any

import pytest

from config import Config, ConfigError, StrategyEntry
from Gateway.providers import DataError, Passes, Provider, RandomWalkProvider
from lab import evaluate
from lab.artefacts import NotEmpty
from lab.evaluation import Progress
from lab.test.live import CROSSOVER, KINDS
from Recorder.make_report import make_report
from testing.harness import ROOT
from trading_lib.strategy_file import StrategyError

COMPARED = ("trades.csv", "equity.csv", "matched_trades.csv", "events.jsonl", "prices.csv")
WALK = {
    "symbols": ["AAPL", "MSFT"],
    "Gateway": {"provider": "random_walk", "pace": {"mode": "event"}, "news": {"every_ticks": 10}},
    "OrderManager": {"account_every": 50, "risk": {"max_position": 60}},
}
ONCE = """
def on_tick(ctx, tick):
    if ctx.get_state("done") is None:
        ctx.set_state("done", True)
        ctx.place_market_order("BUY", 10)
        ctx.place_limit_order("BUY", 5, 1.0, tif="GTC", tag="far")
"""
AGAIN = """
import sys
from lab import evaluate
evaluate(sys.argv[1], config={config!r}, duration_s=60, out=sys.argv[2], ticks=True, report=False)
"""


def written(folder: Path) -> dict[str, bytes]:
    return {name: (folder / name).read_bytes() for name in COMPARED}


def walk(folder: Path, **options: Any) -> Path:
    evaluate(KINDS["path"], config=WALK, duration_s=60, out=folder, ticks=True, report=False, **options)
    return folder


def strategy(folder: Path, text: str) -> Path:
    path = folder / "strategy.py"
    path.write_text(text)
    return path


# ---------------------------------------------------------------------------------------- the same bytes


@pytest.mark.parametrize("seed", ["0", "1", "12345"])
def test_another_process_with_another_hash_seed_writes_the_same_bytes(tmp_path: Path, seed: str) -> None:
    here = written(walk(tmp_path / "here"))
    subprocess.run(
        [sys.executable, "-c", AGAIN.format(config=WALK), KINDS["path"], str(tmp_path / "there")],
        cwd=ROOT,
        env={**os.environ, "PYTHONHASHSEED": seed},
        check=True,
    )
    assert written(tmp_path / "there") == here


@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")  # from 3.12 on
@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_a_forked_and_a_spawned_process_write_the_same_bytes(tmp_path: Path, method: str) -> None:
    here = written(walk(tmp_path / "here"))
    context: Any = multiprocessing.get_context(method)
    child = context.Process(target=walk, args=(tmp_path / "there",))
    child.start()
    child.join()
    assert child.exitcode == 0
    assert written(tmp_path / "there") == here


def test_no_file_that_is_compared_says_when_or_by_which_run_it_was_made(tmp_path: Path) -> None:
    for name, content in written(walk(tmp_path / "out")).items():
        assert b"wall" not in content, name
        assert b"run_id" not in content, name


def test_an_evaluation_replaces_an_earlier_one_and_nothing_else(tmp_path: Path) -> None:
    out = walk(tmp_path / "out")
    before = written(out)
    assert written(walk(out)) == before
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "trades.csv").write_text("precious")
    with pytest.raises(NotEmpty):
        walk(tmp_path / "mine")
    assert (tmp_path / "mine" / "trades.csv").read_text() == "precious"


def test_with_and_without_a_folder_the_tables_and_the_metrics_are_the_same(tmp_path: Path) -> None:
    data = "data/market_data-1.csv"
    kept = evaluate(CROSSOVER["path"], data, out=tmp_path / "out", report=False)
    loose = evaluate(CROSSOVER["path"], data)
    assert loose.trades.equals(kept.trades)
    assert loose.equity.equals(kept.equity)
    assert loose.metrics == kept.metrics
    assert str(loose) == str(kept)
    assert (
        loose.write(tmp_path / "later").joinpath("trades.csv").read_bytes()
        == (tmp_path / "out" / "trades.csv").read_bytes()
    )
    assert (tmp_path / "later" / "report.html").stat().st_size > 10_000


# ------------------------------------------------------------------------------------------ the results


def test_trades_open_orders_and_money_of_a_strategy_computed_by_hand(tmp_path: Path) -> None:
    data = tmp_path / "prices.csv"
    rows = [f"2025-01-02 10:00:0{second},ACME,{100 + second}" for second in range(5)]
    data.write_text("\n".join(["timestamp,symbol,price", *rows]) + "\n")
    terms = {"execution": {"latency_ms": 500, "slippage_bps": 0, "commission_bps": 10}}
    result = evaluate(strategy(tmp_path, ONCE), data, config={"OrderManager": terms})
    (trade,) = result.trades.to_dict("records")
    assert (trade["symbol"], trade["side"], trade["qty"], trade["price"]) == ("ACME", "BUY", 10.0, 100.0)
    assert trade["commission"] == 1.0  # 10 bps of 10 x 100
    assert result.metrics["final"] == 100_000 + 10 * 4 - 1.0
    assert result.metrics["net"] == 39.0
    assert result.metrics["fills"] == 1
    ((name, (order,)),) = result.open_orders.items()
    assert (order.tag, order.qty, order.arrived) == ("far", 5.0, True)
    assert name == tmp_path.name[:24]
    assert "Open orders" in str(result)


def test_several_strategies_have_accounts_of_their_own() -> None:
    entries = [StrategyEntry(id="a", path=CROSSOVER["path"]), StrategyEntry(id="b", path=KINDS["path"])]
    both = evaluate(entries, config=WALK, duration_s=30)
    alone = evaluate(entries[0], config=WALK, duration_s=30)
    own = both.trades[both.trades.strategy_id == "a"].reset_index(drop=True)
    assert own.equals(alone.trades)
    assert set(both.equity.strategy_id) == {"a", "b"}


def test_a_module_is_a_strategy_too() -> None:
    module = types.ModuleType("mine")
    exec(ONCE, module.__dict__)
    result = evaluate(module, config=WALK, duration_s=10)
    assert list(result.open_orders) == ["mine"]
    assert len(result.trades) == 1


def test_parameters_and_seed_replace_those_of_the_configuration() -> None:
    slow = evaluate(CROSSOVER["path"], config=WALK, duration_s=60, params={"fast": 3, "slow": 9})
    fast = evaluate(CROSSOVER["path"], config=WALK, duration_s=60, params={"fast": 2, "slow": 4})
    other = evaluate(CROSSOVER["path"], config=WALK, duration_s=60, params={"fast": 2, "slow": 4}, seed=1)
    assert len(fast.trades) > len(slow.trades) > 0
    assert not other.trades.equals(fast.trades)


def test_a_position_in_a_series_that_is_not_configured_has_a_column(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def more(config: Config) -> tuple[Provider, None]:
        return Passes(RandomWalkProvider(["NEW", "AAPL"], 0, seed=1, limit=40), loop=False), None

    monkeypatch.setattr("lab.market.make_provider", more)
    text = "def on_tick(ctx, tick):\n    if not ctx.position():\n        ctx.place_market_order('BUY', 1)\n"
    config = {"symbols": ["MSFT"], "Gateway": {"provider": "random_walk"}}
    result = evaluate(
        strategy(tmp_path, text), config=config, duration_s=9, out=tmp_path / "out", report=False
    )
    held = [name for name in result.equity.columns if name.startswith("position_")]
    assert held == ["position_MSFT", "position_NEW", "position_AAPL"]
    assert result.equity[held].iloc[-1].tolist() == [0.0, 1.0, 1.0]
    assert result.manifest["symbols"] == ["MSFT", "NEW", "AAPL"]


def test_progress_hears_of_every_chunk(tmp_path: Path) -> None:
    heard: list[Progress] = []
    result = evaluate(KINDS["path"], config=WALK, duration_s=60, progress=heard.append)
    assert heard[-1].records == result.manifest["records"]
    assert heard[-1].ticks == result.manifest["ticks"] == 600


# ------------------------------------------------------------------------------------------- what is wrong


def test_exceptions_of_a_strategy_are_counted_and_said_with_their_line(tmp_path: Path) -> None:
    text = "def on_tick(ctx, tick):\n    ctx.log('here')\n    raise KeyError(tick.symbol)\n"
    result = evaluate(strategy(tmp_path, text), config=WALK, duration_s=2)
    assert result.errors == result.manifest["ticks"] == 20
    assert result.outcomes[0].last_error.startswith("line 3: KeyError")
    assert result.manifest["why_not"] == ["errors of the strategy: 20"]
    assert "line 3: KeyError" in str(result)
    assert any(line.endswith(": here") for line in result.log)


@pytest.mark.parametrize(
    ("arguments", "raises", "says"),
    [
        ({"strategy": "nowhere/strategy.py"}, StrategyError, "nowhere"),
        ({"strategy": []}, StrategyError, "no strategy"),
        ({"config": WALK}, ConfigError, "duration_s"),
        ({"config": {"symbols": []}}, ConfigError, "symbols"),
        ({"data": "nowhere.csv"}, DataError, "nowhere.csv"),
        ({"config": {**WALK, "OrderManager": {"port": 0}}}, ConfigError, "OrderManager.port"),
    ],
)
def test_what_cannot_be_evaluated_says_why(
    arguments: dict[str, Any], raises: type[Exception], says: str
) -> None:
    with pytest.raises(raises, match=says):
        evaluate(**{"strategy": CROSSOVER["path"], **arguments})


def test_a_strategy_whose_init_fails_is_not_evaluated(tmp_path: Path) -> None:
    path = strategy(tmp_path, "def init(ctx):\n    raise ValueError('no')\ndef on_tick(ctx, tick): pass\n")
    with pytest.raises(StrategyError, match="line 2: ValueError: no"):
        evaluate(path, config=WALK, duration_s=1)


def test_a_file_without_a_duration_is_played_once(tmp_path: Path) -> None:
    result = evaluate(CROSSOVER["path"], "data/market_data-1.csv", out=tmp_path / "out")
    assert result.manifest["epochs"] == 1
    last = json.loads((tmp_path / "out" / "events.jsonl").read_bytes().splitlines()[-1])
    assert last["tape_seq"] == result.manifest["last_seq"]
    assert (tmp_path / "out" / "report.html").exists()


def test_epochs_of_a_file_close_what_is_held() -> None:
    config = {"symbols": ["AAPL"], "Gateway": {"loop": True, "pace": {"ticks_per_s": 1000}}}
    result = evaluate(CROSSOVER["path"], "data/market_data-1.csv", config=config, duration_s=8)
    assert result.manifest["epochs"] == 3
    closing = result.trades[result.trades.tag == "epoch-close"]
    assert len(closing) == 2
    assert (closing.ts == closing.ts.iloc[0]).all()  # the file's last price, each time
    assert result.metrics["sharpe"] is None


def test_a_parameter_that_no_strategy_knows_is_refused_with_what_was_meant() -> None:
    with pytest.raises(ConfigError, match=r"no strategy here has a parameter fastt: .*fast"):
        evaluate(CROSSOVER["path"], "data/market_data-1.csv", params={"fastt": 3})


def test_a_report_written_later_leaves_what_an_evaluation_wrote_as_it_is(tmp_path: Path) -> None:
    folder = walk(tmp_path / "out")
    before = {path: path.read_bytes() for path in folder.iterdir() if path.is_file()}
    assert make_report(folder) == folder / "report.html"
    assert {path: path.read_bytes() for path in before} == before
