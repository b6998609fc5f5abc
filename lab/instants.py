"""What stood at instants of a recorded run, for a slider over it: market, accounts, indicators, why no trade.

    python -m lab.instants runs/20260102-143000-1 --instants 1000 > instants.json

A process of its own: the run's strategies run in it once more, without a sandbox, as `sim replay` does it. The
result is one JSON object (`Instants`) on standard output; how far it is goes to standard error, as lines
`records DONE of TOTAL`. What strategies print goes there, too.
"""

import argparse
import os
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import msgspec

from config import ConfigError
from lab.exit_codes import EXIT_DATA
from lab.moments import Moment, moments, recorded_records
from lab.onlooker import Performer, WatchedEngine, watch
from lab.recorded_accounts import RecordedAccounts
from OrderManager.journal import JournalError
from Recorder.run_files import Run, load_run
from Recorder.tables import NotARun
from Recorder.tape_file import NotATape
from runtime.part import EXIT_OK
from trading_lib.strategy_file import StrategyError

SYMBOLS: Final = 8  # whose prices are given
MOST: Final = 10_000  # instants: some MB
LIMIT_S: Final = 60.0
SAY_S: Final = 0.2  # between two lines of progress
COMPLETE: Final = "complete"  # the manifest of a tape without a hole, from its beginning to the run's end
FAULTS: Final = (NotARun, NotATape, JournalError, ConfigError, StrategyError, OSError)


class StrategyAt(msgspec.Struct, frozen=True):
    """A strategy behind a record: positions that are not flat, money, and what its code said.

    `exact`: by replay; else this is the last row of equity.csv up to then, and nothing but money is known.
    `version` is a name in the run's `strategies/`, '' before the strategy began. `why` is what its `ctx.no_trade`
    was told last, at record `why_seq`; `order_seq` is the record of its last order or cancel. -1: never.
    """

    cash: float
    equity: float
    positions: dict[str, float] = {}
    version: str = ""
    indicators: dict[str, Any] = {}
    why: str = ""
    why_seq: int = -1
    order_seq: int = -1
    exact: bool = False


class Instant(msgspec.Struct, frozen=True):
    """Behind record `seq` of the tape, at event time `ts` (ns). `prices` and `strategies` are in the order of
    `Instants.symbols` and `Instants.strategies`; None where there is none yet."""

    seq: int
    ts: str
    epoch: int
    prices: tuple[float | None, ...]
    strategies: list[StrategyAt | None]


class Instants(msgspec.Struct, frozen=True):
    """The instants of a run, ascending. `records` are on its tape now; `note` says what is missing and why."""

    run_id: str
    records: int
    symbols: list[str]
    strategies: list[str]
    instants: list[Instant]
    note: str = ""


def instants(
    folder: str | Path,
    count: int = 1000,
    *,
    limit_s: float = LIMIT_S,
    progress: Callable[[int, int], None] = lambda _, __: None,
) -> Instants:
    """Up to `count` instants spread evenly over a run's or an evaluation's records, the first and last with them.

    What was not reached within `limit_s` (wall clock) is given as the files have it, and noted. `progress` hears
    of records done, of all that are to do. Strategy code runs in this process. Raises NotARun, NotATape, OSError.
    """
    return _Making(Path(folder), min(count, MOST), limit_s, progress).made()


class _Making:
    """One result in the making: the market first, then the strategies over the same records."""

    def __init__(
        self, folder: Path, count: int, limit_s: float, progress: Callable[[int, int], None]
    ) -> None:
        self._run = load_run(folder)
        self._folder = folder
        self._count = count
        self._limit_s = limit_s
        self._deadline = time.monotonic() + limit_s
        self._progress = progress
        self._records = recorded_records(folder)
        self._moments: list[Moment] = []
        self._seen: list[dict[str, StrategyAt]] = []  # by moment, as far as was replayed
        self._notes: list[str] = []

    def made(self) -> Instants:
        names = symbol_names(self._run)
        symbols = shown_symbols(self._run, names)
        self._moments = moments(self._folder, names, symbols, self._count, lambda _: self._in_time())
        if not self._moments:
            self._notes.append("there is no tape")
        elif self._run.manifest.get("tape", COMPLETE) != COMPLETE:
            self._notes.append(str(self._run.manifest["tape"]))
        self._replay()
        accounts = RecordedAccounts(self._run)
        strategies = sorted({*accounts.strategies, *(name for seen in self._seen for name in seen)})
        self._note_recorded(accounts)
        missing: list[dict[str, StrategyAt]] = [{}] * (len(self._moments) - len(self._seen))
        return Instants(
            self._run.run_id,
            self._records,
            symbols,
            strategies,
            [
                _instant(moment, seen, strategies, accounts)
                for moment, seen in zip(self._moments, self._seen + missing, strict=True)
            ],
            "; ".join(dict.fromkeys(self._notes)),
        )

    def _replay(self) -> None:
        try:
            why = watch(self._folder, [moment.seq for moment in self._moments], self._see)
        except FAULTS as fault:
            why = str(fault)
        if why:
            self._notes.append(why)

    def _see(self, seq: int, performers: Sequence[Performer]) -> bool:
        if len(self._seen) < len(self._moments) and seq == self._moments[len(self._seen)].seq:
            self._seen.append({each.strategy_id: _seen(each) for each in performers})
        self._progress(seq + 1, self._records)
        return len(self._seen) < len(self._moments) and self._in_time()

    def _in_time(self) -> bool:
        if time.monotonic() < self._deadline:
            return True
        self._notes.append(f"not all of it was done within {self._limit_s:g} s")
        return False

    def _note_recorded(self, accounts: RecordedAccounts) -> None:
        """Say whose money is as equity.csv has it."""
        if len(self._seen) < len(self._moments):
            since = self._moments[len(self._seen)].seq
            self._notes.append(f"from record {since} on strategies are as equity.csv has them")
        replayed = {name for seen in self._seen for name in seen}
        others = [name for name in accounts.strategies if name not in replayed]
        if self._seen and others:
            self._notes.append(f"{', '.join(others)}: as equity.csv has it")


def symbol_names(run: Run) -> list[str]:
    """A run's symbols by slot; the configured ones when its manifest was never written."""
    return [str(name) for name in run.manifest.get("symbols") or run.config.get("symbols") or ()]


def shown_symbols(run: Run, names: Sequence[str]) -> list[str]:
    """Up to SYMBOLS of them: the traded ones in the order of their first fills, then the others by slot."""
    traded = [symbol for symbol in run.trades["symbol"].unique().tolist() if symbol in names]
    return list(dict.fromkeys([*traded, *names]))[:SYMBOLS]


def _seen(performer: Performer) -> StrategyAt:
    """A strategy that runs once more, now."""
    lane, engine = performer.lane, performer.engine
    equity = lane.equity()  # marks what is held first
    money = lane.portfolio
    order_seq = lane.last_id[0]
    if not isinstance(engine, WatchedEngine):
        return StrategyAt(money.cash, equity, money.positions, order_seq=order_seq, exact=True)
    return StrategyAt(
        money.cash,
        equity,
        money.positions,
        performer.version,
        engine.shown_indicators(),
        engine.said.last,
        engine.said.seq,
        order_seq,
        exact=True,
    )


def _instant(
    moment: Moment, seen: Mapping[str, StrategyAt], strategies: Sequence[str], accounts: RecordedAccounts
) -> Instant:
    """What was seen of each strategy, else what is recorded of it."""
    found: list[StrategyAt | None] = []
    for name in strategies:
        recorded = None if name in seen else accounts.at(name, moment.epoch, moment.ts)
        found.append(
            seen.get(name)
            if recorded is None
            else StrategyAt(recorded.cash, recorded.equity, recorded.positions)
        )
    return Instant(moment.seq, str(moment.ts), moment.epoch, moment.prices, found)


class _Told:
    """Lines of progress on standard error, not too many."""

    def __init__(self) -> None:
        self._due = 0.0

    def __call__(self, done: int, total: int) -> None:
        if time.monotonic() >= self._due or done == total:
            self._due = time.monotonic() + SAY_S
            print(f"records {done} of {total}", file=sys.stderr, flush=True)


def main(argv: list[str] | None = None) -> int:
    """Print a run's instants as JSON; returns the exit code."""
    parser = argparse.ArgumentParser(prog="instants", description="What stood at instants of a run, as JSON.")
    parser.add_argument("run", type=Path, help="the folder of a run or an evaluation")
    parser.add_argument("--instants", type=int, default=1000, metavar="N", help=f"so many, at most {MOST}")
    parser.add_argument("--limit-s", type=float, default=LIMIT_S, metavar="S", help="the time it may take")
    arguments = parser.parse_args(argv)
    try:
        with _output_aside():
            found = instants(arguments.run, arguments.instants, limit_s=arguments.limit_s, progress=_Told())
    except (NotARun, NotATape, OSError) as fault:
        print(fault, file=sys.stderr)
        return EXIT_DATA
    print(msgspec.json.encode(found).decode())
    return EXIT_OK


@contextmanager
def _output_aside() -> Iterator[None]:
    """What is printed meanwhile, by whatever means, goes to standard error: it is no part of the result."""
    sys.stdout.flush()
    result = os.dup(1)
    os.dup2(2, 1)
    try:
        yield
    finally:
        sys.stdout.flush()
        os.dup2(result, 1)
        os.close(result)


if __name__ == "__main__":
    sys.exit(main())
