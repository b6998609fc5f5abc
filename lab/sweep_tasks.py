"""The single evaluations of a sweep, here or in processes that load each market once.

for tried in run_tasks(plan, tasks_of(plan, combinations), jobs=2, done=lambda: None):
    tried.task.params, tried.trying
"""

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from functools import lru_cache
from itertools import product
from multiprocessing import get_context
from typing import Any, Final

import msgspec

from config import Config, StrategyEntry, parse_config, resolve, to_json
from lab.conditions import BadCondition, Condition
from lab.sweep_market import SweepMarket, Trying
from trading_lib.strategy_file import StrategyError, load_strategy

MOST: Final = 1_000_000  # combinations × seeds
BASELINE_PATH: Final = "lab/random_entry.py"
DRAWS: Final = 20  # random entries, per seed
MARKETS_KEPT: Final = 2  # per process: tasks come seed by seed

Params = dict[str, Any]


class SweepFailed(Exception):
    """A sweep that cannot go on; the message says why."""


class Plan(msgspec.Struct, frozen=True):
    """What is tried: one strategy of a configuration with every combination of `axes` that `where` allows."""

    config: Config
    axes: dict[str, list[Any]]
    seeds: tuple[int, ...]
    split: float = 0.7

    def combinations(self, where: Condition | None = None) -> tuple[list[Params], int]:
        """Those allowed, and how many are not. Raises BadCondition, SweepFailed."""
        total = len(self.seeds)
        for values in self.axes.values():
            total *= len(values)
        if total > MOST:
            raise SweepFailed(f"{total:,} evaluations are too many: at most {MOST:,}")
        every = [dict(zip(self.axes, values, strict=True)) for values in product(*self.axes.values())]
        allowed = [params for params in every if where is None or where(params)]
        if not allowed:
            raise BadCondition(f"leaves none of {len(every):,} combinations")
        return allowed, len(every) - len(allowed)


class Task(msgspec.Struct, frozen=True):
    """A combination on one seed's market. `baseline`: by entries at random."""

    number: int
    seed: int
    params: Params
    baseline: bool = False


class Tried(msgspec.Struct, frozen=True):
    """What came of a task; `refused` is what the strategy said instead."""

    task: Task
    trying: Trying | None
    year: float = 0.0
    basis: str = ""
    refused: str = ""


def tasks_of(plan: Plan, combinations: Sequence[Params]) -> list[Task]:
    """Seed by seed, so that a process loads few markets."""
    return [Task(number, seed, params) for seed in plan.seeds for number, params in enumerate(combinations)]


def baseline_tasks(plan: Plan, every: float, quantity: float) -> list[Task]:
    """Entries at random, on average one in so many ticks."""
    draws = range(DRAWS)
    return [
        Task(draw, seed, {"every": every, "quantity": quantity, "seed": draw}, True)
        for seed in plan.seeds
        for draw in draws
    ]


def run_tasks(plan: Plan, tasks: Sequence[Task], jobs: int, done: Callable[[], None]) -> Iterator[Tried]:
    """Try everything, in `jobs` processes; `done` is called after each.

    Raises SweepFailed, DataError, ConfigError, StrategyError.
    """
    terms = (to_json(plan.config), plan.split)
    if jobs == 1:
        for task in tasks:
            yield try_task(terms, task)
            done()
        return
    size = max(1, min(len(tasks) // (4 * jobs), 64))
    chunks = [tasks[i : i + size] for i in range(0, len(tasks), size)]
    with ProcessPoolExecutor(jobs, get_context("spawn")) as pool:
        futures = [pool.submit(try_tasks, terms, chunk) for chunk in chunks]
        try:
            for future in as_completed(futures):
                for tried in future.result():
                    yield tried
                    done()
        except BrokenProcessPool:
            raise SweepFailed("a process has gone: it ran out of memory, or the strategy ended it") from None
        finally:
            pool.shutdown(cancel_futures=True)


def try_tasks(terms: tuple[bytes, float], tasks: Sequence[Task]) -> list[Tried]:
    """In one of the processes."""
    return [try_task(terms, task) for task in tasks]


def try_task(terms: tuple[bytes, float], task: Task) -> Tried:
    """One evaluation."""
    market = _market(*terms, task.seed)
    config, module = _strategy(terms[0], task)
    try:
        return Tried(task, market.try_out(config, module), market.basis.periods_per_year, market.basis.text)
    except StrategyError as fault:
        return Tried(task, None, refused=str(fault))


@lru_cache(maxsize=MARKETS_KEPT)
def _market(raw: bytes, split: float, seed: int) -> SweepMarket:
    return SweepMarket(_seeded(raw, seed), split)


def _seeded(raw: bytes, seed: int) -> Config:
    config = parse_config(raw, "sweep")
    return msgspec.structs.replace(config, run=msgspec.structs.replace(config.run, seed=seed))


def _strategy(raw: bytes, task: Task) -> tuple[Config, Any]:
    """The configuration of one task, and its strategy's module, imported afresh: nothing of another try is left."""
    config = _seeded(raw, task.seed)
    entry = config.Strategy.entries[0]
    if task.baseline:
        entry = StrategyEntry(
            id="random_entry", path=BASELINE_PATH, params=task.params, symbols=entry.symbols
        )
    else:
        entry = msgspec.structs.replace(entry, params={**entry.params, **task.params})
    section = msgspec.structs.replace(config.Strategy, strategies=(entry,))
    return msgspec.structs.replace(config, Strategy=section), load_strategy(resolve(entry.path))
