"""Strategies as plain objects: feed them ticks and news, they answer with signals. No process needed."""

from trading_lib.strategy.base import Priced, Signal, SignalStrategy
from trading_lib.strategy.combined_strategy import MovingAverageNewsStrategy
from trading_lib.strategy.news_based_strategy import NewsBasedStrategy
from trading_lib.strategy.price_based_strategy import MovingAverageStrategy

__all__ = [
    "SignalStrategy",
    "MovingAverageStrategy",
    "NewsBasedStrategy",
    "MovingAverageNewsStrategy",
    "Signal",
    "Priced",
]
