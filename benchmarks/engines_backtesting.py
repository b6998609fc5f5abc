"""The moving averages' crossover on backtesting.py. Imported where that is installed."""

import time
import warnings
from pathlib import Path

import numpy as np
import pandas as pd
from backtesting import Backtest, Strategy


class Crossover(Strategy):  # type: ignore[misc]
    """Long above, short below; the averages are whole arrays, as this engine wants them."""

    fast, slow, quantity = 10, 50, 10
    orders = 0

    def init(self) -> None:
        def average(prices: np.ndarray, n: int) -> pd.Series:
            return pd.Series(prices).rolling(n).mean()

        self.one = self.I(average, self.data.Close, self.fast)
        self.two = self.I(average, self.data.Close, self.slow)

    def next(self) -> None:
        above = self.one[-1] - self.two[-1]
        if above > 0 and not self.position.is_long:
            self.position.close()
            self.buy(size=self.quantity)
            type(self).orders += 1
        elif above < 0 and not self.position.is_short:
            self.position.close()
            self.sell(size=self.quantity)
            type(self).orders += 1


def run(path: Path, fast: int, slow: int, quantity: int) -> tuple[float, int]:
    """Seconds of `Backtest.run`, statistics included, and orders."""
    cents, times = np.load(path)
    close = cents / 100
    table = pd.DataFrame({"Open": close, "High": close, "Low": close, "Close": close}, pd.to_datetime(times))
    warnings.simplefilter("ignore")
    test = Backtest(table, Crossover, cash=1_000_000, commission=0.00005)
    began = time.perf_counter()
    test.run(fast=fast, slow=slow, quantity=quantity)
    return time.perf_counter() - began, Crossover.orders
