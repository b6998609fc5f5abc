"""The one configuration: typed, checked once, errors by path and value.

    config = load_config("config.json")
    config.Strategy.short_window

Paths inside a configuration are relative to the project's root, so that a copy kept in `runs/<id>/`
means the same thing.
"""

import os
import re
from collections.abc import Mapping
from datetime import UTC, datetime
from ipaddress import ip_address
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal

import msgspec
from msgspec import Meta, Struct, field, inspect

from trading_lib.sessions import SessionHours

if TYPE_CHECKING:
    from trading_lib.simulation import Parameters

ROOT: Final = Path(__file__).resolve().parent
DEFAULT_CONFIG: Final = ROOT / "config.json"

SLOWEST: Final = 1e-6  # ticks per second

MAX_STRATEGIES: Final = 64  # a worker process each
ENVIRONMENT: Final = "ALGOSIM_"  # ALGOSIM_Gateway__pace__ticks_per_s=1000 overrides one key

DEFAULT_MODEL: Final = "ou"  # of a simulated market

SESSION: Final = r"^([01]\d|2[0-3]):[0-5]\d-([01]\d|2[0-3]):[0-5]\d( [A-Za-z0-9_+\-/]+)?$"

Port = Annotated[int, Meta(ge=1, le=65535)]
Positive = Annotated[float, Meta(gt=0)]
NonNegative = Annotated[float, Meta(ge=0)]
Count = Annotated[int, Meta(ge=1)]
Sentiment = Annotated[int, Meta(ge=0, le=100)]
Symbol = Annotated[str, Meta(pattern=r"^[A-Za-z0-9._/=\-^:]{1,24}$")]
Name = Annotated[str, Meta(pattern=r"^[A-Za-z0-9_][A-Za-z0-9._\-]{0,63}$")]  # of a file in /dev/shm
StrategyId = Annotated[str, Meta(pattern=r"^[A-Za-z0-9._\-]{1,24}$")]  # goes over the wire like a symbol


class ConfigError(Exception):
    """A configuration that cannot be used; the message names file, key, value and what is allowed."""


class Section(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Base of every section: frozen, and an unknown key is an error."""


class Instrument(Section, frozen=True):
    """What is known of one symbol."""

    tick_size: Annotated[float, Meta(ge=1e-15, le=1e9)] = 0.0001
    multiplier: Positive = 1.0
    currency: str = "USD"
    session: Annotated[str, Meta(pattern=SESSION)] | None = (
        None  # "09:30-16:00 America/New_York"; no zone: UTC
    )
    settlement: Literal["cash_and_carry"] = "cash_and_carry"


class Run(Section, frozen=True):
    """What makes two runs the same run."""

    seed: Annotated[int, Meta(ge=0)] = 42
    hide_seed: bool = False  # the run's folder, which says it, is for its owner alone
    start: str = "2025-01-02T14:30:00Z"  # event time of a simulated market's first record
    duration_s: Annotated[float, Meta(ge=0, le=9e9)] = 0.0  # event time; 0: until stopped
    export_dir: str = "runs"
    log_dir: str = "logs"
    keep_awake: bool = False  # processors do not sleep while ticks come: quicker, at the price of electricity
    resume: str | None = None  # folder of an earlier run whose positions and cash this one begins with

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
    ticks_per_s: Annotated[float, Meta(ge=0, le=1e9)] = 200.0  # 0: as fast as the consumers can take


class Schedule(Section, frozen=True):
    """When a simulated market's records happen, and how fast event time passes."""

    mode: Literal["fixed", "poisson"] = "fixed"
    dt_fixed_ms: Annotated[float, Meta(ge=1e-6, le=1e12)] = 200.0
    dt_mean_ms: Annotated[float, Meta(ge=1e-6, le=1e12)] = 150.0  # of exponential gaps, for "poisson"
    speed: Annotated[float, Meta(ge=1e-6, le=1e9)] = (
        1.0  # wall-clock pacing only: event seconds per wall second
    )


class News(Section, frozen=True):
    """Seeded random news."""

    every_ticks: NonNegative = 100.0  # one item per so many ticks on average; 0: none
    follows_returns: Annotated[float, Meta(ge=0, le=1)] = 0.0  # 0: chance alone; 1: the recent return alone


class Faults(Section, frozen=True):
    """What goes wrong on purpose between a source and who hears it, for teaching."""

    jitter_ms: Annotated[float, Meta(ge=0, le=1e9)] = 0.0  # each tick is stamped so much later at most
    drop: Annotated[float, Meta(ge=0, lt=1)] = 0.0  # chance of a tick to be lost


class GatewaySection(Section, frozen=True):
    """Turn a provider into streams."""

    host: str = "127.0.0.1"
    md_port: Port = 8000
    news_port: Port = 8001
    provider: Literal["csv", "random_walk", "simulated"] = "csv"
    data_path: str = "data/market_data-1.csv"
    loop: bool = True
    model: dict[str, Any] | None = None  # of a simulated market: its type, and that type's parameters
    correlation: tuple[tuple[float, ...], ...] | None = None  # of its symbols' returns; none: independent
    pace: Pace = field(default_factory=Pace)
    schedule: Schedule = field(default_factory=Schedule)
    news: News = field(default_factory=News)
    faults: Faults = field(default_factory=Faults)
    on_slow: Literal["drop", "disconnect"] = "drop"  # plain clients
    session_on_slow: Literal["auto", "wait", "drop"] = (
        "auto"  # auto: wait exactly when the source is not paced
    )
    client_buffer_bytes: Annotated[int, Meta(ge=4096, le=1 << 30)] = 4 << 20
    max_clients: Annotated[int, Meta(ge=1, le=1000)] = 256

    @property
    def market(self) -> "Parameters":
        """The model of a simulated market. Raises ValueError with the key and why; without `model` it is OU."""
        return _parameters({} if self.model is None else self.model)


class OrderBookSection(Section, frozen=True):
    """Give every record one place in one order, and publish it."""

    host: str = "127.0.0.1"
    md_port: Port = 8000
    news_port: Port = 8001
    shared_memory_name: Name = "market_prices"
    tape_capacity: Annotated[int, Meta(ge=4096, le=1 << 28)] = 1 << 20  # records of 48 bytes
    symbol_capacity: Annotated[int, Meta(ge=1, le=1 << 20)] = 4096
    control_port: Port = 9002


class StrategyEntry(Section, frozen=True):
    """One strategy file, its parameters and the symbols it wants (none: all)."""

    id: StrategyId
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
    strategies: Annotated[tuple[StrategyEntry, ...], Meta(max_length=MAX_STRATEGIES)] = ()
    hot_reload: bool = True  # a saved strategy file runs at once
    sandbox: bool = True  # user code gives up every right it does not need
    memory_mb: Annotated[int, Meta(ge=64, le=1 << 20)] = 1024  # of one worker's own data
    budget_ms: Annotated[float, Meta(gt=0, le=60_000)] = 5.0  # for one record; slower is counted and shown
    hang_s: Annotated[float, Meta(ge=0.1, le=3600)] = 2.0  # one record takes longer: the worker is killed
    rest_ms: Annotated[float, Meta(ge=0, le=1000)] | None = (
        None  # between two batches; none: 0, and a little when there are more strategies than processors
    )

    @property
    def entries(self) -> tuple[StrategyEntry, ...]:
        """The strategies to run: those configured, or the default with the windows and thresholds above."""
        if self.strategies:
            return self.strategies
        keys = ("short_window", "long_window", "bullish_threshold", "bearish_threshold", "quantity")
        params = {key: getattr(self, key) for key in keys}
        return (StrategyEntry(id="sma_news", path="strategies/sma_news/strategy.py", params=params),)


class Execution(Section, frozen=True):
    """The paper broker: what an order is filled at, and what that costs."""

    initial_cash: Annotated[float, Meta(gt=0, le=1e15)] = 100_000.0
    latency_ms: Annotated[float, Meta(ge=0, le=1e9)] = 50.0  # event time, from a record to an order's arrival
    latency_jitter_ms: Annotated[float, Meta(ge=0, le=1e9)] = 0.0  # added: uniform from 0, drawn per order
    slippage_bps: Annotated[float, Meta(ge=0, le=1000)] = 1.0  # to the worse side
    commission_bps: Annotated[float, Meta(ge=0, le=1000)] = 0.5  # of the notional filled
    commission_fixed: Annotated[float, Meta(ge=0, le=1e9)] = 0.0  # with an order's first fill
    fill: Literal["prevailing", "next"] = "prevailing"  # the last tick at arrival, or the first after it
    limit_fill: Literal["through", "touch"] = "through"  # when a resting limit order fills
    partial_fills: Annotated[float, Meta(ge=0, le=1)] = 0.0  # share of fills that are partial, seeded


class Risk(Section, frozen=True):
    """Limits on each strategy's orders, in event time."""

    max_position: Positive = 1000.0
    max_order_qty: Positive = 1_000_000.0
    max_orders_per_s: Count = 100
    max_daily_loss: Annotated[float, Meta(gt=0, le=1)] = 0.1  # of the equity the day began with
    collar: Annotated[float, Meta(gt=0, le=1e6)] = 0.05  # the order's stated price against the market's
    kill_switch_flatten: bool = False


class OrderManagerSection(Section, frozen=True):
    """The ledger: check, journal, fill, account."""

    host: str = "127.0.0.1"
    port: Port = 9000
    events_port: Port = 9001
    shared_memory_name: Name = "market_prices"
    execution: Execution = field(default_factory=Execution)
    risk: Risk = field(default_factory=Risk)
    max_clients: Annotated[int, Meta(ge=1, le=1000)] = 256
    account_every: Annotated[int, Meta(ge=1, le=1 << 40)] = 1000  # records between two rows of equity


class RecorderSection(Section, frozen=True):
    """Write a run's files."""

    enabled: bool = True
    ticks_in_events: bool = True  # `tape.bin` has them all in any case
    rotate_mb: Annotated[int, Meta(ge=1, le=1 << 20)] = 512  # events.jsonl and tape.bin begin a new file
    keep_files: Annotated[int, Meta(ge=1, le=10_000)] = 16  # of each, the oldest are deleted
    min_free_mb: Annotated[int, Meta(ge=0, le=1 << 24)] = (
        200  # below it recording stops, so that trading goes on
    )
    report: bool = True  # write report.html when the run ends


class Config(Section, frozen=True):
    """A whole configuration. `path` is the file it was read from."""

    symbols: Annotated[tuple[Symbol, ...], Meta(min_length=1)]
    instruments: dict[Symbol, Instrument] = field(default_factory=dict)
    run: Run = field(default_factory=Run)
    Gateway: GatewaySection = field(default_factory=GatewaySection)
    OrderBook: OrderBookSection = field(default_factory=OrderBookSection)
    Strategy: StrategySection = field(default_factory=StrategySection)
    OrderManager: OrderManagerSection = field(default_factory=OrderManagerSection)
    Recorder: RecorderSection = field(default_factory=RecorderSection)


def _parameters(model: Mapping[str, Any]) -> "Parameters":
    """A `Gateway.model`. Raises ValueError."""
    from trading_lib.simulation import TYPES  # 100 ms, and most configurations have no model

    name = model.get("type", DEFAULT_MODEL)
    if not isinstance(name, str) or name not in TYPES:
        raise ValueError(f"Gateway.model.type = {name!r}: expected {' or '.join(map(repr, TYPES))}")
    kind = TYPES[name]
    for key in model:
        if key not in ("type", *kind.__struct_fields__):
            known = ", ".join(("type", *kind.__struct_fields__))
            raise ValueError(f"Gateway.model.{key}: no such key, only {known}")
    try:
        parameters = msgspec.convert({key: model[key] for key in model if key != "type"}, kind)
    except msgspec.ValidationError as fault:
        problem, _, where = str(fault).partition(" - at ")
        path = where.strip("`").removeprefix("$")
        raise ValueError(f"Gateway.model{path}: {problem[:1].lower()}{problem[1:]}") from None
    for wrong in parameters.check():
        raise ValueError(f"Gateway.model.{wrong}")
    return parameters


def resolve(path: str) -> Path:
    """A path of a configuration: absolute, or relative to the project's root."""
    return ROOT / path


def load_config(path: str | Path = DEFAULT_CONFIG, environment: Mapping[str, str] = os.environ) -> Config:
    """Read and check a configuration, JSON or YAML by its name. Raises ConfigError.

    Environment variables override single keys: `ALGOSIM_Gateway__pace__ticks_per_s=1000`, the value as JSON,
    or else as text.
    """
    path = Path(path)
    tree = read_tree(path)
    source = path.name
    for name in sorted(filter(is_override, environment)):
        _override(tree, name.removeprefix(ENVIRONMENT).split("__"), environment[name], name)
        source = f"{path.name} with {ENVIRONMENT}…"
    return check_config(tree, source)


def is_override(name: str) -> bool:
    """Whether an environment variable overrides a key."""
    return name.startswith(ENVIRONMENT) and "__" in name.removeprefix(ENVIRONMENT)


def read_tree(path: Path) -> Any:
    """A configuration file as plain values, not checked yet. Raises ConfigError."""
    try:
        raw = path.read_bytes()
    except OSError as fault:
        raise ConfigError(f"{path}: cannot be read: {fault.strerror}") from None
    if path.suffix in (".yaml", ".yml"):
        import yaml  # 20 ms, and most configurations are JSON

        try:
            return yaml.safe_load(raw)
        except yaml.YAMLError as fault:
            raise ConfigError(f"{path.name}: not YAML: {' '.join(str(fault).split())}") from None
    return _parse_json(raw, path.name)


def _parse_json(raw: bytes, source: str) -> Any:
    try:
        return msgspec.json.decode(raw)
    except msgspec.DecodeError as fault:
        raise ConfigError(f"{source}: not JSON: {fault}") from None


def _override(tree: Any, keys: list[str], text: str, name: str) -> None:
    """Set one key of a configuration that is not checked yet."""
    for key in keys[:-1]:
        if isinstance(tree, dict):
            tree = tree.setdefault(key, {})
    if not isinstance(tree, dict):
        raise ConfigError(f"{name}: {'.'.join(keys)} is not below an object")
    try:
        tree[keys[-1]] = msgspec.json.decode(text)
    except msgspec.DecodeError:
        tree[keys[-1]] = text


def parse_config(raw: bytes, source: str = "config.json") -> Config:
    """Check a configuration given as JSON text; `source` is what errors call it. Raises ConfigError."""
    return check_config(_parse_json(raw, source), source)


def check_config(tree: Any, source: str = "config.json") -> Config:
    """Check a configuration given as plain values; `source` is what errors call it. Raises ConfigError."""
    try:
        config = msgspec.convert(tree, Config)
    except msgspec.ValidationError as fault:
        raise ConfigError(_explain(source, tree, str(fault))) from None
    _check_together(source, config)
    return _with_model_written_out(config)


def _with_model_written_out(config: Config) -> Config:
    """With every parameter of a simulated market, so that a run says what it was though defaults change."""
    gateway = config.Gateway
    if gateway.provider != "simulated":
        return config
    name = (gateway.model or {}).get("type", DEFAULT_MODEL)
    model = {"type": name, **msgspec.to_builtins(gateway.market)}
    return msgspec.structs.replace(config, Gateway=msgspec.structs.replace(gateway, model=model))


def to_json(config: Config) -> bytes:
    """The effective configuration, every default written out, as indented JSON."""
    return msgspec.json.format(msgspec.json.encode(config), indent=2) + b"\n"


def _explain(source: str, tree: object, message: str) -> str:
    """msgspec's `Expected … - at `$.A.b`` as `config.json: A.b = value: expected …`."""
    problem, _, where = message.partition(" - at ")
    value, kind, dotted = tree, inspect.type_info(Config), ""
    for name, index in re.findall(r"\.([^.\[\]`]+)|\[(\d+|\.\.\.)\]", where):
        if isinstance(kind, inspect.VarTupleType) and isinstance(value, list):
            value, kind = value[int(index)], kind.item_type
            dotted += f"[{index}]"
        elif isinstance(kind, inspect.DictType) and isinstance(value, dict):  # msgspec does not say which key
            name, kind = _first_wrong(value, kind.value_type), kind.value_type
            value = value[name]
            dotted += f".{name}"
        elif isinstance(kind, inspect.StructType) and isinstance(value, dict):
            kind = next(known.type for known in kind.fields if known.encode_name == name)
            value = value[name]
            dotted += f".{name}"
    dotted = dotted.lstrip(".")
    named = re.search(r"(unknown|required) field `(.*)`$", problem)
    if named is not None:
        key = f"{dotted}.{named[2]}".lstrip(".")
        known = ", ".join(f.encode_name for f in kind.fields) if isinstance(kind, inspect.StructType) else ""
        return f"{source}: {key}: {f'no such key, only {known}' if named[1] == 'unknown' else 'is missing'}"
    if where.startswith("`key`"):
        return f"{source}: {dotted} = {value!r}: as keys {problem[:1].lower()}{problem[1:]}"
    return f"{source}: {dotted or 'top level'} = {value!r}: expected {_expected(kind)}"


def _first_wrong(entries: dict[str, object], kind: inspect.Type) -> str:
    assert isinstance(kind, inspect.StructType)
    for key, entry in entries.items():
        try:
            msgspec.convert(entry, kind.cls)
        except msgspec.ValidationError:
            return key
    raise AssertionError("msgspec refused one of these")


def _expected(kind: inspect.Type) -> str:
    """What is allowed, for a person."""
    if isinstance(kind, inspect.LiteralType):
        return " or ".join(repr(value) for value in kind.values)
    if isinstance(kind, inspect.UnionType):
        return " or ".join(map(_expected, kind.types))
    if isinstance(kind, inspect.IntType | inspect.FloatType):
        bounds = {"above": kind.gt, "at least": kind.ge, "at most": kind.le}
        text = " and ".join(f"{word} {bound}" for word, bound in bounds.items() if bound is not None)
        return f"a {'whole ' if isinstance(kind, inspect.IntType) else ''}number {text}".rstrip()
    if isinstance(kind, inspect.StrType):
        return f"text like {kind.pattern}" if kind.pattern else "text"
    if isinstance(kind, inspect.VarTupleType):
        bounds = {"at least": kind.min_length, "at most": kind.max_length}
        text = " and ".join(f"{word} {bound}" for word, bound in bounds.items() if bound)
        return f"a list of {text} entries" if text else "a list"
    return {inspect.BoolType: "true or false", inspect.NoneType: "null"}.get(type(kind), "an object")


def _is_loopback(host: str) -> bool:
    try:
        return host == "localhost" or ip_address(host).is_loopback
    except ValueError:
        return False


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
    ids = [entry.id for entry in strategy.strategies]
    if len(set(ids)) != len(ids):
        twice = sorted({name for name in ids if ids.count(name) > 1})
        refuse(f"Strategy.strategies: {', '.join(twice)} used twice as id")
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
        "OrderManager.events_port": (config.OrderManager.host, config.OrderManager.events_port),
        "OrderBook.control_port": ("127.0.0.1", config.OrderBook.control_port),
    }
    for key, address in ports.items():
        for other, taken in ports.items():
            if key < other and address == taken:
                refuse(f"{key} and {other} are both {address[1]}")
    rate, every = config.Gateway.pace.ticks_per_s, config.Gateway.news.every_ticks
    if 0 < rate < SLOWEST:
        refuse(f"Gateway.pace.ticks_per_s = {rate}: expected 0 (flat out), or at least {SLOWEST}")
    if 0 < every < 1:
        refuse(f"Gateway.news.every_ticks = {every}: expected 0 (no news), or at least 1")
    _check_market(source, config)
    for key, host in (("Gateway.host", config.Gateway.host), ("OrderManager.host", config.OrderManager.host)):
        if not _is_loopback(host):
            refuse(
                f"{key} = {host!r}: only loopback addresses may be listened on (127.0.0.1, localhost, ::1)"
            )
    for symbol, instrument in config.instruments.items():
        if instrument.session is not None:
            try:
                SessionHours(instrument.session)
            except ValueError as fault:
                refuse(f"instruments.{symbol}.session = {instrument.session!r}: {fault}")
    try:
        start_ns = config.run.start_ns
    except ValueError:
        start_ns = -1
    if not 0 <= start_ns < 2**63:
        refuse(
            f"run.start = {config.run.start!r}: expected an ISO 8601 time from 1970 to 2262, "
            "like 2025-01-02T14:30:00Z"
        )


def _check_market(source: str, config: Config) -> None:
    """Rules between the provider and what only a simulated market has."""
    gateway = config.Gateway
    if gateway.provider != "simulated":
        given = {
            "Gateway.model": gateway.model is not None,
            "Gateway.correlation": gateway.correlation is not None,
            "Gateway.schedule.mode = 'poisson'": gateway.schedule.mode == "poisson",
        }
        for key in (key for key, is_given in given.items() if is_given):
            raise ConfigError(
                f"{source}: {key}: only with Gateway.provider 'simulated', not {gateway.provider!r}"
            )
        return
    from trading_lib.simulation import make_models

    try:
        parameters = gateway.market
    except ValueError as fault:
        raise ConfigError(f"{source}: {fault}") from None
    if gateway.correlation is None:
        return
    count = len(config.symbols)
    if {count} != {len(gateway.correlation), *map(len, gateway.correlation)}:
        raise ConfigError(f"{source}: Gateway.correlation: must be {count} x {count}, one row a symbol")
    try:
        make_models(parameters, config.symbols, config.run.seed, gateway.correlation)
    except ValueError as fault:  # all else is checked, so it is the matrix
        raise ConfigError(f"{source}: Gateway.{fault}") from None
