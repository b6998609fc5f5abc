"""`sim`: the lab's command line.

    sim run --headless --duration 60s
    sim eval --strategy strategies/momentum --data data/market_data-1.csv

Exit codes: 0 done, 1 failed, 2 called wrongly, 3 a check said no, 65 data that cannot be used,
78 a configuration or strategy file that cannot be used.

Each command imports what it needs when it is called: `sim --help` answers before pandas would be loaded.
"""

import os
import secrets
import sys
from pathlib import Path
from typing import Annotated, Any, Final

import typer
from typer.core import TyperGroup

from config import DEFAULT_CONFIG, load_config
from lab.arguments import duration, strategy_files
from lab.cli_control import control_commands
from lab.cli_files import files
from lab.cli_research import research
from lab.exit_codes import EXIT_DATA
from lab.settings import configured, run_changes, strategies_change
from runtime.part import EXIT_CONFIG, EXIT_FAILED

FAULTS: Final = {  # by module and class, and their exit codes
    ("config", "ConfigError"): EXIT_CONFIG,
    ("trading_lib.strategy_file", "StrategyError"): EXIT_CONFIG,
    ("Gateway.providers", "DataError"): EXIT_DATA,
    ("Recorder.run_files", "NotARun"): EXIT_DATA,
    ("Recorder.tape_file", "NotATape"): EXIT_DATA,
    ("OrderManager.journal", "JournalError"): EXIT_DATA,
    ("lab.artefacts", "NotEmpty"): EXIT_FAILED,
    ("OrderBook.control_client", "ActionRefused"): EXIT_FAILED,
    ("runtime.status_socket", "Refused"): EXIT_FAILED,
    ("lab.sweep_tasks", "SweepFailed"): EXIT_FAILED,
}


class Commands(TyperGroup):
    """Turns the faults that a command names into a line for a person and an exit code."""

    def invoke(self, ctx: Any) -> Any:
        """See TyperGroup."""
        try:
            return super().invoke(ctx)
        except Exception as fault:
            code = exit_code(fault)
            if code is None:
                raise
            print(f"sim: {fault}", file=sys.stderr)
            raise typer.Exit(code) from None


def exit_code(fault: Exception) -> int | None:
    """What a fault that a person can mend ends with; None for one that is ours."""
    for (module, name), code in FAULTS.items():
        known = getattr(sys.modules.get(module), name, ())  # what was never imported was never raised
        if isinstance(fault, known):
            return code
    return EXIT_FAILED if isinstance(fault, OSError) and not isinstance(fault, BrokenPipeError) else None


app = typer.Typer(
    cls=Commands,
    name="sim",
    help="A trading lab: run strategies on real processes, evaluate them, replay what happened.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
app.add_typer(research)
app.add_typer(files)
app.add_typer(control_commands)


@app.command(epilog="Example:  sim run --headless --duration 60s --speed 100")
def run(
    config: Annotated[Path, typer.Option("--config", "-c", help="A configuration.")] = DEFAULT_CONFIG,
    headless: Annotated[bool, typer.Option("--headless", help="A plain line a second, no table.")] = False,
    length: Annotated[
        float | None,
        typer.Option(
            "--duration", parser=duration, metavar="TIME", help="End after so much event time: 60s, 2m."
        ),
    ] = None,
    speed: Annotated[
        float | None, typer.Option(min=1e-6, help="Event seconds per second on the clock.")
    ] = None,
    strategies: Annotated[
        list[str] | None,
        typer.Option(help="Run these files or folders instead, quoted: 'strategies/*'. May be given again."),
    ] = None,
    seed: Annotated[int | None, typer.Option(min=0, help="Of everything random.")] = None,
    hide_seed: Annotated[
        bool, typer.Option("--hide-seed", help="For a class: draw a seed, unless given, and tell nobody.")
    ] = False,
    verbose: Annotated[int, typer.Option("--verbose", "-v", count=True, help="More lines; twice: all.")] = 0,
) -> None:
    """Run the whole system, as main.py does, until Ctrl-C or for a time.

    A market file that is paced in ticks per second takes a second of --duration for so many ticks.
    """
    import main as system
    from lab.loadable import check_loadable

    known = load_config(config)
    if speed is not None and known.Gateway.pace.mode != "event":
        raise typer.BadParameter("--speed needs event time, and Gateway.pace.mode is ticks_per_s here")
    if hide_seed and seed is None:
        seed = secrets.randbelow(1 << 32)
    changes = [run_changes(seed=seed, hide_seed=hide_seed, duration_s=length, speed=speed)]
    if strategies:
        changes.append(strategies_change(known, strategy_files(strategies)))
    effective = configured(config, *changes)
    check_loadable(effective.Strategy)
    raise typer.Exit(system.supervise(effective, verbose, headless=headless))


@app.command(epilog="Example:  sim report runs/20260102-143000-4711")
def report(run: Annotated[Path, typer.Argument(help="A run's folder.")]) -> None:
    """Finish the files of a run that was killed, and write its report.html."""
    from Recorder.make_report import make_report

    print(make_report(run.resolve()))


def main() -> None:
    """The console script."""
    try:
        app()
    except BrokenPipeError:  # whoever read the output has enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(EXIT_FAILED)


if __name__ == "__main__":
    main()
