"""Strategies ranked while they trade: by return, then by the smaller drawdown, then by the Sharpe ratio.

From the status of the OrderManager (`lanes`), which has each lane's money and standing. Drawdown and Sharpe
ratio are of the current epoch (see `trading_lib.standing`), the return is since the run began.
"""

from collections.abc import Mapping, Sequence
from math import inf
from typing import Any, Final, NamedTuple

from trading_lib.models import MANUAL

HEADING: Final = f"{'':>3} {'strategy':<24} {'return':>10} {'drawdown':>10} {'Sharpe':>8} {'equity':>15}"
UNDEFINED: Final = "–"


class Place(NamedTuple):
    """One strategy's place; `growth` is the return since the beginning, None: undefined."""

    rank: int
    strategy_id: str
    growth: float | None
    drawdown: float | None
    sharpe: float | None
    equity: float


def is_own(lane: Mapping[str, Any]) -> bool:
    """Whether a lane is shown: `manual` only once it trades, be it without commission."""
    traded = any(lane.get(name) for name in ("commission", "positions", "realized"))
    return lane["strategy_id"] != MANUAL or traded


def ranked(lanes: Sequence[Mapping[str, Any]]) -> list[Place]:
    """The best first; equal ones by their id."""
    own = [lane for lane in lanes if is_own(lane)]
    return [
        Place(rank, lane["strategy_id"], _growth(lane), lane["drawdown"], lane["sharpe"], lane["equity"])
        for rank, lane in enumerate(sorted(own, key=_merit), 1)
    ]


def _growth(lane: Mapping[str, Any]) -> float | None:
    return lane["equity"] / lane["initial"] - 1 if lane["initial"] > 0 else None


def _merit(lane: Mapping[str, Any]) -> tuple[float, float, float, str]:
    """What sorts the better one first; what is undefined comes last."""
    growth, drawdown, sharpe = _growth(lane), lane["drawdown"], lane["sharpe"]
    return (
        -growth if growth is not None else inf,
        drawdown if drawdown is not None else inf,
        -sharpe if sharpe is not None else inf,
        lane["strategy_id"],
    )


def leaderboard(lanes: Sequence[Mapping[str, Any]], most: int | None = None) -> list[str]:
    """A heading and a line for each place, at most so many; nothing unless there are two to compare."""
    places = ranked(lanes)
    if len(places) < 2:
        return []
    shown = places if most is None else places[:most]
    more = [f"{'':>3} … and {len(places) - len(shown)} more"] if len(shown) < len(places) else []
    return [HEADING, *map(_line, shown), *more]


def _line(place: Place) -> str:
    growth = f"{100 * place.growth:+.3f} %" if place.growth is not None else UNDEFINED
    drawdown = f"{100 * place.drawdown:.3f} %" if place.drawdown is not None else UNDEFINED
    sharpe = f"{place.sharpe:.1f}" if place.sharpe is not None else UNDEFINED
    return f"{place.rank:>3} {place.strategy_id:<24} {growth:>10} {drawdown:>10} {sharpe:>8} {place.equity:>15,.2f}"


def leaders(lanes: Sequence[Mapping[str, Any]], most: int) -> str:
    """`1 momentum 100,120.00 (+0.120 %), 2 …`, for a line; nothing unless there are two to compare."""
    places = ranked(lanes)
    if len(places) < 2:
        return ""
    more = f" … {len(places)}" if len(places) > most else ""
    return ", ".join(map(_leader, places[:most])) + more


def _leader(place: Place) -> str:
    growth = f" ({100 * place.growth:+.3f} %)" if place.growth is not None else ""
    return f"{place.rank} {place.strategy_id} {place.equity:,.2f}{growth}"
