"""The commands about results: `sim eval`, `sim compare`."""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

from lab.arguments import Parameter, duration, parameter

if TYPE_CHECKING:
    from lab.evaluation import Progress

EXIT_CHECK: Final = 3

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
) -> None:
    """Evaluate strategies: the orders and fills of a run, without sockets, as fast as they can.

    Without --out nothing is written. The same configuration and seed give the same files, byte for byte.
    """
    from lab.evaluation import evaluate as run

    with progress_bar("evaluating") as progress:
        result = run(
            [_file(path) for path in strategy] if strategy else None,
            data,
            config=config,
            params=dict(params or []),
            seed=seed,
            duration_s=length,
            out=out,
            ticks=not no_ticks,
            progress=progress,
        )
    print(result)
    if out is not None:
        print(f"\nwritten to {out}, report: {out / 'report.html'}")
    raise typer.Exit(1 if result.errors else 0)


def _file(path: Path) -> Path:
    return path / "strategy.py" if path.is_dir() else path


@contextmanager
def progress_bar(what: str) -> "Iterator[Callable[[Progress], None] | None]":
    """Ticks so far and how quickly, on a terminal; what is printed elsewhere is the result alone."""
    if not sys.stderr.isatty():
        yield None
        return
    from rich.console import Console
    from rich.progress import BarColumn, SpinnerColumn, TextColumn, TimeElapsedColumn
    from rich.progress import Progress as Bar

    columns = (SpinnerColumn(), TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn())
    with Bar(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(what, total=None)

        def show(done: "Progress") -> None:
            bar.update(task, description=f"{what}: {done.ticks:,} ticks", advance=0)

        yield show


@research.command(epilog="Example:  sim compare runs/20260102-143000-4711 evaluations/first")
def compare(folders: Annotated[list[Path], typer.Argument(help="Folders of runs and evaluations.")]) -> None:
    """Show the metrics of runs and evaluations side by side, and what else differs between them."""
    from lab.compare import compare as table

    print(table(folders))
