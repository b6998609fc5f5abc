"""Strategies evaluated: the same orders, trades and equity as live, without sockets, threads or a clock.

    from lab import evaluate

    result = evaluate("strategies/sma_crossover/strategy.py", "data/market_data-1.csv")
    print(result)
    result.trades                             # a pandas DataFrame, a row per fill
    result.write("evaluations/first")

The market is read from its provider, every record passes the same engine and lane as in a run, and the
Recorder's writers make the files. docs/DETERMINISM.md says what is promised.
"""

import tempfile
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any, Final, NamedTuple

import msgspec
import numpy as np
import pandas as pd

from config import Config
from lab.artefacts import Artefacts
from lab.interrupts import interruptible
from lab.market import End, Market
from lab.subject import Configured, Strategies, Subject, subject_of
from lab.summary import measured, table
from lab.trial import Outcome, Trial
from Recorder import manifest as manifests
from Recorder.report import write_report
from Recorder.run_files import load_run
from trading_lib.models import Kind, OpenOrder

CHUNK: Final = 1 << 13  # records between two looks at anything but the strategies: they stay in the cache
KEPT: Final = (
    *("trades.csv", "matched_trades.csv", "equity.csv", "prices.csv", "inputs.jsonl"),
    *("manifest.json", "config.json"),
)


class Progress(NamedTuple):
    """How far an evaluation is: records and ticks so far, and the event time of the last."""

    records: int
    ticks: int
    ts: int


class Evaluation(msgspec.Struct, frozen=True, eq=False):
    """What came of an evaluation. `print` shows its table.

    `trades` has a row per fill, `matched_trades` one per FIFO match, `equity` one per account row (see
    `Recorder.run_files`). `metrics` are of all strategies together, None where undefined; `outcomes` has
    each strategy's counts, errors and open orders; `log` what strategies said, the newest lines.
    """

    config: Config
    manifest: dict[str, Any]
    trades: pd.DataFrame
    matched_trades: pd.DataFrame
    equity: pd.DataFrame
    metrics: dict[str, float | None]
    outcomes: tuple[Outcome, ...]
    log: tuple[str, ...]
    files: dict[str, bytes]  # by name: what `write` writes

    @property
    def open_orders(self) -> dict[str, list[OpenOrder]]:
        """By strategy: what worked or was on its way when the market ended."""
        return {outcome.strategy_id: outcome.open_orders for outcome in self.outcomes}

    @property
    def errors(self) -> int:
        """Exceptions of user code."""
        return sum(outcome.errors for outcome in self.outcomes)

    def write(self, folder: str | Path) -> Path:
        """Write the tables, the manifest and a report into a folder, made if need be. Raises OSError.

        An evaluation without `out` keeps no tape, so that only the report of daily data has prices.
        """
        path = Path(folder)
        path.mkdir(parents=True, exist_ok=True)
        for name, content in self.files.items():
            (path / name).write_bytes(content)
        write_report(path)
        return path

    def __str__(self) -> str:
        return table(self.manifest, self.metrics, self.outcomes)

    __repr__ = __str__


def evaluate(
    strategy: Strategies = None,
    data: str | Path | None = None,
    *,
    config: Configured = None,
    params: Mapping[str, Any] | None = None,
    seed: int | None = None,
    duration_s: float | None = None,
    out: str | Path | None = None,
    ticks: bool = False,
    report: bool = True,
    progress: Callable[[Progress], None] | None = None,
) -> Evaluation:
    """Run strategies over a market in event time.

    `strategy`: a strategy file, a module, an entry of a configuration, or several of them; None: those of the
    configuration. `data`: a CSV file; None: the configured market. `config`: a configuration, its file or its
    keys; without `symbols` those of the data. `params`, `seed` and `duration_s` (event time, s) replace those
    of the configuration. A CSV file without a duration is played once. `progress` hears of every few
    thousand records.

    `out` is a folder to write everything to: tape.bin, prices.csv and events.jsonl (with `ticks` in it only when
    asked for), and report.html unless `report` is False, beside what `Evaluation.write` writes.

    Raises ConfigError, DataError, StrategyError, ValueError for a market that cannot be, NotEmpty for an `out`
    that holds something else, OSError. An exception of a strategy's functions is counted, not raised. Ctrl-C
    stops it at the next chunk of records, with KeyboardInterrupt; a second one ends the process at once.
    """
    subject = subject_of(strategy, data, config, params, seed, duration_s)
    return evaluate_subject(subject, out=out, ticks=ticks, report=report, progress=progress)


def evaluate_subject(
    subject: Subject,
    *,
    out: str | Path | None = None,
    ticks: bool = False,
    report: bool = True,
    end: End | None = None,
    progress: Callable[[Progress], None] | None = None,
) -> Evaluation:
    """The same of what has been said already. `end` stops the market where another one was stopped."""
    if out is not None:
        done = _evaluated(subject, Path(out), end, progress, ticks=ticks, tape=True)
        if report:
            write_report(out)
        return done
    with tempfile.TemporaryDirectory(prefix="evaluation-") as folder:
        return _evaluated(subject, Path(folder), end, progress, ticks=False, tape=False)


def _evaluated(
    subject: Subject,
    folder: Path,
    end: End | None,
    progress: Callable[[Progress], None] | None,
    *,
    ticks: bool,
    tape: bool,
) -> Evaluation:
    """Once; and again with wider tables if a strategy came to hold what is not among the symbols."""
    columns: Sequence[str] = subject.config.symbols
    while True:
        files = Artefacts(folder, subject.config, columns, tape=tape, ticks=ticks)
        with closing(files), closing(Market(subject.config, end)) as market:
            trial, known = _run(subject, market, files, progress)
            if not files.rows.wider:
                facts = trial.finish()
                outcomes = trial.outcomes()
                errors = {"errors of the strategy": sum(outcome.errors for outcome in outcomes)}
                manifest = files.finish(market.names, facts, known, errors)
                return _result(subject.config, folder, manifest, outcomes, trial.log)
            columns = files.rows.wider


def _run(
    subject: Subject, market: Market, files: Artefacts, progress: Callable[[Progress], None] | None
) -> tuple[Trial, list[manifests.Known]]:
    known = subject.versions()
    trial = Trial(subject.config, subject.modules(), market.names, {each.id: each.version for each in known})
    records = ticks = 0
    with interruptible() as interrupted:
        while len(chunk := market.read(CHUNK)):
            files.write(chunk, market.names, trial.step(chunk))
            if interrupted.is_set():
                raise KeyboardInterrupt
            if progress is not None:
                records += len(chunk)
                ticks += int(np.count_nonzero(chunk["kind"] == Kind.TICK))
                progress(Progress(records, ticks, int(chunk["ts"][-1])))
    return trial, known


def _result(
    config: Config, folder: Path, manifest: dict[str, Any], outcomes: list[Outcome], log: Sequence[str]
) -> Evaluation:
    run = load_run(folder)
    return Evaluation(
        config,
        manifest,
        run.trades,
        run.matched_trades,
        run.equity,
        measured(run),
        tuple(outcomes),
        tuple(log),
        {name: (folder / name).read_bytes() for name in KEPT if (folder / name).exists()},
    )
