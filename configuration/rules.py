"""Rules between the keys of a configuration: each broken one as `path = value: why`."""

from collections import Counter
from collections.abc import Iterable, Iterator
from ipaddress import ip_address
from itertools import combinations
from typing import Final

from configuration.sections import Config
from trading_lib.sessions import SessionHours

SLOWEST: Final = 1e-6  # ticks per second
LATEST_NS: Final = 2**63  # of an int64


def broken_rules(config: Config) -> Iterator[str]:
    """What is wrong between keys; nothing for a configuration that can be used."""
    yield from _strategy(config)
    yield from _symbols(config)
    yield from _ports(config)
    yield from _rates(config)
    yield from _market(config)
    yield from _hosts(config)
    yield from _times(config)


def _strategy(config: Config) -> Iterator[str]:
    strategy = config.Strategy
    for low, high in (("short_window", "long_window"), ("bearish_threshold", "bullish_threshold")):
        below, above = getattr(strategy, low), getattr(strategy, high)
        if below >= above:
            yield f"Strategy.{low} ({below}) must be below Strategy.{high} ({above})"
    if twice := _twice(entry.id for entry in strategy.strategies):
        yield f"Strategy.strategies: {twice} used twice as id"


def _symbols(config: Config) -> Iterator[str]:
    if twice := _twice(config.symbols):
        yield f"symbols: {twice} listed twice"
    if len(config.symbols) > config.OrderBook.symbol_capacity:
        yield (
            f"OrderBook.symbol_capacity ({config.OrderBook.symbol_capacity}) must be at least the number of "
            f"symbols ({len(config.symbols)})"
        )


def _twice(names: Iterable[str]) -> str:
    return ", ".join(sorted(name for name, count in Counter(names).items() if count > 1))


def _ports(config: Config) -> Iterator[str]:
    gateway, orders, dashboard = config.Gateway, config.OrderManager, config.Dashboard
    ports = {
        "Gateway.md_port": (gateway.host, gateway.md_port),
        "Gateway.news_port": (gateway.host, gateway.news_port),
        "OrderBook.control_port": ("127.0.0.1", config.OrderBook.control_port),
        "OrderManager.events_port": (orders.host, orders.events_port),
        "OrderManager.port": (orders.host, orders.port),
    }
    for (key, address), (other, taken) in combinations(ports.items(), 2):
        if address == taken:
            yield f"{key} and {other} are both {address[1]}"
    if dashboard.enabled:
        for key, (_, port) in ports.items():
            if port == dashboard.port:
                yield f"Dashboard.port and {key} are both {port}"


def _rates(config: Config) -> Iterator[str]:
    rate, every = config.Gateway.pace.ticks_per_s, config.Gateway.news.every_ticks
    if 0 < rate < SLOWEST:
        yield f"Gateway.pace.ticks_per_s = {rate}: expected 0 (flat out), or at least {SLOWEST}"
    if 0 < every < 1:
        yield f"Gateway.news.every_ticks = {every}: expected 0 (no news), or at least 1"


def _market(config: Config) -> Iterator[str]:
    """What only a simulated market has."""
    gateway = config.Gateway
    if gateway.provider != "simulated":
        given = {
            "Gateway.model": gateway.model is not None,
            "Gateway.correlation": gateway.correlation is not None,
            "Gateway.schedule.mode = 'poisson'": gateway.schedule.mode == "poisson",
        }
        for key in (key for key, is_given in given.items() if is_given):
            yield f"{key}: only with Gateway.provider 'simulated', not {gateway.provider!r}"
        return
    from trading_lib.simulation import make_models  # 100 ms, and most configurations have no model

    try:
        parameters = gateway.market
    except ValueError as fault:
        yield str(fault)
        return
    if gateway.correlation is None:
        return
    count = len(config.symbols)
    if {count} != {len(gateway.correlation), *map(len, gateway.correlation)}:
        yield f"Gateway.correlation: must be {count} x {count}, one row a symbol"
        return
    try:
        make_models(parameters, config.symbols, config.run.seed, gateway.correlation)
    except ValueError as fault:  # all else is checked, so it is the matrix
        yield f"Gateway.{fault}"


def _hosts(config: Config) -> Iterator[str]:
    for key, host in (("Gateway.host", config.Gateway.host), ("OrderManager.host", config.OrderManager.host)):
        if not is_loopback(host):
            yield f"{key} = {host!r}: only loopback addresses may be listened on (127.0.0.1, localhost, ::1)"
    dashboard = config.Dashboard
    if dashboard.token is None and not is_loopback(dashboard.host):
        yield (
            f"Dashboard.host = {dashboard.host!r}: beyond loopback (127.0.0.1, localhost, ::1) only with a "
            "Dashboard.token, which whoever may look on needs"
        )


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach what listens there."""
    try:
        return host == "localhost" or ip_address(host).is_loopback
    except ValueError:
        return False


def _times(config: Config) -> Iterator[str]:
    for symbol, instrument in config.instruments.items():
        if instrument.session is not None:
            try:
                SessionHours(instrument.session)
            except ValueError as fault:
                yield f"instruments.{symbol}.session = {instrument.session!r}: {fault}"
    try:
        start_ns = config.run.start_ns
    except ValueError:
        start_ns = -1
    if not 0 <= start_ns < LATEST_NS:
        yield (
            f"run.start = {config.run.start!r}: expected an ISO 8601 time from 1970 to 2262, "
            "like 2025-01-02T14:30:00Z"
        )
