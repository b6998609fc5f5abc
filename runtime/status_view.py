"""The status a person reads: a live table on a terminal, a plain line a second elsewhere."""

from typing import Any, Final

from rich.box import SIMPLE_HEAD
from rich.console import Console, Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from runtime.leaderboard import is_own, leaderboard, leaders
from runtime.rates import Rates
from runtime.strategy_lines import strategy_lines

_STATE_STYLE = {
    "ready": "green",
    "restarting": "yellow",
    "silent": "bold red",
    "failed": "bold red",
    "starting": "cyan",
}
ORDERS_SHOWN: Final = 2  # with these …
LANES_SHOWN: Final = 2  # … and these the table fits a terminal of 24 lines
ROOMY: Final = 32  # lines of a terminal that has room for more than one strategy's state
STRATEGIES_SHOWN: Final = 3
OTHER_LINES: Final = 19  # than places of strategies that compete, and one of each part
LEADERS_IN_A_LINE: Final = 5
POSITIONS_SHOWN: Final = 2  # of each, and how many more
UNACKNOWLEDGED_SHOWN: Final = 1000  # some are always on their way
COUNTED: Final = {"order_manager": "orders", "recorder": "records", "dashboard": "listeners"}
BEHIND: Final = 1000  # records: a strategy that lags by more has a problem worth showing


def problems(parts: dict[str, Any]) -> str:
    """Everything that was dropped, missed or rejected, in one short text; empty when nothing was."""
    book, strategy, orders, gateway = (
        parts.get(name, {}) for name in ("orderbook", "strategy", "order_manager", "gateway")
    )
    ledger = orders.get("ledger_counters", {})
    ports = (gateway.get("counters", {}), orders.get("counters", {}), orders.get("event_counters", {}))
    counted = {
        "gaps": book.get("gaps", 0),
        "missed": book.get("missed", 0),
        "late": book.get("late", 0),
        "frames rejected": sum(book.get("rejected", {}).values()),
        "rows rejected": sum(gateway.get("rows_rejected", {}).values()),
        "overrun": strategy.get("missed", 0),
        "strategy behind by": lag if (lag := strategy.get("lag", 0)) > BEHIND else 0,
        "orders dropped": _starting_with("dropped", strategy.get("counters", {})),
        "not drained": strategy.get("not_drained", 0),
        "strategy errors": strategy.get("errors", 0),
        "orders rejected": sum(orders.get("rejected", {}).values()),
        "orders refused": sum(orders.get("refused", {}).values()),
        "requests refused": _starting_with("refused", ledger),
        "requests seen before": ledger.get("seen before", 0),
        "missed by the ledger": ledger.get("missed", 0),
        "connections refused": sum(_starting_with("refused", counters) for counters in ports),
        "orders denied": sum(n for rule, n in orders.get("denials", {}).items() if rule != "cancel"),
        "strategy stopped": int(bool(strategy.get("stopped"))),
        "sessions refused": strategy.get("counters", {}).get("sessions refused", 0),
        "workers restarted": strategy.get("worker_restarts", 0),
        "zygote restarted": strategy.get("zygote_restarts", 0),
        "over budget": strategy.get("over_budget", 0),
        "system calls denied": strategy.get("denied_calls", 0),
        "status values cut": strategy.get("status_cut", 0),
        "unacknowledged": strategy.get("kept", 0) if strategy.get("kept", 0) >= UNACKNOWLEDGED_SHOWN else 0,
        "dropped for slow clients": gateway.get("dropped", 0),
        "pace given up": gateway.get("resyncs", 0),
        "not recorded": parts.get("recorder", {}).get("missed", 0),
        "recording stopped": int(bool(parts.get("recorder", {}).get("stopped"))),
        "wakers died": parts.get("keep_awake", {}).get("wakers_died", 0),
        "restarts": sum(part.get("restarts", 0) for part in parts.values()),
        "killed on request": sum(part.get("asked_kills", 0) for part in parts.values()),
    }
    return ", ".join(f"{name} {count:,}" for name, count in counted.items() if count)


def _starting_with(prefix: str, counters: dict[str, int]) -> int:
    return sum(count for name, count in counters.items() if name.startswith(prefix))


def money(parts: dict[str, Any]) -> list[str]:
    """A line for each strategy that has traded; the plain clients' only then."""
    lanes = parts.get("order_manager", {}).get("lanes", [])
    return [_money_line(lane) for lane in lanes if is_own(lane)]


def _money_line(lane: dict[str, Any]) -> str:
    """At most 70 columns, so that it fits beside its heading."""
    held = [f"{symbol} {quantity:g}" for symbol, quantity in lane["positions"].items()]
    more = f" +{len(held) - POSITIONS_SHOWN}" if len(held) > POSITIONS_SHOWN else ""
    profit = lane["realized"] + lane["unrealized"] - lane["commission"]
    return (
        f"{lane['strategy_id'][:12]:<12} {lane['equity']:>14,.2f} ({profit:+,.2f})  "
        f"{', '.join(held[:POSITIONS_SHOWN]) or 'flat'}{more}"
    )


def equity(parts: dict[str, Any]) -> str:
    """The money of all strategies together, or nothing before there is any."""
    lanes = parts.get("order_manager", {}).get("lanes", [])
    own = [lane for lane in lanes if is_own(lane)]
    return f"equity {sum(lane['equity'] for lane in own):,.2f}" if own else ""


def latency(parts: dict[str, Any], stage: str) -> str:
    """`p50 61  p99 120 µs` of a stage, or a dash."""
    for part in parts.values():
        found = part.get("latency_us", {}).get(stage)
        if found and found["n"]:
            return f"p50 {found['p50']:,.0f}  p99 {found['p99']:,.0f} µs"
    return "–"


def plain_line(status: dict[str, Any], rates: Rates) -> str:
    """One line for a log or a pipe."""
    parts = status["parts"]
    book, orders = parts.get("orderbook", {}), parts.get("order_manager", {})
    states = [f"{name} {part['state']}" for name, part in parts.items() if part["state"] != "ready"]
    return "  ".join(
        text
        for text in (
            f"{status['uptime_s']:6.1f} s",
            ", ".join(states),
            f"ticks {book.get('ticks', 0):,} ({rates.rate(status, 'orderbook', 'ticks'):,.0f}/s)",
            f"news {book.get('news', 0):,}",
            f"orders {orders.get('orders', 0):,}",
            equity(parts),
            leaders(orders.get("lanes", []), LEADERS_IN_A_LINE),
            f"tick→order {latency(parts, 'tick→order')}",
            *orders.get("last_orders", [])[-1:],
            problems(parts),
        )
        if text
    )


def table(status: dict[str, Any], rates: Rates, lines: int = 24) -> Group:
    """The live picture, for a terminal of so many lines."""
    parts = status["parts"]
    title = f"algosim  run {status['run_id']}  {status['uptime_s']:.0f} s"
    grid = Table(title=title, title_justify="left", box=SIMPLE_HEAD, pad_edge=False, collapse_padding=True)
    for heading, justify in (("part", "left"), ("state", "left"), ("pid", "right"), ("CPU %", "right")):
        grid.add_column(heading, justify=justify)  # type: ignore[arg-type]
    for heading in ("memory", "restarts", "count", "per s"):
        grid.add_column(heading, justify="right")
    for name, part in parts.items():
        unit = COUNTED.get(name, "ticks")
        grid.add_row(
            name,
            Text(part["state"], style=_STATE_STYLE.get(part["state"], "")),
            str(part["pid"] or ""),
            f"{part['cpu_percent']:.0f}",
            f"{part['rss_bytes'] / 1e6:,.0f} MB",
            str(part["restarts"]),
            f"{part.get(unit, 0):,} {unit}",
            f"{rates.rate(status, name, unit):,.0f}",
        )
    stages = ("tick→book", "book→decision", "decision→order", "tick→order")
    found = problems(parts)
    prices = "   ".join(
        f"{symbol} {price:,.2f}" for symbol, price in parts["orderbook"].get("prices", {}).items()
    )
    orders = parts["order_manager"].get("last_orders", [])[-ORDERS_SHOWN:]
    running = strategy_lines(
        parts["strategy"].get("strategies", []), 1 if lines < ROOMY else STRATEGIES_SHOWN
    )
    return Group(
        grid,
        Text(f"prices    {prices or 'none yet'}"),
        *_lines("orders", orders or ["none yet"]),
        *_lines("strategy", running or ["none yet"]),
        *_money_lines(parts, max(LANES_SHOWN, lines - OTHER_LINES - len(parts))),
        *_lines("latency", [f"{stage:<15}{latency(parts, stage)}" for stage in stages]),
        Text(f"counted   {found}" if found else "counted   no gaps, drops or rejections"),
        Text("stopped" if status.get("stopped") else f"Ctrl-C stops{_where(parts)}", style="dim"),
    )


def _where(parts: dict[str, Any]) -> str:
    """Where the dashboard is, beside another text; nothing while it is not there."""
    dashboard = parts.get("dashboard", {})
    return f"   dashboard {dashboard['message']}" if dashboard.get("state") == "ready" else ""


def _money_lines(parts: dict[str, Any], most: int) -> list[Text]:
    """Strategies that compete, ranked; or each one's money."""
    board = leaderboard(parts.get("order_manager", {}).get("lanes", []), most)
    return _lines("ranks", board) if board else _lines("money", money(parts)[:LANES_SHOWN] or ["none yet"])


def _lines(heading: str, lines: list[str]) -> list[Text]:
    """Lines under each other, the heading before the first."""
    return [Text(f"{'' if i else heading:<10}{line}") for i, line in enumerate(lines)]


class View:
    """Shows statuses and messages on a console."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._rates = Rates()
        self._live: Live | None = None

    def __enter__(self) -> "View":
        if self._console.is_terminal:
            self._live = Live(console=self._console, refresh_per_second=4, transient=False)
            self._live.start()
        return self

    def __exit__(self, *error: object) -> None:
        if self._live is not None:
            self._live.stop()

    def say(self, text: str) -> None:
        """A message of its own, above the table."""
        self._console.print(text, markup=False, highlight=False, soft_wrap=True)

    def show(self, status: dict[str, Any]) -> None:
        """The latest status."""
        if self._live is not None:
            self._live.update(table(status, self._rates, self._console.height))
        else:
            self.say(plain_line(status, self._rates))
        if status.get("stopped"):
            for line in leaderboard(status["parts"].get("order_manager", {}).get("lanes", [])):
                self.say(line)
