"""Many combinations of parameters, each tried on the same markets, and what the best of them is worth.

    result = sweep(Plan(config, {"fast": [5, 10], "slow": [20, 40]}, seeds=(1, 2, 3)), jobs=2)
    print(result)

A combination is ranked by its Sharpe ratio in-sample, over the returns of all seeds together. Looking at the
first of many flatters it: so it stands beside what it made out of sample, beside what chance would give the
best of as many, and beside entries at random, as often and as large.
"""

from collections import Counter
from collections.abc import Callable

from config import resolve
from lab.conditions import Condition
from lab.sweep_result import Row, SweepResult, rows_of
from lab.sweep_tasks import Plan, Task, Tried, baseline_tasks, run_tasks, tasks_of
from trading_lib.strategy_file import load_strategy

__all__ = ["Plan", "SweepResult", "sweep"]

Progress = Callable[[int, int], None]  # evaluations done, of how many


def sweep(
    plan: Plan,
    where: Condition | None = None,
    *,
    jobs: int = 1,
    baseline: bool = True,
    progress: Progress | None = None,
) -> SweepResult:
    """Try everything. Raises BadCondition, SweepFailed, DataError, ConfigError, StrategyError.

    A combination with which the strategy's `init` fails is refused, and counted.
    """
    combinations, left_out = plan.combinations(where)
    tried = _run(plan, tasks_of(plan, combinations), jobs, progress)
    rows = rows_of(tried)
    seen = next((one for one in tried if one.trying is not None), None)
    best = rows[0] if rows else None
    draws: list[Tried] = []
    if baseline and best is not None and best.orders:
        every = max(1.0, best.ticks / (2 * best.orders))  # every second decision changes nothing
        draws = _run(plan, baseline_tasks(plan, every, _quantity(plan, best)), jobs, progress)
    return SweepResult(
        plan,
        rows,
        rows_of(draws),
        left_out,
        Counter(one.refused for one in tried if one.refused),
        seen.year if seen is not None else 1.0,
        seen.basis if seen is not None else "",
    )


def _run(plan: Plan, tasks: list[Task], jobs: int, progress: Progress | None) -> list[Tried]:
    count = 0

    def done() -> None:
        nonlocal count
        count += 1
        if progress is not None:
            progress(count, len(tasks))

    return list(run_tasks(plan, tasks, jobs, done))


def _quantity(plan: Plan, best: Row) -> float:
    """What the best one orders, as far as its parameters say."""
    entry = plan.config.Strategy.entries[0]
    declared = getattr(load_strategy(resolve(entry.path)), "PARAMS", {})
    for known in (best.params, entry.params, declared):
        if isinstance(known.get("quantity"), int | float):
            return float(known["quantity"])
    return 10.0
