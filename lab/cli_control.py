"""`sim control`: what an operator does to a run that is going on."""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Final

import typer

COMMANDS: Final = {
    "kill-part": "kill",
    "start-part": "start",
}  # on main.py; all else is an action on the market

control_commands = typer.Typer()


@control_commands.command(epilog="Example:  sim control model sigma=0.4 theta=0.1")
def control(
    action: Annotated[
        str,
        typer.Argument(
            help="pause, resume, speed X, reset [SEED], schedule mode=fixed|poisson dt_ms=X, "
            "model NAME=VALUE …, costs NAME=VALUE …, "
            "order symbol=SYMBOL side=BUY|SELL qty=N type=market|limit price=X, "
            "cancel strategy=ID client_order_id=ID, kill-switch [STRATEGY], drop-feed, kill-part PART, "
            "start-part PART."
        ),
    ],
    words: Annotated[
        list[str] | None, typer.Argument(metavar="[X] [NAME=VALUE]…", help="What the action needs.")
    ] = None,
    run: Annotated[
        Path | None, typer.Option(help="The run's folder; unless given the last begun that is going on.")
    ] = None,
) -> None:
    """Steer a run that is going on: hold its market, hurry it, change its model or costs, stop its orders.

    It takes effect at one place of the tape; run and place are printed. The run is not comparable any more.
    To see what a run outlives, kill-part kills one of its processes, which main.py starts again.
    """
    if action in COMMANDS:
        _command(COMMANDS[action], words or [], run)
    else:
        _action(action, words or [], run)


def _command(verb: str, words: Sequence[str], run: Path | None) -> None:
    from lab.steer import command

    if len(words) != 1:
        raise typer.BadParameter("expected the name of one part")
    run = run or _last_begun()
    command(run, verb, words[0])
    print(f"run {run.resolve().name}: {words[0]}: {verb} asked for")


def _action(name: str, words: Sequence[str], run: Path | None) -> None:
    from lab.steer import UnknownAction, action_of, send

    try:
        wanted = action_of(name, words)
    except UnknownAction as fault:
        raise typer.BadParameter(str(fault)) from None
    run = run or _last_begun()
    answer = send(run, wanted)
    print(f"run {run.resolve().name}: action {answer.id}, from record {answer.seq} on")


def _last_begun() -> Path:
    from config import load_config, resolve
    from lab.steer import live_run

    return live_run(resolve(load_config().run.export_dir))
