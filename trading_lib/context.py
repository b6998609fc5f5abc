"""`ctx`: what a strategy can ask and do.

Everything it answers is event time and comes from the tape as consumed: prices, fills and positions are
those of the strategy's own lane.
"""

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from trading_lib import indicators
from trading_lib.models import OpenOrder, OrderType, Side, TimeInForce

if TYPE_CHECKING:
    from trading_lib.engine import Engine

# Why a tick brought no order: what every strategy may answer with `ctx.no_trade`.
WARMING_UP: Final = "warming up"
SIGNALS_DISAGREE: Final = "signals disagree"
ALREADY_IN_POSITION: Final = "already in position"
RISK_DENIED: Final = "risk denied"
NO_DATA: Final = "no data"

MAX_REASONS: Final = 32  # different ones that are counted; the rest is one
REASON_CHARS: Final = 100  # of one that are kept
OTHER_REASONS: Final = "other reasons"
MAX_SHOWN: Final = 64  # indicators whose values are shown, the first of each name and symbol

KINDS: Final = {
    name: kind
    for name, kind in vars(indicators).items()
    if isinstance(kind, type) and hasattr(kind, "update")
}


class Indicators:
    """`ctx.indicator`: streaming indicators, `ctx.indicator.SMA(20)`. What is made here can be shown."""

    def __init__(self, symbol: Callable[[], str]) -> None:
        self._symbol = symbol
        self.made: dict[str, Any] = {}  # by name, with the symbol of the record they were made at

    def __getattr__(self, name: str) -> Callable[..., Any]:
        kind = KINDS.get(name)
        if kind is None:
            raise AttributeError(f"no indicator {name!r}, only {', '.join(sorted(KINDS))}")
        return partial(self._make, kind)

    def _make(self, kind: type, *arguments: Any, **named: Any) -> Any:
        indicator = kind(*arguments, **named)
        label = f"{self._symbol()} {getattr(indicator, 'name', kind.__name__)}".lstrip()
        if label not in self.made and len(self.made) < MAX_SHOWN:
            self.made[label] = indicator
        return indicator

    def values(self) -> dict[str, Any]:
        """The latest value of each, None until it is warm."""
        return {label: getattr(made, "value", None) for label, made in self.made.items()}


class Context:
    """What a strategy file calls `ctx`. User attributes are fine; they last until the epoch ends."""

    def __init__(self, engine: "Engine", reasons: dict[str, int]) -> None:
        self._engine = engine
        self._reasons = reasons
        self._state: dict[str, Any] = {}
        self.indicator = Indicators(lambda: engine.symbol)

    def get_param(self, name: str, default: Any = None) -> Any:
        """A parameter: from the configuration, else from the file's PARAMS, else `default`."""
        return self._engine.params.get(name, default)

    def set_state(self, name: str, value: Any) -> None:
        """Keep a value under a name, until the epoch ends."""
        self._state[name] = value

    def get_state(self, name: str, default: Any = None) -> Any:
        """What was kept under a name, else `default`."""
        return self._state.get(name, default)

    def position(self, symbol: str | None = None) -> float:
        """The signed position, filled and on its way as market orders; without a symbol the current record's."""
        return self._engine.lane.position(symbol or self._engine.symbol)

    def price(self, symbol: str | None = None) -> float | None:
        """The last price as consumed from the tape, None if there was none."""
        return self._engine.lane.prices.get(symbol or self._engine.symbol)

    def open_orders(self, symbol: str | None = None) -> list[OpenOrder]:
        """Every order that works, waits for its trigger or is on its way, market orders too; of all symbols,
        or of one."""
        return [order for order in self._engine.open_orders() if symbol is None or order.symbol == symbol]

    def no_trade(self, reason: str) -> None:
        """Count why this tick brings no order: what "why no trade?" shows."""
        reasons = self._reasons
        try:
            reasons[reason] += 1
        except KeyError:
            reason = _writable(str(reason))[:REASON_CHARS]
            if reason not in reasons and len(reasons) >= MAX_REASONS:
                reason = OTHER_REASONS
            reasons[reason] = reasons.get(reason, 0) + 1

    def place_market_order(
        self, side: Side | str, qty: float, tag: str | None = None, symbol: str | None = None
    ) -> str:
        """Buy or sell at the market; without a symbol the current record's. Returns the client order id."""
        return self._engine.place(Side(side), qty, symbol, tag)

    def place_limit_order(
        self,
        side: Side | str,
        qty: float,
        limit_price: float,
        tag: str | None = None,
        symbol: str | None = None,
        tif: TimeInForce | str = "ROD",
    ) -> str:
        """Buy at `limit_price` or lower, sell at it or higher. `tif`: ROD (today), GTC, IOC or FOK."""
        return self._engine.place(
            Side(side), qty, symbol, tag, OrderType.LIMIT, TimeInForce(tif), limit_price=limit_price
        )

    def place_stop_order(
        self,
        side: Side | str,
        qty: float,
        stop_price: float,
        tag: str | None = None,
        symbol: str | None = None,
        tif: TimeInForce | str = "ROD",
    ) -> str:
        """A market order once the price reaches `stop_price`: at or above it for BUY, at or below it for SELL."""
        return self._engine.place(
            Side(side), qty, symbol, tag, OrderType.STOP, TimeInForce(tif), stop_price=stop_price
        )

    def place_stop_limit_order(
        self,
        side: Side | str,
        qty: float,
        stop_price: float,
        limit_price: float,
        tag: str | None = None,
        symbol: str | None = None,
        tif: TimeInForce | str = "ROD",
    ) -> str:
        """A limit order at `limit_price` once the price reaches `stop_price`."""
        return self._engine.place(
            Side(side),
            qty,
            symbol,
            tag,
            OrderType.STOP_LIMIT,
            TimeInForce(tif),
            limit_price=limit_price,
            stop_price=stop_price,
        )

    def cancel(self, client_order_id: str) -> str:
        """Ask to cancel an order: it takes as long as an order does. Returns the request's own id."""
        return self._engine.cancel(client_order_id)

    def log(self, message: object) -> None:
        """A line in the strategy's log, written once the orders of the batch are on their way."""
        self._engine.lines.append(_writable(f"{self._engine.strategy_id}: {message}"))


def _writable(text: str) -> str:
    """The text with what is no UTF-8 as an escape."""
    return text.encode("utf-8", "backslashreplace").decode()
