"""A sweep: what is tried, what is counted, and that its numbers are those of an evaluation."""

from math import sqrt
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from config import ROOT, Config, ConfigError, check_config
from lab.conditions import LONGEST, BadCondition, condition
from lab.evaluation import evaluate
from lab.subject import subject_of
from lab.sweep import Plan, sweep
from lab.sweep_result import rows_of
from lab.sweep_tasks import MOST, SweepFailed, run_tasks, tasks_of

DATA = ROOT / "data" / "market_data-1.csv"
CROSSOVER = ROOT / "strategies" / "sma_crossover" / "strategy.py"


def walk(strategy: Path = CROSSOVER, duration_s: float = 600.0) -> Config:
    return check_config(
        {
            "symbols": ["AAA", "BBB"],
            "run": {"duration_s": duration_s},
            "Gateway": {"provider": "random_walk", "pace": {"mode": "event"}},
            "Strategy": {"strategies": [{"id": "x", "path": str(strategy)}]},
        }
    )


def written(folder: Path, source: str) -> Path:
    file = folder / "strategy.py"
    file.write_text(source)
    return file


# -------------------------------------------------------------------------------------------- conditions


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("fast < slow", True),
        ("fast * 2 + 1 <= slow", True),
        ("fast > slow or mode == 'a'", True),
        ("not (fast < slow)", False),
        ("1 < fast < slow != 21", True),
        ("slow / fast == 4 and -fast < 0", True),
        ("fast", True),
        ("  fast - 5 ", False),
    ],
)
def test_a_condition_means_what_python_means_by_it(text: str, expected: bool) -> None:
    assert condition(text, ["fast", "slow", "mode"])({"fast": 5, "slow": 20, "mode": "a"}) is expected


@pytest.mark.parametrize(
    "text",
    [
        *(
            "__import__('os')",
            "fast.real",
            "fast[0]",
            "[fast]",
            "(lambda: 1)()",
            "fast ** 9",
            "fast if 1 else 2",
        ),
        *(
            "fast := 3",
            "f'{fast}'",
            "fast is slow",
            "fast in slow",
            "unknown < 3",
            "",
            "fast <",
            "fast // 2",
            "fast & 1",
        ),
        *("None", "b'x' < fast", "...", "fast\n", "fast; slow", "1j", "x" * (LONGEST + 1), "(" * 200),
    ],
)
def test_anything_else_is_refused_without_being_run(text: str) -> None:
    if text == "fast\n":
        assert condition(text, ["fast"])({"fast": 1})
        return
    with pytest.raises(BadCondition):
        condition(text, ["fast", "slow"])


@pytest.mark.parametrize("text", ["fast / 0 < 1", "fast < mode"])
def test_a_condition_that_cannot_be_decided_says_with_which_values(text: str) -> None:
    with pytest.raises(BadCondition, match="'fast': 5"):
        condition(text, ["fast", "mode"])({"fast": 5, "mode": "a"})


numbers = st.integers(-9, 9)
expressions = st.recursive(
    st.one_of(numbers.map(str), st.sampled_from(["a", "b"])),
    lambda inner: st.one_of(
        st.tuples(inner, st.sampled_from(["+", "-", "*", "<", "<=", "==", "!=", "and", "or"]), inner).map(
            lambda parts: f"({parts[0]} {parts[1]} {parts[2]})"
        ),
        inner.map(lambda part: f"(not {part})"),
        inner.map(lambda part: f"(-{part})"),
    ),
    max_leaves=8,
)


@settings(max_examples=200, deadline=None)
@given(expressions, numbers, numbers)
def test_every_condition_is_decided_as_python_decides_it(text: str, a: int, b: int) -> None:
    expected = bool(eval(text, {"__builtins__": {}}, {"a": a, "b": b}))
    if len(text) <= LONGEST:
        assert condition(text, ["a", "b"])({"a": a, "b": b}) is expected


# ------------------------------------------------------------------------------------------------- sweeps


def test_the_combinations_are_every_one_that_the_condition_allows() -> None:
    plan = Plan(walk(), {"fast": [5, 20], "slow": [10, 20]}, (1,))
    allowed, left_out = plan.combinations(condition("fast < slow", ["fast", "slow"]))
    assert allowed == [{"fast": 5, "slow": 10}, {"fast": 5, "slow": 20}]
    assert left_out == 2
    with pytest.raises(BadCondition, match="leaves none of 4 combinations"):
        plan.combinations(condition("fast > 99", ["fast"]))
    with pytest.raises(SweepFailed, match="too many"):
        Plan(walk(), {"n": list(range(1000)), "m": list(range(1000))}, (1, 2)).combinations()
    assert MOST == 1_000_000


@pytest.mark.parametrize("market", ["csv", "walk"])
def test_without_a_split_the_numbers_are_those_of_an_evaluation(market: str, tmp_path: Path) -> None:
    subject = subject_of(CROSSOVER, DATA, None, None, None, None) if market == "csv" else None
    config = subject.config if subject is not None else walk()
    result = sweep(Plan(config, {"fast": [5], "slow": [30]}, (42,), split=1.0), baseline=False)
    row = result.rows[0]
    expected = evaluate(config=config, params={"fast": 5, "slow": 30}, seed=42, out=tmp_path).metrics
    assert row.ratio is not None and expected["sharpe"] is not None
    assert row.ratio * sqrt(result.year) == pytest.approx(expected["sharpe"], rel=1e-9)
    assert row.growth_inside == pytest.approx(expected["return"], rel=1e-12)
    assert row.drawdown == expected["max_drawdown"]
    assert row.fills == expected["fills"]
    assert row.outside.n == 0


@pytest.mark.parametrize("market", ["csv", "walk"])
def test_the_split_divides_the_time_and_loses_nothing_of_the_return(market: str) -> None:
    subject = subject_of(CROSSOVER, DATA, None, None, None, None) if market == "csv" else None
    config = subject.config if subject is not None else walk()
    whole = sweep(Plan(config, {"fast": [5]}, (42,), split=1.0), baseline=False).rows[0]
    halves = sweep(Plan(config, {"fast": [5]}, (42,), split=0.7), baseline=False).rows[0]
    together = (1 + halves.growth_inside) * (1 + halves.growth_outside) - 1
    assert together == pytest.approx(whole.growth_inside, rel=1e-12)
    assert halves.inside.n / whole.inside.n == pytest.approx(0.7, abs=0.02)
    assert halves.inside.n + halves.outside.n == pytest.approx(whole.inside.n, abs=2)


def test_processes_find_what_one_alone_finds() -> None:
    plan = Plan(walk(duration_s=60.0), {"fast": [3, 5], "slow": [10, 20]}, (1, 2))
    seen: list[tuple[int, int]] = []
    alone = sweep(plan)
    together = sweep(plan, jobs=2, progress=lambda done, total: seen.append((done, total)))
    assert together == alone
    assert str(together) == str(alone)
    assert (8, 8) in seen and (40, 40) in seen


def test_the_same_combination_on_more_seeds_has_the_returns_of_all() -> None:
    config = walk(duration_s=60.0)
    one, two = (sweep(Plan(config, {"fast": [5]}, (seed,)), baseline=False).rows[0] for seed in (1, 2))
    both = sweep(Plan(config, {"fast": [5]}, (1, 2)), baseline=False).rows[0]
    assert both.inside == one.inside + two.inside
    assert both.fills == (one.fills + two.fills) / 2
    assert one.inside != two.inside


def test_nothing_of_one_try_is_left_for_the_next(tmp_path: Path) -> None:
    source = """
        SEEN = []
        def init(ctx): ctx.n = 0
        def on_tick(ctx, tick):
            SEEN.append(1)
            if len(SEEN) == 5: ctx.place_market_order("BUY", ctx.get_param("quantity", 1))
    """
    file = written(tmp_path, "\n".join(line[8:] for line in source.splitlines()))
    rows = sweep(Plan(walk(file, 60.0), {"quantity": [1, 2, 3]}, (1,)), baseline=False).rows
    assert [row.orders for row in rows] == [1, 1, 1]


def test_a_combination_that_the_strategy_refuses_is_counted_and_not_ranked(tmp_path: Path) -> None:
    file = written(
        tmp_path,
        "def init(ctx):\n    if ctx.get_param('n') > 2: raise ValueError('n is too large')\n"
        "def on_tick(ctx, tick): ctx.position() or ctx.place_market_order('BUY', 1)\n",
    )
    result = sweep(Plan(walk(file, 60.0), {"n": [1, 2, 3]}, (1, 2)), baseline=False)
    assert [row.params for row in result.rows] == [{"n": 1}, {"n": 2}]
    assert result.refused == {"init: line 2: ValueError: n is too large": 2}
    assert "2 evaluations were refused by the strategy: init: line 2" in str(result)


def test_a_strategy_that_ends_its_process_fails_the_sweep_and_not_us(tmp_path: Path) -> None:
    file = written(tmp_path, "import os\ndef on_tick(ctx, tick): os._exit(1)\n")
    with pytest.raises(SweepFailed, match="a process has gone"):
        sweep(Plan(walk(file, 60.0), {"n": [1, 2]}, (1,)), jobs=2)


def test_a_sweep_over_several_epochs_is_refused() -> None:
    config = subject_of(CROSSOVER, DATA, {"symbols": ["IBM"]}, None, None, 50.0).config
    with pytest.raises(ConfigError, match="one pass"):
        sweep(Plan(config, {"fast": [5]}, (1,)))


def test_entries_at_random_order_as_often_and_as_large_as_the_best() -> None:
    result = sweep(Plan(walk(), {"fast": [5], "quantity": [3]}, (42,)))
    best = result.rows[0]
    orders = [row.orders for row in result.baseline]
    assert len(orders) == 20 and len(set(orders)) > 1
    assert sum(orders) / 20 == pytest.approx(best.orders, rel=0.15)
    assert {row.params["quantity"] for row in result.baseline} == {3}


def test_the_sentences_say_how_many_were_tried_and_what_luck_would_give() -> None:
    axes: dict[str, list[Any]] = {"fast": [3, 5, 8], "slow": [5, 20, 40]}
    result = sweep(Plan(walk(), axes, (1, 2)), condition("fast < slow", axes))
    text = str(result)
    assert "7 combinations were tried on 2 seeds each; 2 were left out by --where" in text
    assert "By chance alone, the best of 7 such tries would show a Sharpe ratio of about" in text
    assert "Deflated Sharpe ratio of the best: 0." in text
    assert "of 20, out of sample than" in text
    ratios = [row.ratio for row in result.rows]
    assert ratios == sorted(ratios, key=lambda ratio: -(ratio or 0.0))
    assert text.splitlines()[0].split()[:4] == ["fast", "slow", "Sharpe", "in"]


def test_a_strategy_that_never_trades_has_no_sharpe_ratio_to_deflate(tmp_path: Path) -> None:
    file = written(tmp_path, "def on_tick(ctx, tick): pass\n")
    result = sweep(Plan(walk(file, 60.0), {"n": [1, 2]}, (1,)))
    assert result.best is None and result.deflated is None and result.baseline == []
    assert "No combination has a Sharpe ratio" in str(result)


def test_tasks_come_seed_by_seed_so_that_a_market_is_loaded_once() -> None:
    plan = Plan(walk(duration_s=10.0), {"fast": [3, 5]}, (1, 2))
    tasks = tasks_of(plan, plan.combinations()[0])
    assert [(task.seed, task.number) for task in tasks] == [(1, 0), (1, 1), (2, 0), (2, 1)]
    assert len(rows_of(run_tasks(plan, tasks, 1, lambda: None))) == 2
