"""What an operator can do to the lanes of a run: the actions behind the CONTROL records of its tape.

An action is a line of `runs/<id>/control.jsonl`, written before its record is on the tape, and the
record's value is the line's `id`.
"""

from pathlib import Path
from typing import Annotated, Final

import msgspec
from msgspec import Meta

StrategyId = Annotated[str, Meta(pattern=r"^[A-Za-z0-9._\-]{1,24}\Z")]
OrderId = Annotated[
    str, Meta(min_length=1, max_length=40)
]  # `<tape seq>.<k>`: two numbers of 19 digits at most
BasisPoints = Annotated[float, Meta(ge=0, le=1000)]
Amount = Annotated[float, Meta(ge=0, le=1e9)]


class KillSwitch(msgspec.Struct, frozen=True, kw_only=True, tag="kill_switch", tag_field="action"):
    """Cancel what is open and accept nothing more, of one strategy or of all (None)."""

    strategy: StrategyId | None = None
    flatten: bool | None = None  # None: as OrderManager.risk.kill_switch_flatten says


class Cancel(msgspec.Struct, frozen=True, kw_only=True, tag="cancel", tag_field="action"):
    """Cancel one open order, at once."""

    strategy: StrategyId
    client_order_id: OrderId


class Costs(msgspec.Struct, frozen=True, kw_only=True, tag="costs", tag_field="action"):
    """Change what executions cost from here on, of one strategy or of all; None leaves a value as it is."""

    strategy: StrategyId | None = None
    slippage_bps: BasisPoints | None = None
    commission_bps: BasisPoints | None = None
    commission_fixed: Amount | None = None
    latency_ms: Amount | None = None


Action = KillSwitch | Cancel | Costs

_decoder: Final = msgspec.json.Decoder(Action)


class _Line(msgspec.Struct):
    id: int


_line: Final = msgspec.json.Decoder(_Line)


def read_actions(path: Path) -> dict[int, Action]:
    """Every action of a run by its id: see `parse_actions`."""
    try:
        return parse_actions(path.read_bytes())
    except FileNotFoundError:
        return {}


def parse_actions(content: bytes) -> dict[int, Action]:
    """Every action in a file's content; what is torn at the end, or no action of the lanes, is not there."""
    actions: dict[int, Action] = {}
    for line in content.split(b"\n")[:-1]:  # what follows the last newline is being written
        try:
            actions[_line.decode(line).id] = _decoder.decode(line)
        except msgspec.DecodeError:  # ValidationError, too: an action of somebody else
            continue
    return actions
