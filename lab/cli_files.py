"""The commands about files: `sim new-strategy`, `sim doctor`, `sim data`."""

from pathlib import Path
from typing import Annotated

import typer

from config import DEFAULT_CONFIG
from lab.arguments import Parameter, parameter
from lab.exit_codes import EXIT_CHECK

files = typer.Typer()
data = typer.Typer(help="Look at a file of prices, or bring it into shape.", no_args_is_help=True)
files.add_typer(data, name="data")


@files.command("new-strategy", epilog="Example:  sim new-strategy my_first")
def new_strategy(name: Annotated[str, typer.Argument(help="Letters, digits and _.")]) -> None:
    """Write strategies/NAME/strategy.py: a strategy that runs, to begin with."""
    from lab.scaffold import NameRefused
    from lab.scaffold import new_strategy as write

    try:
        file = write(name)
    except NameRefused as fault:
        raise typer.BadParameter(str(fault)) from None
    print(f"wrote {_shown(file)}")
    print(f"check it:     sim doctor {_shown(file)}")
    print(f"evaluate it:  sim eval --strategy {_shown(file)} --out evaluations/{name}")
    print(f"run it:       sim run --strategies {_shown(file.parent)}")


def _shown(path: Path) -> str:
    here = Path.cwd()
    return str(path.relative_to(here)) if path.is_relative_to(here) else str(path)


@files.command(epilog="Example:  sim doctor strategies/sma_crossover/strategy.py")
def doctor(
    path: Annotated[
        Path, typer.Argument(help="A strategy file, a configuration, or a run's folder.")
    ] = DEFAULT_CONFIG,
    params: Annotated[
        list[Parameter] | None,
        typer.Option(
            "--param", parser=parameter, metavar="NAME=VALUE", help="For the dry run of a strategy."
        ),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object, for tools.")] = False,
) -> None:
    """Find out what is wrong with a strategy, a configuration or a run. Exits 3 when something is.

    A strategy is read first and then tried on synthetic ticks; a configuration is tried against this machine:
    libraries, ports, shared memory, data, disk; a run is asked whether it is complete, comparable, replayable.
    """
    import msgspec

    from lab.doctor import NothingToCheck, diagnose
    from lab.findings import failed

    found = []
    try:
        for finding in diagnose(path, dict(params or [])):
            found.append(finding)
            if not as_json:
                print(finding, flush=True)
    except NothingToCheck as fault:
        raise typer.BadParameter(str(fault)) from None
    if as_json:
        print(msgspec.json.encode({"ok": not failed(found), "findings": found}).decode())
    raise typer.Exit(EXIT_CHECK if failed(found) else 0)


@data.command("inspect", epilog="Example:  sim data inspect data/market_data-1.csv")
def inspect(file: Annotated[Path, typer.Argument(help="CSV, plain or gzip.")]) -> None:
    """Say what is in a file: its shape, bad rows by reason and line, symbols, time range, median gaps."""
    from lab.data_files import inspect as look

    print(look(file))


@data.command("import", epilog="Example:  sim data import AAPL.csv --out data/aapl.csv")
def import_(
    file: Annotated[Path, typer.Argument(help="CSV, plain or gzip.")],
    out: Annotated[Path | None, typer.Option(help="Default: data/NAME.csv. Must not exist.")] = None,
) -> None:
    """Write a file's usable rows as timestamp,symbol,price[,size], sorted by time."""
    from config import ROOT
    from lab.data_files import import_file

    target = out or ROOT / "data" / f"{file.name.partition('.')[0]}.csv"
    try:
        rows = import_file(file, target)
    except FileExistsError:
        raise typer.BadParameter(f"{_shown(target)} is there already") from None
    print(f"wrote {rows:,} rows to {_shown(target)}")
