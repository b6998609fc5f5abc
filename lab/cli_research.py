"""The commands about results: `sim eval`, `sim runs`, `sim compare`, `sim replay`, `sim sweep`."""

import time
from pathlib import Path
from typing import Annotated

import typer

from lab.arguments import Axis, Parameter, axis, duration, parameter
from lab.exit_codes import EXIT_CHECK
from trading_lib.models import NS_PER_S

research = typer.Typer()

Params = Annotated[
    list[Parameter] | None,
    typer.Option(
        "--param", parser=parameter, metavar="NAME=VALUE", help="Of the strategy. May be given again."
    ),
]
Length = Annotated[
    float | None,
    typer.Option("--duration", parser=duration, metavar="TIME", help="So much event time: 60s, 2m, 1h."),
]
Configuration = Annotated[Path | None, typer.Option("--config", "-c", help="A configuration.")]


@research.command(
    "eval", epilog="Example:  sim eval --strategy strategies/momentum --data data/market_data-1.csv"
)
def evaluate(
    config: Configuration = None,
    strategy: Annotated[
        list[Path] | None,
        typer.Option(help="A file or its folder, instead of the configured ones. Again: several."),
    ] = None,
    params: Params = None,
    data: Annotated[Path | None, typer.Option(help="A CSV file, instead of the configured market.")] = None,
    seed: Annotated[int | None, typer.Option(min=0, help="Of everything random.")] = None,
    length: Length = None,
    out: Annotated[Path | None, typer.Option(help="Write trades, equity, events and a report here.")] = None,
    no_ticks: Annotated[bool, typer.Option("--no-ticks", help="No ticks in events.jsonl.")] = False,
    like: Annotated[
        Path | None,
        typer.Option(help="As this run was: its configuration and strategies, up to its last record."),
    ] = None,
    lookahead: Annotated[
        bool,
        typer.Option("--check-lookahead", help="Also without what follows: exits 3 when an order changes."),
    ] = False,
) -> None:
    """Evaluate strategies: the orders and fills of a run, without sockets, as fast as they can.

    Without --out nothing is written. The same configuration and seed give the same files, byte for byte.
    """
    from lab.evaluation import evaluate_subject
    from lab.like import end_of, subject_like
    from lab.lookahead import check_lookahead
    from lab.progress import counting_bar, evaluation_bar
    from lab.settings import check_params
    from lab.subject import subject_of

    what = (config, strategy, params, data, seed, length)
    if like is not None and (lookahead or any(value is not None for value in what)):
        raise typer.BadParameter("a run says all of it: --like goes with --out and --no-ticks alone")
    files = [_file(path) for path in strategy] if strategy else None
    own = dict(params or [])
    if own:
        check_params(subject_of(files, data, config, None, seed, length).config, own)
    subject = subject_like(like) if like else subject_of(files, data, config, own, seed, length)
    end = end_of(like) if like else None
    with evaluation_bar(subject.config) as progress:
        result = evaluate_subject(subject, out=out, ticks=not no_ticks, end=end, progress=progress)
    print(result)
    if out is not None:
        print(f"\nwritten to {out}, report: {out / 'report.html'}")
    if lookahead:
        with counting_bar("looking ahead") as counted:
            found = check_lookahead(
                files, data, config=config, params=own, seed=seed, duration_s=length, progress=counted
            )
        print(f"\n{found}")
        if not found.ok:
            raise typer.Exit(EXIT_CHECK)
    raise typer.Exit(1 if result.errors else 0)


def _file(path: Path) -> Path:
    return path / "strategy.py" if path.is_dir() else path


@research.command(epilog="Example:  sim runs --json")
def runs(
    folder: Annotated[
        Path | None, typer.Argument(help="Where the runs are; unless given run.export_dir of config.json.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="A JSON array, for tools.")] = False,
) -> None:
    """List the runs and evaluations in a folder, the newest first."""
    import msgspec

    from config import load_config, resolve
    from lab.run_list import list_runs
    from lab.run_table import run_table

    found = list_runs(folder or resolve(load_config().run.export_dir))
    print(msgspec.json.encode(found).decode() if as_json else run_table(found))


@research.command(epilog="Example:  sim compare runs/20260102-143000-4711 evaluations/first")
def compare(folders: Annotated[list[Path], typer.Argument(help="Folders of runs and evaluations.")]) -> None:
    """Show the metrics of runs and evaluations side by side, and what else differs between them."""
    from lab.compare import compare as table

    print(table(folders))


@research.command(epilog="Example:  sim diff runs/20260102-143000-4711 evaluations/first")
def diff(
    a: Annotated[Path, typer.Argument(help="A run's folder, or an evaluation's.")],
    b: Annotated[Path, typer.Argument(help="Another one.")],
) -> None:
    """Compare two runs or evaluations up to the first event that differs. Exits 3 when there is one."""
    from lab.diff import diff as first_difference

    found = first_difference(a, b)
    print(found if found is not None else "the same: every record, every order, every row")
    raise typer.Exit(0 if found is None else EXIT_CHECK)


@research.command(epilog="Example:  sim replay runs/20260102-143000-4711 --step")
def replay(
    run: Annotated[Path, typer.Argument(help="A run's folder.")],
    step: Annotated[
        bool, typer.Option("--step", help="Print each order with the record that caused it.")
    ] = False,
    speed: Annotated[
        float | None, typer.Option(min=1e-6, help="Event seconds per second; without it as fast as it can.")
    ] = None,
) -> None:
    """Run a recorded run's strategies, as they were, over its tape. Exits 3 unless they make the same orders."""
    from lab.rehearsal import said
    from lab.replay import Replay
    from Recorder.report_text import instant

    again = Replay(run)
    pace = _Pace(speed)
    for made in again:
        pace.wait(made.ts)
        if step:
            print(
                f"{instant(made.ts)}  record {made.seq:>9}  {made.strategy_id}: {said(made.request)}",
                flush=True,
            )
    print(again.result)
    raise typer.Exit(0 if again.result.same else EXIT_CHECK)


class _Pace:
    """Lets event time pass at a speed; without one at once."""

    def __init__(self, speed: float | None) -> None:
        self._speed = speed
        self._began: tuple[float, int] | None = None

    def wait(self, ts: int) -> None:
        """Until it is that time, counted from the first."""
        if self._speed is None:
            return
        if self._began is None:
            self._began = (time.monotonic(), ts)
        due = self._began[0] + (ts - self._began[1]) / NS_PER_S / self._speed
        time.sleep(max(0.0, due - time.monotonic()))


@research.command(
    epilog="Example:  sim sweep --strategy strategies/sma_crossover --param fast=5:20:5 --param slow=20:60:20"
    " --data data/market_data-1.csv"
)
def sweep(
    axes: Annotated[
        list[Axis],
        typer.Option(
            "--param", parser=axis, metavar="NAME=FROM:TO:STEP", help="Or NAME=A,B,C. May be given again."
        ),
    ],
    config: Configuration = None,
    strategy: Annotated[
        Path | None, typer.Option(help="A file or its folder, not the configured one.")
    ] = None,
    data: Annotated[Path | None, typer.Option(help="A CSV file, instead of the configured market.")] = None,
    length: Length = None,
    seed: Annotated[int | None, typer.Option(min=0, help="The first seed.")] = None,
    seeds: Annotated[int, typer.Option(min=1, max=10_000, help="Try each combination on so many seeds.")] = 1,
    jobs: Annotated[int, typer.Option(min=1, max=256, help="Processes.")] = 1,
    where: Annotated[
        str | None, typer.Option(help="Only combinations for which this holds: 'fast < slow'.")
    ] = None,
    split: Annotated[
        float, typer.Option(min=0.05, max=1.0, help="The share of the time that is in-sample.")
    ] = 0.7,
    baseline: Annotated[bool, typer.Option(help="Compare with entries at random.")] = True,
) -> None:
    """Try every combination of parameters, and say what the best of them is worth.

    They are ranked by their Sharpe ratio in the first part of the time; the rest shows what is left of it.
    """
    from lab.conditions import BadCondition, condition
    from lab.progress import counting_bar
    from lab.settings import check_params
    from lab.subject import subject_of
    from lab.sweep import Plan
    from lab.sweep import sweep as run

    values = dict(axes)
    subject = subject_of(_file(strategy) if strategy else None, data, config, None, seed, length)
    check_params(subject.config, values)
    if len(subject.config.Strategy.entries) > 1:
        raise typer.BadParameter("a sweep is of one strategy: name it with --strategy")
    first = subject.config.run.seed
    plan = Plan(subject.config, values, tuple(range(first, first + seeds)), split)
    try:
        holds = condition(where, values) if where is not None else None
        with counting_bar("evaluations") as progress:
            result = run(plan, holds, jobs=jobs, baseline=baseline, progress=progress)
    except BadCondition as fault:
        raise typer.BadParameter(f"--where {fault}") from None
    print(result)
