"""What each strategy is doing, in lines for a person: state, version, lag, its last error, why it does not trade."""

from collections.abc import Mapping, Sequence
from typing import Any, Final

from logger import harmless

REASONS_SHOWN: Final = 2
ERROR_SHOWN: Final = 110  # characters


def strategy_lines(strategies: Sequence[Mapping[str, Any]], most: int) -> list[str]:
    """A line for each of the first `most`, those in trouble first, and another one for an error."""
    first = sorted(strategies, key=lambda one: not _trouble(one))
    lines = []
    for one in first[:most]:
        lines.append(harmless(_line(one)))
        if text := _trouble(one):
            lines.append(f"  {harmless(text)[:ERROR_SHOWN]}")
    if len(first) > most:
        lines.append(f"… and {len(first) - most} more")
    return lines


def _line(one: Mapping[str, Any]) -> str:
    reloads = f", {one['reloads']} reloads" if one["reloads"] else ""
    version = f"  version {one['version'][:8]}{reloads}" if one["version"] else ""
    lag = f"  {one['lag']:,} ticks ({one['lag_ms']:,.0f} ms) behind" if one["lag"] else ""
    return f"{one['strategy'][:12]:<12} {one['state']}{version}{lag}{_reasons(one)}"


def _reasons(one: Mapping[str, Any]) -> str:
    counted = sorted(one["why"].items(), key=lambda reason: -reason[1])[:REASONS_SHOWN]
    return f"  no trade: {', '.join(f'{name} {count:,}' for name, count in counted)}" if counted else ""


def _trouble(one: Mapping[str, Any]) -> str:
    """The newest thing that went wrong; nothing for one that is well."""
    return str(one["error"] or one["last_error"])
