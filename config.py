"""The one configuration: typed, checked once, errors by path and value.

    config = load_config("config.json")
    config.Strategy.short_window

Paths inside a configuration are relative to the project's root, so that a copy kept in `runs/<id>/`
means the same thing.
"""

import re
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any, Final, Literal

import msgspec
from msgspec import Meta, Struct, field

ROOT: Final = Path(__file__).resolve().parent
DEFAULT_CONFIG: Final = ROOT / "config.json"

Port = Annotated[int, Meta(ge=1, le=65535)]
Positive = Annotated[float, Meta(gt=0)]
NonNegative = Annotated[float, Meta(ge=0)]
Count = Annotated[int, Meta(ge=1)]
Sentiment = Annotated[int, Meta(ge=0, le=100)]
Symbol = Annotated[str, Meta(pattern=r"^[A-Za-z0-9._/=\-^:]{1,24}$")]
Name = Annotated[str, Meta(pattern=r"^[A-Za-z0-9._\-]{1,64}$")]


class ConfigError(Exception):
    """A configuration that cannot be used; the message names file, key, value and what is allowed."""


class Section(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Base of every section: frozen, and an unknown key is an error."""


class Instrument(Section, frozen=True):
    """What is known of one symbol."""

    tick_size: Positive = 0.0001
    multiplier: Positive = 1.0
    currency: str = "USD"
    session: str | None = None
    settlement: Literal["cash_and_carry", "futures"] = "cash_and_carry"


class Run(Section, frozen=True):
    """What makes two runs the same run."""

    seed: Annotated[int, Meta(ge=0)] = 42
    start: str = "2025-01-02T14:30:00Z"  # event time of a simulated market's first record
    duration_s: NonNegative = 0.0  # event time; 0: until stopped
    export_dir: str = "runs"
    log_dir: str = "logs"

    @property
    def start_ns(self) -> int:
        """`start` in ns UTC."""
        moment = datetime.fromisoformat(self.start)
        if moment.tzinfo is None:
            moment = moment.replace(tzinfo=UTC)
        return int(moment.timestamp()) * 1_000_000_000 + moment.microsecond * 1000


class Pace(Section, frozen=True):
    """How fast records leave: so many a second, or by their own event time."""

    mode: Literal["ticks_per_s", "event"] = "ticks_per_s"
    ticks_per_s: NonNegative = 200.0  # 0: as fast as the consumers can take


class Schedule(Section, frozen=True):
    """When a simulated market's records happen, and how fast event time passes."""

    dt_fixed_ms: Positive = 200.0
    speed: Positive = 1.0  # wall-clock pacing only: event seconds per wall second


class News(Section, frozen=True):
    """Seeded random news."""

    every_ticks: NonNegative = 100.0  # one item per so many ticks on average; 0: none


class GatewaySection(Section, frozen=True):
    """Turn a provider into streams."""

    host: str = "127.0.0.1"
    md_port: Port = 8000
    news_port: Port = 8001
    provider: Literal["csv", "random_walk"] = "csv"
    data_path: str = "data/market_data-1.csv"
    loop: bool = True
    pace: Pace = field(default_factory=Pace)
    schedule: Schedule = field(default_factory=Schedule)
    news: News = field(default_factory=News)
    on_slow: Literal["drop", "disconnect"] = "drop"  # plain clients
    session_on_slow: Literal["auto", "wait", "drop"] = (
        "auto"  # auto: wait exactly when the source is not paced
    )
    client_buffer_bytes: Annotated[int, Meta(ge=4096, le=1 << 30)] = 4 << 20
    max_clients: Annotated[int, Meta(ge=1, le=1000)] = 256


class OrderBookSection(Section, frozen=True):
    """Give every record one place in one order, and publish it."""

    host: str = "127.0.0.1"
    md_port: Port = 8000
    news_port: Port = 8001
    shared_memory_name: Name = "market_prices"
    tape_capacity: Annotated[int, Meta(ge=4096, le=1 << 28)] = 1 << 20  # records of 48 bytes
    symbol_capacity: Annotated[int, Meta(ge=1, le=1 << 20)] = 4096


class StrategyEntry(Section, frozen=True):
    """One strategy file, its parameters and the symbols it wants (none: all)."""

    id: Name
    path: str
    params: dict[str, Any] = field(default_factory=dict)
    symbols: tuple[Symbol, ...] = ()


class StrategySection(Section, frozen=True):
    """Run strategy files on every tick and news item."""

    shared_memory_name: Name = "market_prices"
    order_manager_host: str = "127.0.0.1"
    order_manager_port: Port = 9000
    short_window: Annotated[int, Meta(ge=1, le=1_000_000)] = 5
    long_window: Annotated[int, Meta(ge=2, le=1_000_000)] = 20
    bullish_threshold: Sentiment = 60
    bearish_threshold: Sentiment = 40
    quantity: Positive = 10.0
    strategies: Annotated[tuple[StrategyEntry, ...], Meta(max_length=1)] = ()

    @property
    def entry(self) -> StrategyEntry:
        """The strategy to run: the configured one, or the default with the windows and thresholds above."""
        if self.strategies:
            return self.strategies[0]
        keys = ("short_window", "long_window", "bullish_threshold", "bearish_threshold", "quantity")
        params = {key: getattr(self, key) for key in keys}
        return StrategyEntry(id="sma_news", path="strategies/sma_news/strategy.py", params=params)


class Risk(Section, frozen=True):
    """Limits on orders."""

    max_order_qty: Positive = 1_000_000.0


class OrderManagerSection(Section, frozen=True):
    """Check, count and log orders."""

    host: str = "127.0.0.1"
    port: Port = 9000
    shared_memory_name: Name = "market_prices"
    risk: Risk = field(default_factory=Risk)
    max_clients: Annotated[int, Meta(ge=1, le=1000)] = 256


class Config(Section, frozen=True):
    """A whole configuration. `path` is the file it was read from."""

    symbols: Annotated[tuple[Symbol, ...], Meta(min_length=1)]
    instruments: dict[Symbol, Instrument] = field(default_factory=dict)
    run: Run = field(default_factory=Run)
    Gateway: GatewaySection = field(default_factory=GatewaySection)
    OrderBook: OrderBookSection = field(default_factory=OrderBookSection)
    Strategy: StrategySection = field(default_factory=StrategySection)
    OrderManager: OrderManagerSection = field(default_factory=OrderManagerSection)


def resolve(path: str) -> Path:
    """A path of a configuration: absolute, or relative to the project's root."""
    return ROOT / path


def load_config(path: str | Path = DEFAULT_CONFIG) -> Config:
    """Read and check a JSON configuration. Raises ConfigError."""
    path = Path(path)
    try:
        raw = path.read_bytes()
    except OSError as fault:
        raise ConfigError(f"{path}: cannot be read: {fault.strerror}") from None
    return parse_config(raw, path.name)


def parse_config(raw: bytes, source: str = "config.json") -> Config:
    """Check a configuration given as JSON text; `source` is what errors call it. Raises ConfigError."""
    try:
        tree = msgspec.json.decode(raw)
    except msgspec.DecodeError as fault:
        raise ConfigError(f"{source}: not JSON: {fault}") from None
    try:
        config = msgspec.convert(tree, Config)
    except msgspec.ValidationError as fault:
        raise ConfigError(_explain(source, tree, str(fault))) from None
    _check_together(source, config)
    return config


def to_json(config: Config) -> bytes:
    """The effective configuration, every default written out, as indented JSON."""
    return msgspec.json.format(msgspec.json.encode(config), indent=2) + b"\n"


def _explain(source: str, tree: object, message: str) -> str:
    """msgspec's `Expected … - at `$.A.b`` as `config.json: A.b = value: expected …`."""
    problem, _, where = message.partition(" - at ")
    keys = re.findall(r"\.([^.\[\]`]+)|\[(\d+)\]", where)
    value: object = tree
    for name, index in keys:
        if isinstance(value, dict) and name in value:
            value = value[name]
        elif isinstance(value, list | tuple) and index and int(index) < len(value):
            value = value[int(index)]
        else:
            value = None
    dotted = "".join(f".{name}" if name else f"[{index}]" for name, index in keys).lstrip(".")
    problem = problem[:1].lower() + problem[1:]
    if "unknown field" in problem or "missing required field" in problem:
        return f"{source}: {dotted or 'top level'}: {problem}"
    return f"{source}: {dotted} = {value!r}: {problem}"


def _check_together(source: str, config: Config) -> None:
    """Rules between keys."""

    def refuse(text: str) -> None:
        raise ConfigError(f"{source}: {text}")

    strategy, book = config.Strategy, config.OrderBook
    if strategy.short_window >= strategy.long_window:
        refuse(
            f"Strategy.short_window ({strategy.short_window}) must be below "
            f"Strategy.long_window ({strategy.long_window})"
        )
    if strategy.bearish_threshold >= strategy.bullish_threshold:
        refuse(
            f"Strategy.bearish_threshold ({strategy.bearish_threshold}) must be below "
            f"Strategy.bullish_threshold ({strategy.bullish_threshold})"
        )
    if len(set(config.symbols)) != len(config.symbols):
        twice = sorted({symbol for symbol in config.symbols if config.symbols.count(symbol) > 1})
        refuse(f"symbols: {', '.join(twice)} listed twice")
    if len(config.symbols) > book.symbol_capacity:
        refuse(
            f"OrderBook.symbol_capacity ({book.symbol_capacity}) must be at least the number of "
            f"symbols ({len(config.symbols)})"
        )
    ports = {
        "Gateway.md_port": (config.Gateway.host, config.Gateway.md_port),
        "Gateway.news_port": (config.Gateway.host, config.Gateway.news_port),
        "OrderManager.port": (config.OrderManager.host, config.OrderManager.port),
    }
    for key, address in ports.items():
        for other, taken in ports.items():
            if key < other and address == taken:
                refuse(f"{key} and {other} are both {address[1]}")
    for key, host in (("Gateway.host", config.Gateway.host), ("OrderManager.host", config.OrderManager.host)):
        if host not in ("localhost", "::1") and not host.startswith("127."):
            refuse(
                f"{key} = {host!r}: only loopback addresses may be listened on (127.0.0.1, localhost, ::1)"
            )
    try:
        start_ns = config.run.start_ns
    except ValueError:
        start_ns = -1
    if start_ns < 0:
        refuse(
            f"run.start = {config.run.start!r}: expected an ISO 8601 time from 1970 on, like 2025-01-02T14:30:00Z"
        )
