"""`GET /metrics`: what the statuses say, in the text format of Prometheus.

Names follow its conventions: base units, `_total` for what only grows. A part that was restarted begins its
counts anew, which `rate()` knows how to read. The number of series is bounded, whatever a run is made of.
"""

import math
from collections.abc import Iterator, Mapping
from typing import Any, Final

from prometheus_client import generate_latest
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    InfoMetricFamily,
    Metric,
)
from prometheus_client.registry import Collector

from Dashboard.counted import OF_EVERY_PART, Counted, counted
from Dashboard.desk import Desk
from Dashboard.disk import room
from Dashboard.market_watch import MarketWatch
from Dashboard.recent import histograms
from trading_lib.histogram import Histogram

MOST_SYMBOLS: Final = 200  # series of one metric by symbol, and positions
MOST_STRATEGIES: Final = 256
EDGES_NS: Final = tuple(digit * 10**power for power in range(3, 10) for digit in (1, 2, 5))  # 1 µs to 5 s
QUANTILES: Final = ("p50", "p90", "p99", "p99.9")

_MONEY: Final = {  # of a lane
    "equity": "Cash plus positions at their last prices.",
    "cash": "Cash.",
    "realized": "Gross P&L of what was closed, at average cost.",
    "unrealized": "Gross P&L of what is open, at the last price.",
    "commission": "Commissions paid.",
}
_FLOWS: Final = {  # name: (help, part, key)
    "algosim_ticks": ("Ticks put on the tape.", "orderbook", "ticks"),
    "algosim_news": ("News items put on the tape.", "orderbook", "news"),
    "algosim_orders": ("Orders that the OrderManager has received.", "order_manager", "orders"),
    "algosim_ticks_sent": ("Ticks that the Gateway has sent.", "gateway", "ticks"),
    "algosim_records_recorded": ("Records of the tape in the run's files.", "recorder", "records"),
}
_LEVELS: Final = {  # name: (help, key of every part, factor to base units)
    "algosim_lag_records": ("Records on the tape that a part has not read yet.", "lag", 1.0),
    "algosim_lag_seconds": ("How long the oldest of them has been there.", "lag_ms", 1e-3),
    "algosim_cpu_ratio": (
        "Processor time of a part and its workers; 1 is a whole core.",
        "cpu_percent",
        0.01,
    ),
    "algosim_resident_memory_bytes": ("Memory of a part and its workers.", "rss_bytes", 1.0),
    "algosim_uptime_seconds": ("Since a part's last start.", "uptime_s", 1.0),
}
COUNTS: Final = {  # tables of a status: (metric, label)
    "rejected": ("algosim_rejected", "reason"),
    "rows_rejected": ("algosim_rows_rejected", "reason"),
    "denials": ("algosim_orders_denied", "reason"),
    "refused": ("algosim_orders_refused", "reason"),
    "counters": ("algosim_events", "event"),
    "event_counters": ("algosim_event_stream_events", "event"),
    "ledger_counters": ("algosim_ledger_events", "event"),
}
_COUNT_HELP: Final = {
    "algosim_rejected": "Frames passed over, by reason.",
    "algosim_rows_rejected": "Rows of the data file passed over, by reason.",
    "algosim_orders_denied": "Orders that a limit did not let through, by rule.",
    "algosim_orders_refused": "Orders that were not taken, by reason.",
    "algosim_events": "Connections, requests, refusals and whatever else a part counts by name.",
    "algosim_event_stream_events": "The same, of the OrderManager's event stream.",
    "algosim_ledger_events": "The same, of the ledger.",
}


class Snapshot(Collector):
    """What a desk says at the moment when this is made, on the event loop; any thread may collect it then."""

    def __init__(self, desk: Desk) -> None:
        self._status = desk.system.status  # the next one is another object
        self._taken = [*_run(desk), *_market(desk.market), *_money(desk.money.lanes), *_server(desk)]
        self._runs = desk.runs

    def collect(self) -> Iterator[Metric]:
        """Every metric, once."""
        parts: Mapping[str, Mapping[str, Any]] = self._status.get("parts", {})
        yield from self._taken
        yield from _processes(parts)
        yield from _counts(parts)
        yield from _latencies(parts)
        if (found := room(self._runs)) is not None:
            yield GaugeMetricFamily("algosim_runs_free_bytes", "Free on the disk of the runs.", found.free)


def exposition(snapshot: Snapshot) -> bytes:
    """Everything, as text."""
    return generate_latest(snapshot)


def _run(desk: Desk) -> Iterator[Metric]:
    system = desk.system
    yield GaugeMetricFamily("algosim_up", "Whether main.py speaks to the dashboard.", float(system.live))
    run = InfoMetricFamily("algosim_run", "The run that is on.")
    run.add_metric([], {"run_id": desk.market.run_id})
    yield run
    uptime = system.status.get("uptime_s", 0.0)
    yield GaugeMetricFamily("algosim_run_uptime_seconds", "Since main.py's start.", uptime)


def _processes(parts: Mapping[str, Mapping[str, Any]]) -> Iterator[Metric]:
    up = GaugeMetricFamily("algosim_part_up", "Whether a part is ready.", labels=["part"])
    for part, status in parts.items():
        up.add_metric([part], float(status.get("state") == "ready"))
    yield up
    for name, (told, key, unit) in _LEVELS.items():
        gauge = GaugeMetricFamily(name, told, labels=["part"])
        for part, status in parts.items():
            if isinstance(value := status.get(key), int | float):
                gauge.add_metric([part], value * unit)
        yield gauge
    for name, (told, part, key) in _FLOWS.items():
        if isinstance(value := parts.get(part, {}).get(key), int | float):
            yield CounterMetricFamily(name, told, value)
    outcomes = CounterMetricFamily("algosim_reports", "Reports of the ledger, by status.", labels=["status"])
    for status, count in parts.get("order_manager", {}).get("outcomes", {}).items():
        outcomes.add_metric([status], count)
    yield outcomes


def _counts(parts: Mapping[str, Mapping[str, Any]]) -> Iterator[Metric]:
    found: dict[str, CounterMetricFamily] = {
        name: CounterMetricFamily(name, _COUNT_HELP[name], labels=["part", label])
        for name, label in COUNTS.values()
    }
    for one in counted(parts):
        if one.what in COUNTS:
            found[COUNTS[one.what][0]].add_metric([one.part, one.reason], one.count)
        else:
            _single(found, one).add_metric([one.part], one.count)
    yield from found.values()


def _single(found: dict[str, CounterMetricFamily], one: Counted) -> CounterMetricFamily:
    """The metric of a number that stands alone in a part's status."""
    name = f"algosim_{one.what}"
    if name not in found:
        told = (
            OF_EVERY_PART.get(one.what)
            or f"{one.what.replace('_', ' ').capitalize()}, see docs/DASHBOARD.md."
        )
        found[name] = CounterMetricFamily(name, told, labels=["part"])
    return found[name]


def _latencies(parts: Mapping[str, Mapping[str, Any]]) -> Iterator[Metric]:
    quantiles = GaugeMetricFamily(
        "algosim_latency_quantile_seconds",
        "Latency of a stage since a part's start.",
        labels=["part", "stage", "quantile"],
    )
    for part, status in parts.items():
        for stage, summary in status.get("latency_us", {}).items():
            for name in QUANTILES:
                if summary.get(name) is not None:
                    label = f"{float(name[1:]) / 100:g}"
                    quantiles.add_metric([part, _ascii(stage), label], summary[name] / 1e6)
    yield quantiles
    family = HistogramMetricFamily(
        "algosim_latency_seconds", "Latency of a stage since a part's start.", labels=["part", "stage"]
    )
    for part, stages in histograms(parts).items():
        for stage, plain in stages.items():
            buckets, total = _cumulative(Histogram.from_dict(plain))
            family.add_metric([part, _ascii(stage)], buckets, total)
    yield family


def _ascii(stage: str) -> str:
    return stage.replace("→", "_to_")


def _cumulative(histogram: Histogram) -> tuple[list[tuple[str, float]], float]:
    """(`le` in seconds and how many values do not exceed it, the sum in seconds).

    A bucket counts from its upper edge on, and with it in the sum: at most 0.8 % too much, never too little.
    """
    rows = histogram.buckets()
    at, seen, found = 0, 0, []
    for edge in EDGES_NS:
        while at < len(rows) and rows[at][0] <= edge:
            seen += rows[at][1]
            at += 1
        found.append((repr(edge / 1e9), float(seen)))
    return [*found, ("+Inf", float(histogram.total))], sum(edge * count for edge, count in rows) / 1e9


def _market(market: MarketWatch) -> Iterator[Metric]:
    yield GaugeMetricFamily("algosim_symbols", "Symbols that have a price.", len(market.symbols))
    yield GaugeMetricFamily("algosim_epoch", "Epochs of the market that were seen begin.", market.epoch)
    prices = GaugeMetricFamily(
        "algosim_price", f"Last price, of the first {MOST_SYMBOLS} symbols.", labels=["symbol"]
    )
    for slot, symbol in enumerate(market.symbols[:MOST_SYMBOLS]):
        if not math.isnan(price := market.prices[slot].item()):
            prices.add_metric([symbol], price)
    yield prices


def _money(lanes: Mapping[str, Mapping[str, Any]]) -> Iterator[Metric]:
    shown = dict(list(lanes.items())[:MOST_STRATEGIES])
    for key, told in _MONEY.items():
        gauge = GaugeMetricFamily(f"algosim_{key}", told, labels=["strategy"])
        for strategy, lane in shown.items():
            if isinstance(value := lane.get(key), int | float):
                gauge.add_metric([strategy], value)
        yield gauge
    positions = [
        (strategy, symbol, quantity)
        for strategy, lane in shown.items()
        for symbol, quantity in lane.get("positions", {}).items()
    ]
    held = GaugeMetricFamily(
        "algosim_position", f"Quantity held; at most {MOST_SYMBOLS} of them.", labels=["strategy", "symbol"]
    )
    for strategy, symbol, quantity in positions[:MOST_SYMBOLS]:
        held.add_metric([strategy, symbol], quantity)
    yield held
    more = max(0, len(positions) - MOST_SYMBOLS)
    yield GaugeMetricFamily("algosim_positions_not_shown", "Positions beyond those.", more)


def _server(desk: Desk) -> Iterator[Metric]:
    yield GaugeMetricFamily("algosim_stream_listeners", "Connections to /stream.", desk.hub.listeners)
    yield CounterMetricFamily("algosim_stream_frames", "Frames made for them.", desk.frames.number)
    yield CounterMetricFamily(
        "algosim_stream_messages_encoded",
        "Messages encoded; those who keep up share them.",
        desk.frames.encoded,
    )
