"""The host: one strategy file, every record of the tape in order, and the orders that come of it.

It does not know which process runs it: packed tape records in, orders out. Everything user code sees is
event time; its prices come from the tape as consumed, never from the price book.
"""

import importlib.util
import logging
import sys
import time
import traceback
from collections.abc import Callable, Iterable
from pathlib import Path
from types import ModuleType
from typing import Any, Final

from shared_memory_utils import RECORD
from trading_lib.indicators import SMA
from trading_lib.models import Kind, News, Order, Side, Tick

_TICK: Final = int(Kind.TICK)
_NEWS: Final = int(Kind.NEWS)
_EPOCH: Final = int(Kind.EPOCH)
_GAP: Final = int(Kind.GAP)
USER_FAULTS: Final = (
    BaseException  # user code may raise anything; signals only set flags, so all of it is its own
)
LONGEST_ERROR: Final = 300  # characters of an exception's text that a log line and the status show
ERRORS_SHOWN: Final = 5  # of a strategy's exceptions per burst of records; every one is counted


class StrategyError(Exception):
    """A strategy file that cannot be run; the message says why, with its line."""


def load_strategy(path: Path) -> ModuleType:
    """Import a strategy file as a module of its own. Raises StrategyError."""
    spec = importlib.util.spec_from_file_location(f"strategy_{path.parent.name}", path)
    if spec is None or spec.loader is None or not path.is_file():
        raise StrategyError(f"{path}: no such strategy file")
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses and the like look their module up there
    try:
        spec.loader.exec_module(module)
    except USER_FAULTS as fault:
        raise StrategyError(f"{path}: {_where(fault, str(path))}") from fault
    if not callable(getattr(module, "on_tick", None)):
        raise StrategyError(f"{path}: a strategy has a function on_tick(ctx, tick)")
    return module


def _where(fault: BaseException, path: str) -> str:
    """The innermost line of the strategy file and what went wrong there."""
    if isinstance(fault, SyntaxError) and fault.filename == path:
        return f"line {fault.lineno}: {type(fault).__name__}: {fault.msg}"
    frames = traceback.extract_tb(fault.__traceback__)
    lines = [frame.lineno for frame in frames if frame.filename == path] or [f.lineno for f in frames]
    line = f"line {lines[-1]}: " if lines else ""
    return f"{line}{type(fault).__name__}: {_text(fault)}"


def _text(fault: BaseException) -> str:
    """What an exception says, bounded and writable; user code may have made even that fail."""
    try:
        text = str(fault)
    except USER_FAULTS as second:
        text = f"(its text raises {type(second).__name__})"
    return text[:LONGEST_ERROR].encode("utf-8", "backslashreplace").decode()


class Indicators:
    """`ctx.indicator`: streaming indicators."""

    SMA = SMA


class Context:
    """`ctx`: what a strategy can ask and do. User attributes are fine."""

    indicator = Indicators

    def __init__(self, host: "Host") -> None:
        self._host = host

    def get_param(self, name: str, default: Any = None) -> Any:
        """A parameter from the configuration, else `default`."""
        return self._host.params.get(name, default)

    def position(self, symbol: str | None = None) -> float:
        """The signed position, orders on their way included; without a symbol the current record's."""
        return self._host.positions.get(symbol or self._host.symbol, 0.0)

    def price(self, symbol: str | None = None) -> float | None:
        """The last price as consumed from the tape, None if there was none."""
        return self._host.prices.get(symbol or self._host.symbol)

    def place_market_order(self, side: Side | str, qty: float, symbol: str | None = None) -> str:
        """Send a market order; without a symbol the current record's. Returns the client order id."""
        return self._host.place_market_order(Side(side), qty, symbol or self._host.symbol)

    def log(self, message: object) -> None:
        """A line in the strategy's log, written once the orders of the batch are on their way."""
        text = f"{self._host.strategy_id}: {message}"
        self._host.lines.append(text.encode("utf-8", "backslashreplace").decode())


class Host:
    """Runs one strategy. Owns its context, prices and positions; O(1) per record.

    `symbol_of(slot)` names a price-book slot. `wanted`: the symbols the strategy is called for, empty: all.
    """

    def __init__(
        self,
        strategy_id: str,
        strategy: ModuleType,
        params: dict[str, Any],
        symbol_of: Callable[[int], str],
        log: logging.Logger,
        wanted: Iterable[str] = (),
    ) -> None:
        self.strategy_id = strategy_id
        self.params = params
        self.log = log
        self.prices: dict[str, float] = {}
        self.positions: dict[str, float] = {}
        self.symbol = ""
        self.ticks = self.news = self.epochs = self.gaps = self.errors = self.placed = 0
        self.last_error = ""
        self.orders: list[Order] = []  # what `consume` adds, for the caller to send …
        self.lines: list[str] = []  # … and then to log
        self._strategy = strategy
        self._path = str(getattr(strategy, "__file__", ""))
        self._on_tick: Callable[[Context, Tick], object] = strategy.on_tick
        self._on_news: Callable[[Context, News], object] | None = getattr(strategy, "on_news", None)
        self._symbol_of = symbol_of
        self._wanted = frozenset(wanted or getattr(strategy, "SYMBOLS", ()))
        self._names: list[str] = []
        self._seq = self._ts = -1
        self._index = 0
        self._errors_in_burst = 0
        self._context = Context(self)
        self._init()

    def _init(self) -> None:
        """Fresh state: at the start, and at every epoch."""
        self._context = Context(self)
        init = getattr(self._strategy, "init", None)
        if init is not None:
            try:
                init(self._context)
            except USER_FAULTS as fault:
                raise StrategyError(f"init: {_where(fault, self._path)}") from fault

    def consume(self, packed: bytes) -> None:
        """Process tape records, in order."""
        self._errors_in_burst = 0
        names, prices, wanted = self._names, self.prices, self._wanted
        context, on_tick = self._context, self._on_tick
        for seq, ts, value, _, _, slot, kind in RECORD.iter_unpack(packed):
            if kind == _TICK:
                if slot >= len(names):
                    self._learn(slot)
                symbol = names[slot]
                prices[symbol] = value
                self.ticks += 1
                if wanted and symbol not in wanted:
                    continue
                self._seq, self._ts, self.symbol = seq, ts, symbol
                try:
                    on_tick(context, Tick(symbol, value, ts, seq))
                except USER_FAULTS as fault:
                    self._count_error(fault)
            elif kind == _NEWS:
                self._consume_news(seq, ts, value, slot)
            elif kind == _EPOCH:
                self._begin_epoch()
                context = self._context
            elif kind == _GAP:
                self.gaps += 1

    def _consume_news(self, seq: int, ts: int, value: float, slot: int) -> None:
        self.news += 1
        if slot >= len(self._names):
            self._learn(slot)
        symbol = self._names[slot]
        if self._on_news is None or (self._wanted and symbol not in self._wanted):
            return
        self._seq, self._ts, self.symbol = seq, ts, symbol
        try:
            self._on_news(self._context, News(symbol, int(value), ts, seq))
        except USER_FAULTS as fault:
            self._count_error(fault)

    def _begin_epoch(self) -> None:
        """A source starts anew: last prices and positions of the old one mean nothing any more."""
        self.epochs += 1
        self.prices.clear()
        self.positions.clear()
        self._init()

    def _learn(self, slot: int) -> None:
        self._names.extend(self._symbol_of(i) for i in range(len(self._names), slot + 1))

    def _count_error(self, fault: BaseException) -> None:
        self.errors += 1
        self._errors_in_burst += 1
        self.last_error = _where(fault, self._path)
        if self._errors_in_burst <= ERRORS_SHOWN:
            self.log.warning("%s: at record %d: %s", self.strategy_id, self._seq, self.last_error)

    def place_market_order(self, side: Side, quantity: float, symbol: str) -> str:
        """See Context. Raises ValueError for a quantity that cannot be, or a symbol that has no price yet."""
        price = self.prices.get(symbol)
        if price is None:
            raise ValueError(f"no price of {symbol!r} yet")
        quantity = float(quantity)  # a Decimal or a NumPy number is one, too
        if not 0 < quantity < float("inf"):
            raise ValueError(f"quantity must be positive and finite, not {quantity!r}")
        if self.orders and self.orders[-1].cause_seq == self._seq:
            self._index += 1
        else:
            self._index = 0
        order = Order(symbol, quantity, price, side, self._ts, self._seq, self._index, time.time_ns())
        self.positions[symbol] = self.positions.get(symbol, 0.0) + side.sign * quantity
        self.orders.append(order)
        self.placed += 1
        return f"{self._seq}.{self._index}"

    def take_lines(self) -> list[str]:
        """What the strategy logged since the last call."""
        lines, self.lines = self.lines, []
        return lines

    def take_orders(self) -> list[Order]:
        """The orders placed since the last call."""
        orders, self.orders = self.orders, []
        return orders
