"""Progress bars on a terminal; nothing where none is. They are drawn on the standard error: results stay alone."""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

from config import Config
from trading_lib.models import NS_PER_S

if TYPE_CHECKING:
    from lab.evaluation import Progress

WHOLE: Final = 1000  # steps of a bar


def fraction(config: Config, done: "Progress") -> float | None:
    """How much of an evaluation is done; None where its end is not known beforehand."""
    run, gateway = config.run, config.Gateway
    if not run.duration_s:
        return None
    if gateway.pace.mode == "ticks_per_s" and gateway.pace.ticks_per_s:
        return min(1.0, done.ticks / (run.duration_s * gateway.pace.ticks_per_s))
    if gateway.provider == "csv":
        return None  # its first time is not known here
    return min(1.0, (done.ts - run.start_ns) / NS_PER_S / run.duration_s)


@contextmanager
def evaluation_bar(config: Config) -> "Iterator[Callable[[Progress], None] | None]":
    """Ticks so far, and how much of it that is."""
    if not sys.stderr.isatty():
        yield None
        return
    from rich.console import Console
    from rich.progress import BarColumn, SpinnerColumn, TextColumn, TimeElapsedColumn
    from rich.progress import Progress as Bar

    columns = (SpinnerColumn(), TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn())
    with Bar(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("evaluating", total=None)

        def show(done: "Progress") -> None:
            share = fraction(config, done)
            bar.update(
                task,
                description=f"{done.ticks:,} ticks",
                total=None if share is None else WHOLE,
                completed=0 if share is None else round(share * WHOLE),
            )

        yield show


@contextmanager
def counting_bar(what: str) -> Iterator[Callable[[int, int], None] | None]:
    """So many done of so many."""
    if not sys.stderr.isatty():
        yield None
        return
    from rich.console import Console
    from rich.progress import Progress as Bar

    with Bar(console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(what)
        yield lambda done, total: bar.update(task, completed=done, total=total)
