"""What an operator can do to a run: the actions behind the CONTROL records of its tape.

An action is a line of `runs/<id>/control.jsonl`, written before its record is on the tape, and the
record's value is the line's `id`. Each has an owner, who alone takes notice of it:

    Action          the lanes, at the record: it stands at the head of the tape
    MarketAction    the Gateway, which puts the record into its feed where the action takes effect
    FeedAction      the OrderBook, at once; the record stands at the head of the tape
    StrategyAction  the Strategy, as soon as it reads the line; the record stands at the head of the tape
"""

from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Any, ClassVar, Final, Literal, TypeVar

import msgspec
from msgspec import Meta

from trading_lib.models import MANUAL, Side

StrategyId = Annotated[str, Meta(pattern=r"^[A-Za-z0-9._\-]{1,24}\Z")]
OrderId = Annotated[
    str, Meta(min_length=1, max_length=40)
]  # `<tape seq>.<k>`: two numbers of 19 digits at most
BasisPoints = Annotated[float, Meta(ge=0, le=1000)]
Amount = Annotated[float, Meta(ge=0, le=1e9)]
ParamName = Annotated[str, Meta(pattern=r"^[A-Za-z_][A-Za-z0-9_]{0,63}\Z")]
MAX_PARAMS: Final = 4096  # bytes of one change, as JSON: a line of the file stays far below 64 KiB
MAX_DEPTH: Final = 8  # lists and tables in each other: whoever reads the line has room on his stack
Symbol = Annotated[str, Meta(pattern=r"^[A-Za-z0-9._/=\-^:]{1,24}\Z")]
Positive = Annotated[float, Meta(gt=0, le=1e15)]


class KillSwitch(msgspec.Struct, frozen=True, kw_only=True, tag="kill_switch", tag_field="action"):
    """Cancel what is open and accept nothing more, of one strategy or of all (None)."""

    strategy: StrategyId | None = None
    flatten: bool | None = None  # None: as OrderManager.risk.kill_switch_flatten says


class AllowTrading(msgspec.Struct, frozen=True, kw_only=True, tag="allow_trading", tag_field="action"):
    """Take the kill switch back: accept orders again from here on, of one strategy or of all (None)."""

    strategy: StrategyId | None = None


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


class PlaceOrder(msgspec.Struct, frozen=True, kw_only=True, tag="order", tag_field="action"):
    """An order by hand. It is the lane's that plain clients' orders go to, caused by the action's record.

    `price` is a limit order's limit. Of a market order it is what the operator saw, which the collar compares;
    None: whatever the price is at the record.
    """

    strategy: ClassVar[StrategyId] = MANUAL

    symbol: Symbol
    side: Side
    qty: Positive
    type: Literal["market", "limit"]
    price: Positive | None = None
    tif: Literal["day", "gtc"] = "day"  # gtc: good till cancelled

    def __post_init__(self) -> None:
        if self.type == "limit" and self.price is None:
            raise ValueError("a limit order needs a price")


class Pause(msgspec.Struct, frozen=True, tag="pause", tag_field="action"):
    """Hold the market: nothing more leaves the Gateway. Event time stands still with it."""


class Resume(msgspec.Struct, frozen=True, tag="resume", tag_field="action"):
    """Go on where `Pause` has stopped it; what was due then is due as much later as the pause was long."""


class Speed(msgspec.Struct, frozen=True, kw_only=True, tag="speed", tag_field="action"):
    """Let records leave faster or slower; event time is untouched.

    `speed` is event seconds per second where the pace is event time, and a factor on the configured rate
    where it is ticks per second. It replaces the one before.
    """

    speed: Annotated[float, Meta(ge=1e-6, le=1e9)]


class Reset(msgspec.Struct, frozen=True, kw_only=True, tag="reset", tag_field="action"):
    """Begin the market anew, from its first record: an EPOCH follows. `seed` None: the one it has."""

    seed: Annotated[int, Meta(ge=0, le=2**63 - 1)] | None = None


class Schedule(msgspec.Struct, frozen=True, kw_only=True, tag="schedule", tag_field="action"):
    """Begin a simulated market anew with other arrivals: a tick every `dt_ms`, or after random gaps of that mean.

    It keeps them, also when it is reset.
    """

    mode: Literal["fixed", "poisson"]
    dt_ms: Annotated[float, Meta(ge=1e-6, le=1e12)]


class Model(msgspec.Struct, frozen=True, kw_only=True, tag="model", tag_field="action"):
    """Change parameters of a simulated market's model from here on, by name."""

    changes: Annotated[
        dict[Annotated[str, Meta(pattern=r"^[A-Za-z0-9_]{1,32}\Z")], float], Meta(min_length=1, max_length=32)
    ]


class Params(msgspec.Struct, frozen=True, kw_only=True, tag="params", tag_field="action"):
    """Run a strategy with other parameters from here on; those that are not named stay as they are."""

    strategy: StrategyId
    params: Annotated[dict[ParamName, Any], Meta(min_length=1, max_length=64)]

    def __post_init__(self) -> None:
        if len(msgspec.json.encode(self.params)) > MAX_PARAMS:
            raise ValueError(f"params: more than {MAX_PARAMS:,} bytes")
        inner: list[Any] = [self.params]
        for _ in range(MAX_DEPTH):
            inner = [value for each in inner for value in _inside(each)]
        if any(isinstance(value, list | dict) for value in inner):
            raise ValueError(f"params: more than {MAX_DEPTH} lists and tables in each other")


def _inside(value: Any) -> Iterable[Any]:
    """What a list or a table holds."""
    if isinstance(value, dict):
        return value.values()
    return value if isinstance(value, list) else ()


class HotReload(msgspec.Struct, frozen=True, kw_only=True, tag="hot_reload", tag_field="action"):
    """Whether a strategy file that is saved runs at once, from here on."""

    on: bool


class DropFeed(msgspec.Struct, frozen=True, tag="drop_feed", tag_field="action"):
    """Hang up the connection to the Gateway, to see what happens: it is made again at once."""


Action = KillSwitch | Cancel | Costs | PlaceOrder | AllowTrading
MarketAction = Pause | Resume | Speed | Reset | Schedule | Model
FeedAction = DropFeed
StrategyAction = Params | HotReload
OperatorAction = Action | MarketAction | FeedAction | StrategyAction

_decoder: Final = msgspec.json.Decoder(Action)
_of_strategies: Final = msgspec.json.Decoder(StrategyAction)

_Owned = TypeVar("_Owned", Action, StrategyAction, MarketAction, OperatorAction)


class _Line(msgspec.Struct):
    id: int


_line: Final = msgspec.json.Decoder(_Line)
_market: Final = msgspec.json.Decoder(MarketAction)
_everything: Final = msgspec.json.Decoder(OperatorAction)


def decode_market_action(text: str) -> MarketAction:
    """An action of the Gateway, from JSON. Raises msgspec.DecodeError, and RecursionError for one nested too deep."""
    action: MarketAction = _market.decode(text)
    return action


def read_actions(path: Path) -> dict[int, Action]:
    """Every action of a run by its id: see `parse_actions`."""
    try:
        return parse_actions(path.read_bytes())
    except FileNotFoundError:
        return {}


def parse_actions(content: bytes) -> dict[int, Action]:
    """Every action in a file's content; what is torn at the end, or no action of the lanes, is not there."""
    return _parse(content, _decoder)


def parse_strategy_actions(content: bytes) -> dict[int, StrategyAction]:
    """The same of the Strategy's, in the order in which they were asked for."""
    return _parse(content, _of_strategies)


def parse_market_actions(content: bytes) -> dict[int, MarketAction]:
    """The same of the Gateway's, done or refused."""
    return _parse(content, _market)


def parse_all_actions(content: bytes) -> dict[int, OperatorAction]:
    """The same of everybody's; those of a later version are not there."""
    return _parse(content, _everything)


def _parse(content: bytes, decoder: msgspec.json.Decoder[_Owned]) -> dict[int, _Owned]:
    actions: dict[int, _Owned] = {}
    for line in content.split(b"\n")[:-1]:  # what follows the last newline is being written
        try:
            actions[_line.decode(line).id] = decoder.decode(line)
        except msgspec.DecodeError:  # ValidationError, too: an action of somebody else
            continue
    return actions
