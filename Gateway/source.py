"""The configured market: a provider with news, passes, marks and an end around it, without socket or clock."""

from config import Config, resolve
from Gateway.providers import (
    CsvProvider,
    Limit,
    NewsProvider,
    Passes,
    Provider,
    RandomWalkProvider,
    TimeMarks,
)
from trading_lib.models import NS_PER_S


def make_provider(config: Config) -> tuple[Provider, CsvProvider | None]:
    """The configured source with news, passes, marks and duration, and the file below it if there is one."""
    gateway, run = config.Gateway, config.run
    tick_sizes = {symbol: instrument.tick_size for symbol, instrument in config.instruments.items()}
    source: Provider
    file: CsvProvider | None = None
    if gateway.provider == "csv":
        source = file = CsvProvider(resolve(gateway.data_path), config.symbols, tick_sizes)
    else:
        source = RandomWalkProvider(
            config.symbols,
            start_ns=run.start_ns,
            dt_ms=gateway.schedule.dt_fixed_ms,
            seed=run.seed,
            tick_sizes=tick_sizes,
        )
    source = Passes(source, loop=gateway.loop)
    if gateway.news.every_ticks:  # outside the passes, so that each has news of its own
        source = NewsProvider(source, every=gateway.news.every_ticks, seed=run.seed)
    rate = gateway.pace.ticks_per_s
    if run.duration_s and gateway.pace.mode == "ticks_per_s" and rate:
        source = Limit(source, ticks=round(run.duration_s * rate))
    elif run.duration_s:
        source = Limit(source, duration_ns=round(run.duration_s * NS_PER_S))
    if gateway.pace.mode == "event":
        source = TimeMarks(source)
    return source, file
