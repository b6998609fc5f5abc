"""`sim control`: what an operator does to a run that is going on."""

from pathlib import Path
from typing import Annotated

import typer

control_commands = typer.Typer()


@control_commands.command(epilog="Example:  sim control model sigma=0.4 theta=0.1")
def control(
    action: Annotated[
        str,
        typer.Argument(
            help="pause, resume, speed X, reset [SEED], model NAME=VALUE …, costs NAME=VALUE …, "
            "cancel strategy=ID client_order_id=ID, kill-switch [STRATEGY], drop-feed, "
            "params STRATEGY NAME=VALUE …, hot-reload true|false."
        ),
    ],
    words: Annotated[
        list[str] | None, typer.Argument(metavar="[X] [NAME=VALUE]…", help="What the action needs.")
    ] = None,
    run: Annotated[
        Path | None, typer.Option(help="The run's folder; the newest that is going on unless given.")
    ] = None,
) -> None:
    """Steer a run that is going on: hold its market, hurry it, change its model or costs, stop its orders.

    It takes effect at one place of the tape, which is printed, and the run is not comparable any more.
    """
    from config import load_config, resolve
    from lab.steer import UnknownAction, action_of, live_run, send

    try:
        wanted = action_of(action, words or [])
    except UnknownAction as fault:
        raise typer.BadParameter(str(fault)) from None
    answer = send(run or live_run(resolve(load_config().run.export_dir)), wanted)
    print(f"action {answer.id}, from record {answer.seq} on")
