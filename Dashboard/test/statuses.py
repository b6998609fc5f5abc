"""A status of main.py as it comes once a second, for tests without a system."""

from typing import Any

from trading_lib.histogram import Histogram


def histogram(*values: int) -> dict[str, Any]:
    """A histogram as a status has it, of values in ns."""
    found = Histogram()
    for value in values:
        found.record(value)
    return found.to_dict()


def status(uptime_s: float = 10.0, ticks: int = 1000, orders: int = 7, **parts: Any) -> dict[str, Any]:
    """Four parts and a recorder; `parts` are merged over them."""
    common = {
        "state": "ready",
        "pid": 4711,
        "cpu_percent": 12.5,
        "rss_bytes": 50_000_000,
        "restarts": 0,
        "asked_kills": 0,
        "uptime_s": uptime_s,
        "status_at_s": uptime_s,
        "message": "fine",
    }
    made: dict[str, Any] = {
        "orderbook": {
            "ticks": ticks,
            "news": 9,
            "gaps": 1,
            "missed": 3,
            "late": 0,
            "rejected": {"bad price": 2},
        },
        "order_manager": {
            "orders": orders,
            "rejected": {},
            "denials": {"collar": 4},
            "refused": {},
            "outcomes": {"New": 7, "Filled": 6},
            "counters": {"connected": 2},
            "lanes": [],
            "latency_us": {
                "tick→order": {"p50": 61.5, "p90": 80.0, "p99": 120.0, "p99.9": None, "max": 140.0, "n": 3}
            },
            "histograms": {"tick→order": histogram(61_500, 70_000, 2_500_000)},
        },
        "strategy": {"lag": 5, "lag_ms": 1.5, "missed": 0, "errors": 0},
        "gateway": {"ticks": ticks, "dropped": 0, "counters": {"disconnected: too slow": 1}},
        "recorder": {"records": ticks, "missed": 0},
    }
    for name, values in parts.items():
        made[name] = {**made.get(name, {}), **values}
    return {
        "run_id": "20261121-073000-1",
        "uptime_s": uptime_s,
        "parts": {name: {**common, **part} for name, part in made.items()},
    }
