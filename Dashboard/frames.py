"""What a listener of `/stream` has not seen yet, as JSON messages.

A listener is described by its `Place`: how far it has come in each topic. Messages between two places are
made once and shared by all who stand at the same one, so that a hundred listeners who keep up cost one
encoding; who was slow gets what has changed meanwhile, in one message.
"""

import time
from collections.abc import Iterator
from typing import Any, Final

import msgspec
import numpy as np
from msgspec import Struct

from Dashboard.market_watch import Chart, MarketWatch, json_safe
from Dashboard.money_watch import MoneyWatch
from Dashboard.system_watch import SystemWatch
from Dashboard.traces import Trace

SCHEMA: Final = 1
PRICES: Final = "prices.tick"
CHART: Final = "prices.chart"
TOPICS: Final = (PRICES, CHART, "news", "orders", "fills", "pnl", "indicators", "strategies", "system")
OF_MONEY: Final = ("orders", "fills", "pnl")
PRICE_COLUMNS: Final = ("symbol", "price", "change_percent", "ticks_per_s", "sentiment", "ts_ms")
HEARTBEAT_S: Final = 5.0
CACHED: Final = 256  # messages of one frame: more kinds of listeners than that are encoded for one by one

encode: Final = msgspec.json.Encoder().encode
Symbols = frozenset[str] | None  # None: all


class Place(Struct):
    """How far a listener has come. `wanted` has its topics, each with the symbols it asked for."""

    wanted: dict[str, Symbols] = msgspec.field(default_factory=dict)
    frame: int = 0
    prices: int = 0  # the frame up to which it has all prices
    news: int = 0
    orders: int = 0
    fills: int = 0
    money: int = -1
    system: int = -1
    strategies: int = -1
    runs: tuple[str, int, int] = ("", 0, 0)  # whose market, money and processes it has been told of
    heartbeat: float = 0.0
    charts: dict[str, tuple[Chart | None, int]] = msgspec.field(default_factory=dict)
    traces: dict[str, tuple[Trace, int]] = msgspec.field(default_factory=dict)
    missed: int = 0  # frames it was too slow for


class Frames:
    """The newest frame of everything. `next` makes it; `since` gives a listener what it lacks."""

    def __init__(self, market: MarketWatch, money: MoneyWatch, system: SystemWatch) -> None:
        self.market, self.money, self.system = market, money, system
        self.number = 0
        self.encoded = 0
        self._changed_at = np.zeros(0, np.int64)
        self._cache: dict[Any, bytes] = {}

    def next(self) -> None:
        """Another frame: what the market has marked as changed belongs to it."""
        self.number += 1
        self._cache.clear()
        changed = self.market.changed
        if len(self._changed_at) != len(changed):
            self._changed_at = np.resize(self._changed_at, len(changed))
            self._changed_at[:] = self.number
        self._changed_at[changed] = self.number
        changed[:] = False

    def since(self, place: Place) -> Iterator[bytes]:
        """Everything a listener has not seen, and its place moves on."""
        runs = self.market.run_id, self.money.generation, self.system.generation
        if place.runs != runs or not place.frame:
            yield self._hello(place, runs)
        skipped = self.number - place.frame - 1
        if place.frame and skipped > 0:
            place.missed += skipped
        place.frame = self.number
        for topic, symbols in tuple(place.wanted.items()):
            if topic not in OF_MONEY or self.money.run_id in ("", self.market.run_id):  # not another run's
                yield from self._topic(place, topic, symbols)
        now = time.monotonic()
        if now - place.heartbeat >= HEARTBEAT_S:
            place.heartbeat = now
            beat = {"topic": "heartbeat", "seq": self.number, "ts_wall": str(time.time_ns())}
            yield encode({**beat, "missed_frames": place.missed})

    def _hello(self, place: Place, runs: tuple[str, int, int]) -> bytes:
        """What comes first, and again with another run: everything begins anew."""
        wanted, missed = place.wanted, place.missed
        fresh = Place(wanted, frame=self.number, runs=runs, missed=missed)
        for name in Place.__struct_fields__:
            setattr(place, name, getattr(fresh, name))
        return encode(
            {
                "topic": "hello",
                "seq": self.number,
                "schema": SCHEMA,
                "run_id": self.market.run_id,
                "ts_wall": str(time.time_ns()),
                "topics": TOPICS,
                "price_columns": PRICE_COLUMNS,
            }
        )

    def _topic(self, place: Place, topic: str, symbols: Symbols) -> Iterator[bytes]:
        if topic == PRICES:
            yield from self._prices(place, symbols)
        elif topic == CHART:
            for symbol in sorted(symbols or ()):
                yield from self._chart(place, symbol)
        elif topic == "news":
            place.news, events = self._events("news", place.news, self.market.news_count, symbols)
            yield from events
        elif topic in ("orders", "fills"):
            before = getattr(place, topic)
            after, events = self._events(topic, before, getattr(self.money, topic).count, symbols)
            setattr(place, topic, after)
            yield from events
        elif topic == "pnl" and place.money != self.money.version:
            whole = place.money < self.money.redrawn
            yield self._shared(("pnl", whole), lambda: self._money(whole=whole))
            place.money = self.money.version
        elif topic == "indicators":
            yield from self._indicators(place)
        elif topic in ("strategies", "system"):
            yield from self._status(place, topic)

    def _shared(self, key: Any, make: Any) -> bytes:
        """A message that others at the same place get, too."""
        found = self._cache.get(key)
        if found is None:
            found = encode(make())
            self.encoded += 1
            if len(self._cache) < CACHED:
                self._cache[key] = found
        return found

    # ------------------------------------------------------------------------------------------ topics

    def _prices(self, place: Place, symbols: Symbols) -> Iterator[bytes]:
        since, place.prices = place.prices, self.number
        mask = self._changed_at > since
        if not mask.any():
            return
        yield self._shared((PRICES, since, symbols), lambda: self._price_rows(mask, symbols, since))

    def _price_rows(self, mask: Any, symbols: Symbols, since: int) -> dict[str, Any]:
        market = self.market
        slots = np.flatnonzero(mask[: len(market.symbols)])
        if symbols is not None:
            names = market.symbols
            slots = np.array([slot for slot in slots.tolist() if names[slot] in symbols], np.intp)
        prices, first = market.prices[slots], market.first[slots]
        columns = (
            [market.symbols[slot] for slot in slots.tolist()],
            json_safe(prices),
            json_safe(np.round(100 * (prices / first - 1), 3)),
            np.round(market.rates[slots], 1).tolist(),
            json_safe(market.sentiment[slots]),
            (market.times[slots] / 1e6).tolist(),
        )
        return {
            "topic": PRICES,
            "seq": self.number,
            "since": since,
            "ts": str(market.ts),
            "ts_wall": str(time.time_ns()),
            "rows": list(zip(*columns, strict=True)),
        }

    def _chart(self, place: Place, symbol: str) -> Iterator[bytes]:
        chart = self.market.chart(symbol)
        known, number = place.charts.get(symbol, (None, -1))
        if chart is None:
            return
        place.charts[symbol] = chart, chart.number
        oldest = chart.steps[0].number if chart.steps else chart.number + 1
        if chart is not known or number + 1 < oldest:
            yield self._shared((CHART, symbol, "begin"), lambda: self._chart_beginning(symbol))
        elif number < chart.number:
            yield self._shared((CHART, symbol, number), lambda: self._chart_steps(symbol, chart, number))

    def _chart_beginning(self, symbol: str) -> dict[str, Any]:
        line = self.market.beginning(symbol)
        return {
            "topic": CHART,
            "seq": self.number,
            "symbol": symbol,
            "begin": True,
            "epoch": self.market.epoch,
            "ms": line.ms.tolist(),
            "values": line.values.tolist(),
        }

    def _chart_steps(self, symbol: str, chart: Chart, number: int) -> dict[str, Any]:
        steps = [step for step in chart.steps if step.number > number]
        return {
            "topic": CHART,
            "seq": self.number,
            "symbol": symbol,
            "begin": False,
            "ms": [ms for step in steps for ms in step.ms],
            "values": [value for step in steps for value in step.values],
        }

    def _events(self, topic: str, before: int, count: int, symbols: Symbols) -> tuple[int, list[bytes]]:
        """(where the listener stands then, a message with the events it lacks)."""
        if before == count:
            return count, []
        return count, [
            self._shared((topic, before, symbols), lambda: self._event_list(topic, before, symbols))
        ]

    def _event_list(self, topic: str, before: int, symbols: Symbols) -> dict[str, Any]:
        if topic == "news":
            items = [item for item in self.market.news if item.number > before]
            lost = self.market.news_count - before - len(items)
            events: list[dict[str, Any]] = [
                {"ts": str(item.ts), "symbol": item.symbol, "sentiment": item.sentiment} for item in items
            ]
        else:
            events, lost = getattr(self.money, topic).after(before)
        if symbols is not None:
            events = [event for event in events if event["symbol"] in symbols]
        return {"topic": topic, "seq": self.number, "dropped": lost, "events": events}

    def _money(self, whole: bool) -> dict[str, Any]:
        """`whole`: with the curves; otherwise with their last points."""
        money = self.money
        return {
            "topic": "pnl",
            "seq": self.number,
            "begin": whole,
            "total": money.total(),
            "lanes": list(money.lanes.values()),
            "ranking": money.ranking(),
            "open": list(money.open.values())[-500:],
            "open_count": len(money.open),
            "curves": {
                name: {"epoch": curve.epoch, "points": curve.points if whole else curve.points[-1:]}
                for name, curve in money.curves.items()
            },
        }

    def _indicators(self, place: Place) -> Iterator[bytes]:
        for strategy, trace in self.system.traces.by_strategy.items():
            known, number = place.traces.get(strategy, (None, -1))
            place.traces[strategy] = trace, trace.number
            samples = trace.after(number) if known is trace else None
            if samples is None or samples:
                begin = samples is None
                yield self._shared(
                    ("indicators", strategy, None if begin else number),
                    lambda strategy=strategy, trace=trace, samples=samples: {
                        "topic": "indicators",
                        "seq": self.number,
                        "strategy": strategy,
                        "begin": samples is None,
                        "names": trace.names,
                        "samples": trace.samples if samples is None else samples,
                    },
                )

    def _status(self, place: Place, topic: str) -> Iterator[bytes]:
        version = self.system.version
        if getattr(place, topic) != version:
            setattr(place, topic, version)
            yield self._shared(
                (topic,), lambda: {"topic": topic, "seq": self.number, **getattr(self.system, topic)()}
            )
