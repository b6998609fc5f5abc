"""Where market data comes from: everything here is a `Provider`."""

from Gateway.providers.faults import Faults
from Gateway.providers.limit import Limit
from Gateway.providers.market_data import CsvProvider
from Gateway.providers.news import NewsProvider
from Gateway.providers.passes import Passes
from Gateway.providers.provider import Batch, DataError, Provider
from Gateway.providers.random_walk import RandomWalkProvider
from Gateway.providers.simulated import SimulatedProvider
from Gateway.providers.time_marks import TimeMarks

__all__ = [
    "Batch",
    "DataError",
    "Provider",
    "CsvProvider",
    "RandomWalkProvider",
    "SimulatedProvider",
    "NewsProvider",
    "Faults",
    "Limit",
    "Passes",
    "TimeMarks",
]
