"""Does a strategy look ahead? Its orders must be the same when the market ends right behind them.

    result = check_lookahead("strategies/sma_crossover/strategy.py", "data/market_data-1.csv")
    print(result)

The strategy is run once over the whole market, then over prefixes that each end with a record that caused an
order: what is decided there can only depend on what was there. In each of these runs whoever opens the data's
file finds only as much of it as the market has shown. A module that was handed over instead of its file is not
imported anew, so what it has computed already stays.
"""

import builtins
import gzip
import io
import math
import os
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any, Final

import msgspec
import numpy as np
import numpy.typing as npt

from config import resolve
from lab.evaluation import CHUNK
from lab.interrupts import interruptible
from lab.market import End, Market
from lab.rehearsal import Difference, told
from lab.subject import Configured, Strategies, Subject, subject_of
from lab.trial import Trial
from OrderManager.records import Taken
from trading_lib.lane import Request
from trading_lib.models import Kind

PREFIXES: Final = 8  # each is a run of its own; one that peeks at every order is found by the first


class LookaheadResult(msgspec.Struct, frozen=True):
    """`orders` were placed over the whole market; `prefixes` are the records behind which it was made to end.

    `changed` is the first request that is another one (`recorded`: over the whole market), None if all are the
    same; `changed_at` the end of the shortest such prefix.
    """

    orders: int
    prefixes: tuple[int, ...]
    changed: Difference | None = None
    changed_at: int = -1

    @property
    def ok(self) -> bool:
        """Whether no order depends on what came after it, as far as was looked."""
        return self.changed is None

    def __str__(self) -> str:
        if self.changed is None:
            many = f"{self.orders:,} requests, {len(self.prefixes)} prefixes"
            return f"no look-ahead found: the same orders without what follows ({many})"
        text = str(self.changed).replace("recorded", "with what follows").replace("replayed", "without it")
        return (
            f"LOOK-AHEAD: an order changes when the market ends behind record {self.changed_at - 1}: {text}"
        )


def check_lookahead(
    strategy: Strategies = None,
    data: str | Path | None = None,
    *,
    config: Configured = None,
    params: Mapping[str, Any] | None = None,
    seed: int | None = None,
    duration_s: float | None = None,
    prefixes: int = PREFIXES,
    progress: Callable[[int, int], None] | None = None,
) -> LookaheadResult:
    """Look for orders that change when the future is taken away. Arguments and exceptions: see `evaluate`.

    `prefixes`: over so many the strategy is run again, from the shortest to the longest; `progress` is told how
    many runs are done, and of how many.
    """
    subject = subject_of(strategy, data, config, params, seed, duration_s)
    whole, ticks = _requests(subject, None)
    ends = _ends([request.cause_seq + 1 for _, request in whole], prefixes)
    for done, end in enumerate(ends, 1):
        if progress is not None:
            progress(done, len(ends) + 1)
        shown = int(np.searchsorted(ticks, end)) / max(1, len(ticks))
        again, _ = _requests(subject, End(end, None), shown)
        before = [each for each in whole if each[1].cause_seq < end]
        changed = _first_difference(before, again)
        if changed is not None:
            return LookaheadResult(len(whole), ends, changed, end)
    return LookaheadResult(len(whole), ends)


def _requests(
    subject: Subject, end: End | None, shown: float = 1.0
) -> tuple[list[tuple[str, Request]], npt.NDArray[np.int64]]:
    """Every request in the order of the tape, with its strategy; and the records that were ticks.

    `shown` is the share of the data's file that a strategy may find.
    """
    found: list[tuple[str, Request]] = []
    ticks = [np.empty(0, np.int64)]
    with (
        closing(Market(subject.config, end)) as market,
        _only(_file(subject), shown),
        interruptible() as interrupted,
    ):
        trial = Trial(subject.config, subject.modules(), market.names, {})
        while len(chunk := market.read(CHUNK)):
            facts = trial.step(chunk)
            if interrupted.is_set():
                raise KeyboardInterrupt
            found += [(fact.strategy_id, fact.request) for fact in facts if isinstance(fact, Taken)]
            ticks.append(chunk["seq"][chunk["kind"] == Kind.TICK])
    found.sort(key=lambda each: (each[1].cause_seq, each[0], each[1].index))
    return found, np.concatenate(ticks)


def _ends(causes: Sequence[int], count: int) -> tuple[int, ...]:
    """Some of the places right behind a record that caused an order, evenly spread, the last one among them."""
    places = sorted(set(causes))
    picked = (
        {places[len(places) * number // count - 1] for number in range(1, count + 1)} if places else set()
    )
    return tuple(sorted(picked))


def _first_difference(
    whole: Sequence[tuple[str, Request]], again: Sequence[tuple[str, Request]]
) -> Difference | None:
    for number in range(max(len(whole), len(again))):
        one = whole[number] if number < len(whole) else None
        two = again[number] if number < len(again) else None
        if one is None or two is None or (one[0], told(one[1])) != (two[0], told(two[1])):
            strategy_id, first = min(
                (each for each in (one, two) if each is not None), key=lambda each: each[1].cause_seq
            )
            requests = [each[1] if each is not None else None for each in (one, two)]
            return Difference(strategy_id, first.cause_seq, *requests)
    return None


def _file(subject: Subject) -> Path | None:
    """The data's file, of a market that has one."""
    gateway = subject.config.Gateway
    return resolve(gateway.data_path) if gateway.provider == "csv" else None


@contextmanager
def _only(file: Path | None, share: float) -> Iterator[None]:
    """Have everybody in this process who opens `file` find only its first lines, this share of them."""
    if file is None:
        yield
        return
    with tempfile.TemporaryDirectory(prefix="lookahead-") as folder:
        shown = Path(folder) / file.name
        _write_part(file, shown, share)

        def instead(opener: Callable[..., Any]) -> Callable[..., Any]:
            def opening(name: Any, *arguments: Any, **named: Any) -> Any:
                return opener(shown if _is(name, file) else name, *arguments, **named)

            return opening

        doors: list[tuple[Any, str]] = [(builtins, "open"), (io, "open"), (os, "open")]
        real = [getattr(module, name) for module, name in doors]
        for (module, name), opener in zip(doors, real, strict=True):
            setattr(module, name, instead(opener))
        try:
            yield
        finally:
            for (module, name), opener in zip(doors, real, strict=True):
                setattr(module, name, opener)


def _is(name: object, file: Path) -> bool:
    """Whether an argument of `open` names the file, by whatever path."""
    if not isinstance(name, str | bytes | os.PathLike):
        return False
    return os.path.realpath(os.fsdecode(name)) == os.path.realpath(file)


def _write_part(file: Path, shown: Path, share: float) -> None:
    """The header of a file and the first lines behind it."""
    opener = gzip.open if file.suffix == ".gz" else open
    with opener(file, "rb") as source:
        lines = source.readlines()
    with opener(shown, "wb") as target:
        target.writelines(lines[: 1 + math.ceil(share * (len(lines) - 1))])
