"""The configured market: a provider with all that is configured around it, without socket or clock."""

from config import Config, resolve
from Gateway.providers import (
    CsvProvider,
    Faults,
    Limit,
    NewsProvider,
    Passes,
    Provider,
    RandomWalkProvider,
    SimulatedProvider,
    TimeMarks,
)
from trading_lib.models import NS_PER_S


def make_provider(config: Config) -> tuple[Provider, CsvProvider | None]:
    """The configured source with passes, faults, news, duration and marks, and the file below it if there is one."""
    gateway, run = config.Gateway, config.run
    tick_sizes = {symbol: instrument.tick_size for symbol, instrument in config.instruments.items()}
    source: Provider
    file: CsvProvider | None = None
    if gateway.provider == "csv":
        source = file = CsvProvider(resolve(gateway.data_path), config.symbols, tick_sizes)
    elif gateway.provider == "simulated":
        random_arrivals = gateway.schedule.mode == "poisson"
        source = SimulatedProvider(
            config.symbols,
            run.start_ns,
            gateway.market,
            seed=run.seed,
            correlation=gateway.correlation,
            dt_ms=gateway.schedule.dt_mean_ms if random_arrivals else gateway.schedule.dt_fixed_ms,
            random_arrivals=random_arrivals,
            tick_sizes=tick_sizes,
        )
    else:
        source = RandomWalkProvider(
            config.symbols,
            start_ns=run.start_ns,
            dt_ms=gateway.schedule.dt_fixed_ms,
            seed=run.seed,
            tick_sizes=tick_sizes,
        )
    source = Passes(source, loop=gateway.loop)
    if gateway.faults.jitter_ms or gateway.faults.drop:
        faults = gateway.faults
        source = Faults(source, jitter_ms=faults.jitter_ms, drop=faults.drop, seed=run.seed)
    if gateway.news.every_ticks:  # outside the passes, so that each has news of its own
        news = gateway.news
        source = NewsProvider(source, news.every_ticks, seed=run.seed, follows=news.follows_returns)
    rate = gateway.pace.ticks_per_s
    if run.duration_s and gateway.pace.mode == "ticks_per_s" and rate:
        source = Limit(source, ticks=round(run.duration_s * rate))
    elif run.duration_s:
        source = Limit(source, duration_ns=round(run.duration_s * NS_PER_S))
    if gateway.pace.mode == "event":
        source = TimeMarks(source)
    return source, file
