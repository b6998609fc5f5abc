"""What a sweep has found, for a person: a table, and how much of it is luck."""

from collections.abc import Iterable, Mapping, Sequence
from math import sqrt
from typing import Any, Final, NamedTuple

from lab.sweep_tasks import DRAWS, Plan, Tried
from lab.tables import text_table
from Recorder.report_text import UNDEFINED, number, percent
from trading_lib.measure import Undefined
from trading_lib.overfitting import Moments, deflated_sharpe_of, expected_best

SHOWN: Final = 20  # combinations in the table


class Row(NamedTuple):
    """A combination over all seeds. Sharpe ratios are per period; growth, drawdown and counts are means."""

    params: Mapping[str, Any]
    inside: Moments
    outside: Moments
    growth_inside: float
    growth_outside: float
    drawdown: float
    fills: float
    orders: float
    ticks: float
    errors: int

    @property
    def ratio(self) -> float | None:
        """In-sample; None: undefined."""
        return _ratio(self.inside)


class SweepResult(NamedTuple):
    """`rows` the best in-sample first; `refused` combinations that the strategy would not start with."""

    plan: Plan
    rows: Sequence[Row]
    baseline: Sequence[Row]
    left_out: int
    refused: Mapping[str, int]
    year: float
    basis: str

    @property
    def best(self) -> Row | None:
        """The first, if it has a Sharpe ratio."""
        return self.rows[0] if self.rows and self.rows[0].ratio is not None else None

    @property
    def deflated(self) -> float | None:
        """The probability that the best's true Sharpe ratio is above what chance gives the best of as many."""
        if self.best is None:
            return None
        return deflated_sharpe_of(self.best.inside, self.trials)

    @property
    def trials(self) -> list[float]:
        """Every ratio that was found, per period."""
        return [row.ratio for row in self.rows if row.ratio is not None]

    def __str__(self) -> str:
        return "\n".join([_table(self), "", *_sentences(self)])


def rows_of(tried: Iterable[Tried]) -> list[Row]:
    """The combinations that were tried on every seed, the best Sharpe ratio in-sample first."""
    found: dict[int, list[Tried]] = {}
    for one in tried:
        found.setdefault(one.task.number, []).append(one)
    rows = [_row(own) for _, own in sorted(found.items()) if all(one.trying is not None for one in own)]
    return sorted(rows, key=lambda row: (row.ratio is None, -(row.ratio or 0.0)))


def _row(tried: Sequence[Tried]) -> Row:
    own = [one.trying for one in sorted(tried, key=lambda one: one.task.seed) if one.trying is not None]
    n = len(own)
    inside, outside = own[0].inside, own[0].outside
    for one in own[1:]:
        inside, outside = inside + one.inside, outside + one.outside
    return Row(
        {
            name: value
            for name, value in tried[0].task.params.items()
            if name != "seed" or not tried[0].task.baseline
        },
        inside,
        outside,
        sum(one.growth_inside for one in own) / n,
        sum(one.growth_outside for one in own) / n,
        max(one.drawdown for one in own),
        sum(one.fills for one in own) / n,
        sum(one.orders for one in own) / n,
        sum(one.ticks for one in own) / n,
        sum(one.errors for one in own),
    )


def _ratio(sample: Moments) -> float | None:
    try:
        return sample.ratio
    except Undefined:
        return None


def _table(result: SweepResult) -> str:
    """The best, a line each."""
    root = sqrt(result.year)

    def a_year(sample: Moments) -> str:
        found = _ratio(sample)
        return UNDEFINED if found is None else number(found * root)

    def error(sample: Moments) -> str:
        """One standard error: Lo (2002), as `metrics.sharpe_standard_error`."""
        found = _ratio(sample)
        return UNDEFINED if found is None else number(sqrt((1 + found * found / 2) / sample.n) * root)

    names = list(result.plan.axes)
    head = [*names, "Sharpe in", "±", "Sharpe out", "return in", "return out", "drawdown", "fills"]
    lines = [
        [
            *(str(row.params[name]) for name in names),
            *(a_year(row.inside), error(row.inside), a_year(row.outside)),
            *(percent(row.growth_inside), percent(row.growth_outside), percent(row.drawdown)),
            f"{row.fills:,.0f}",
        ]
        for row in result.rows[:SHOWN]
    ]
    more = len(result.rows) - SHOWN
    return text_table(head, lines) + (f"\n… and {more:,} more" if more > 0 else "")


def _sentences(result: SweepResult) -> list[str]:
    plan, n, root = result.plan, len(result.rows), sqrt(result.year)
    seeds = f" on {len(plan.seeds)} seeds each" if len(plan.seeds) > 1 else ""
    left = f"; {result.left_out:,} were left out by --where" if result.left_out else ""
    lines = [
        f"{n:,} combinations were tried{seeds}{left}. In: the first {100 * plan.split:.0f} % of the time, out: the "
        f"rest. Sharpe ratios are a year's ({result.basis})."
    ]
    lines += [
        f"{count:,} evaluations were refused by the strategy: {why}" for why, count in result.refused.items()
    ]
    errors = sum(row.errors for row in result.rows)
    if errors:
        lines.append(f"The strategy raised {errors:,} exceptions: these numbers are of what it did besides.")
    best = result.best
    if best is None:
        return [*lines, "No combination has a Sharpe ratio: nothing was earned or lost often enough."]
    if n > 1:
        chance = expected_best(result.trials) * root
        lines += [
            f"By chance alone, the best of {n:,} such tries would show a Sharpe ratio of about {chance:.2f}.",
            f"Deflated Sharpe ratio of the best: {number(result.deflated)}: the probability that it is better than "
            "that chance (above 0.95 is worth a second look).",
        ]
    else:
        lines.append(f"The probability that its true Sharpe ratio is above 0: {number(result.deflated)}.")
    return [*lines, *_against_random(result, best)]


def _against_random(result: SweepResult, best: Row) -> list[str]:
    """How many entries at random, as often and as large, did as well."""
    if not result.baseline:
        return []
    beaten_in = sum((_ratio(row.inside) or 0.0) < (best.ratio or 0.0) for row in result.baseline)
    line = f"Entering at random, as often and as large: the best was better in-sample than {beaten_in} of {DRAWS}"
    outside = _ratio(best.outside)
    if outside is not None:
        beaten = sum((_ratio(row.outside) or 0.0) < outside for row in result.baseline)
        line += f", out of sample than {beaten} of {DRAWS}"
    return [f"{line}."]
