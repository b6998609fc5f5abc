"""The moving averages' crossover on nautilus_trader's BacktestEngine. Imported where that is installed."""

import time
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
from nautilus_trader.backtest.engine import BacktestEngine, BacktestEngineConfig
from nautilus_trader.config import LoggingConfig
from nautilus_trader.indicators import SimpleMovingAverage
from nautilus_trader.model.currencies import USD
from nautilus_trader.model.data import QuoteTick
from nautilus_trader.model.enums import AccountType, OmsType, OrderSide
from nautilus_trader.model.identifiers import Venue
from nautilus_trader.model.objects import Money, Price, Quantity
from nautilus_trader.test_kit.providers import TestInstrumentProvider
from nautilus_trader.trading.strategy import Strategy


class Crossover(Strategy):  # type: ignore[misc]
    """Long above, short below; flips by one order."""

    def __init__(self, instrument: Any, fast: int, slow: int, quantity: int) -> None:
        super().__init__()
        self.instrument = instrument
        self.fast, self.slow = SimpleMovingAverage(fast), SimpleMovingAverage(slow)
        self.quantity, self.side, self.orders = quantity, 0, 0

    def on_start(self) -> None:
        self.subscribe_quote_ticks(self.instrument.id)

    def on_quote_tick(self, tick: QuoteTick) -> None:
        price = float(tick.bid_price)
        self.fast.update_raw(price)
        self.slow.update_raw(price)
        if not self.slow.initialized:
            return
        side = (
            1 if self.fast.value > self.slow.value else -1 if self.fast.value < self.slow.value else self.side
        )
        if side != self.side:
            quantity = self.quantity if not self.side else 2 * self.quantity
            self.side = side
            self.orders += 1
            order = self.order_factory.market(
                self.instrument.id,
                OrderSide.BUY if side > 0 else OrderSide.SELL,
                self.instrument.make_qty(Decimal(quantity)),
            )
            self.submit_order(order)


def run(path: Path, fast: int, slow: int, quantity: int) -> tuple[float, int]:
    """Seconds of `engine.run`, and orders; making the ticks is not counted."""
    cents, times = np.load(path)
    engine = BacktestEngine(BacktestEngineConfig(logging=LoggingConfig(bypass_logging=True)))
    venue = Venue("SIM")
    engine.add_venue(venue, OmsType.NETTING, AccountType.MARGIN, [Money(1_000_000, USD)])
    instrument = TestInstrumentProvider.equity("AAPL", "SIM")
    engine.add_instrument(instrument)
    size = Quantity.from_int(1_000)
    prices = [(Price(cent / 100, 2), ts) for cent, ts in zip(cents.tolist(), times.tolist(), strict=True)]
    engine.add_data([QuoteTick(instrument.id, price, price, size, size, ts, ts) for price, ts in prices])
    strategy = Crossover(instrument, fast, slow, quantity)
    engine.add_strategy(strategy)
    began = time.perf_counter()
    engine.run()
    took = time.perf_counter() - began
    orders = strategy.orders
    filled = sum(order.is_closed and order.filled_qty > 0 for order in engine.cache.orders())
    assert filled == orders, f"{filled} of {orders} orders were filled"
    engine.dispose()
    return took, orders
