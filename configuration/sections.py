"""Every key of a configuration, with its type, range and default: a frozen struct a section."""

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal

from msgspec import Meta, Struct, field

from configuration.market import model_parameters

if TYPE_CHECKING:
    from trading_lib.simulation import Parameters

MAX_STRATEGIES: Final = 64  # a worker process each

SESSION: Final = r"^([01]\d|2[0-3]):[0-5]\d-([01]\d|2[0-3]):[0-5]\d( [A-Za-z0-9_+\-/]+)?\Z"

Port = Annotated[int, Meta(ge=1, le=65535)]
Positive = Annotated[float, Meta(gt=0)]
NonNegative = Annotated[float, Meta(ge=0)]
Count = Annotated[int, Meta(ge=1)]
Sentiment = Annotated[int, Meta(ge=0, le=100)]
Symbol = Annotated[str, Meta(pattern=r"^[A-Za-z0-9._/=\-^:]{1,24}\Z")]
Name = Annotated[str, Meta(pattern=r"^[A-Za-z0-9_][A-Za-z0-9._\-]{0,63}\Z")]  # of a file in /dev/shm
StrategyId = Annotated[str, Meta(pattern=r"^[A-Za-z0-9._\-]{1,24}\Z")]  # goes over the wire like a symbol
Host = Annotated[str, Meta(pattern=r"^[A-Za-z0-9.:\-]{1,253}\Z")]  # a name or an address, without a port
Token = Annotated[str, Meta(pattern=r"^[A-Za-z0-9_\-]{16,128}\Z")]  # stands in a link


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
    pin: bool = False  # each of the four parts stays on its processor: `runtime.processors`
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
        return model_parameters({} if self.model is None else self.model)


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
    wake_early_us: Annotated[float, Meta(ge=0, le=200)] = (
        45.0  # before a record that is expected; 0: when rung
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


class DashboardSection(Section, frozen=True):
    """Show and steer in a browser."""

    enabled: bool = True
    host: Host = "127.0.0.1"  # beyond loopback only with a token
    port: Port = 8080
    token: Token | None = None  # whoever looks on from another machine needs it; the run's folder says it
    hosts: Annotated[tuple[Host, ...], Meta(max_length=32)] = ()  # more names by which browsers may call it
    history_s: Annotated[float, Meta(ge=5, le=86_400)] = 7200.0  # wall time that its charts go back
    max_streams: Annotated[int, Meta(ge=1, le=10_000)] = 256  # connections to /stream
    strategies_dir: str = "strategies"  # what its editor may write: only <this>/<name>/strategy.py


class Config(Section, frozen=True):
    """A whole configuration."""

    symbols: Annotated[tuple[Symbol, ...], Meta(min_length=1)]
    instruments: dict[Symbol, Instrument] = field(default_factory=dict)
    run: Run = field(default_factory=Run)
    Gateway: GatewaySection = field(default_factory=GatewaySection)
    OrderBook: OrderBookSection = field(default_factory=OrderBookSection)
    Strategy: StrategySection = field(default_factory=StrategySection)
    OrderManager: OrderManagerSection = field(default_factory=OrderManagerSection)
    Recorder: RecorderSection = field(default_factory=RecorderSection)
    Dashboard: DashboardSection = field(default_factory=DashboardSection)
