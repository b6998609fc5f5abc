"""The fills of a run: which of them a page can hold, and the arithmetic of each, worked.

The arithmetic is recomputed with `trading_lib.money`, the functions that made it, from the run's files
alone; what comes out otherwise than it was recorded is said, not hidden.
"""

from collections.abc import Iterable, Sequence
from typing import Any, Final

import numpy as np
import pandas as pd

from Recorder.report_text import NS_PER_S, duration, exact, instant, number, plural
from Recorder.report_timeline import Ints, Timeline
from Recorder.run_files import Run
from trading_lib.models import Side
from trading_lib.money import commission, slipped

MOST: Final = 1500  # fills on a page, about 1 kB each …
ENDS: Final = 400  # … of more, the first and the last so many, and those that fit the charts
EPOCH_CLOSE: Final = "epoch-close"
DECIMALS: Final = 12  # of a reference price, searched from none up
MATCHES: Final = 12  # FIFO matches listed as closed by a fill, and as closing it; fewer …
ALL_MATCHES: Final = 2500  # … where a page would hold more than about so many

Lines = list[tuple[str, str]]  # plain text: the page puts it in as such


def kept(trades: pd.DataFrame, timeline: Timeline, charted: Sequence[str]) -> Ints:
    """The rows of `trades` that go on the page, ascending.

    All of them; of too many both ends, and for each charted symbol the first BUY and SELL in each of some
    equal stretches of the time axis.
    """
    n = len(trades)
    if n <= MOST:
        return np.arange(n)
    stretches = max((MOST - 2 * ENDS) // (2 * len(charted)), 1)
    places = trades.loc[trades["symbol"].isin(charted), ["symbol", "side"]]
    x = timeline.x(trades)[places.index]
    places["stretch"] = np.minimum((x * stretches).astype(np.int64), stretches - 1)
    marked = places.index[~places.duplicated()].to_numpy(np.int64)[: MOST - 2 * ENDS]
    return np.unique(np.concatenate((np.arange(ENDS), np.arange(n - ENDS, n), marked)))


class Arithmetic:
    """Works out fills of one run."""

    def __init__(self, run: Run, fills: pd.DataFrame, currency: str) -> None:
        self._run = run
        self._currency = currency
        self._execution = run.settings("OrderManager", "execution")
        self._prices = {
            key: (own["ts"].to_numpy(np.int64), own["price"].to_numpy(np.float64))
            for key, own in run.prices.groupby(["epoch", "symbol"], sort=False)
        }
        matches = run.matched_trades
        touched = matches[matches["entry_ts"].isin(fills["ts"]) | matches["exit_ts"].isin(fills["ts"])]
        self._entries: dict[Any, list[Any]] = {}
        self._exits: dict[Any, list[Any]] = {}
        rows: Iterable[Any] = touched.itertuples(index=False)
        for match in rows:
            key = (match.epoch, match.strategy_id, match.symbol)
            self._entries.setdefault((*key, match.entry_ts, match.entry_price), []).append(match)
            self._exits.setdefault((*key, match.exit_ts, match.exit_price), []).append(match)
        self._listed = max(1, min(MATCHES, ALL_MATCHES // max(len(fills), 1)))

    def lines(self, fill: Any) -> Lines:
        """What happened, in order: (name, worked out). `fill` is a row of `trades` as a named tuple."""
        multiplier = self._run.multiplier(fill.symbol)
        sign = Side(fill.side).sign
        notional = fill.qty * fill.price * multiplier
        times = "" if multiplier == 1 else f" × {exact(multiplier)}"
        lines = [("Order", self._cause(fill)), *self._price(fill, sign, multiplier)]
        lines.append(
            ("Notional", f"{exact(fill.qty)} × {exact(fill.price)}{times} = {self._money(notional)}")
        )
        lines.append(("Commission", self._commission(fill, multiplier)))
        cash = -sign * notional - fill.commission
        part = "− notional − commission" if sign > 0 else "+ notional − commission"
        lines.append(("Cash", f"{part} = {self._money(cash, sign=True)}"))
        return lines + self._lots(fill)

    def _cause(self, fill: Any) -> str:
        if fill.tag == EPOCH_CLOSE:
            return f"closed at the end of epoch {fill.epoch}, at its last price"
        cause = fill.client_order_id or "without a client order id"
        seq, dot, k = fill.client_order_id.partition(".")
        if dot and seq.isdigit():
            cause = f"{cause}: order {k} caused by tape record {seq}"
        if np.isfinite(fill.latency_ms):
            cause += f"; {exact(fill.latency_ms, 'ms')} after it at the market"
        return cause

    def _price(self, fill: Any, sign: int, multiplier: float) -> Lines:
        if not np.isfinite(fill.slippage_bps):
            return [("Price", exact(fill.price))]
        found = self._tick(fill, sign)
        if found is not None:
            ts, reference = found
            age = duration((fill.ts - ts) / NS_PER_S)
            tick = f"{exact(reference)}, {instant(ts)} ({age} before the fill)"
        else:
            reference = _reference(fill.price, fill.slippage_bps, sign)
            tick = f"{exact(reference)}, worked back from the price (not among prices.csv)"
        operator = "+" if sign > 0 else "−"
        rate = exact(fill.slippage_bps)
        paid = sign * (fill.price - reference) * fill.qty * multiplier
        return [
            ("Tick used", tick),
            ("Price", f"{exact(reference)} × (1 {operator} {rate}/10⁴) = {exact(fill.price)}"),
            ("Slippage", f"{rate} bps to the worse side, cost {self._money(paid, 4)}"),
        ]

    def _tick(self, fill: Any, sign: int) -> tuple[int, float] | None:
        """The last tick at or before the fill, where it gives the fill's very price."""
        ts, prices = self._prices.get((fill.epoch, fill.symbol), (np.empty(0, np.int64), np.empty(0)))
        k = int(np.searchsorted(ts, fill.ts, side="right")) - 1
        if k < 0 or not _gives(float(prices[k]), fill.price, fill.slippage_bps, sign):
            return None
        return int(ts[k]), float(prices[k])

    def _commission(self, fill: Any, multiplier: float) -> str:
        """By the configured rates where they give what was recorded, to the last bit."""
        bps = self._execution.get("commission_bps")
        fixed = self._execution.get("commission_fixed", 0.0)
        recorded = self._money(fill.commission, 4)
        if bps is None:
            return recorded
        worked = f"{exact(bps)} bps of the notional"
        for part, text in ((fixed, f"{self._money(fixed)} + {worked}" if fixed else worked), (0.0, worked)):
            if abs(commission(fill.price, fill.qty, bps, part, multiplier) - fill.commission) < 1e-9:
                return f"{text} = {recorded}"
        return f"{recorded} as recorded (not {worked})"

    def _lots(self, fill: Any) -> Lines:
        """The FIFO matches this fill is the exit or the entry of."""
        key = (fill.epoch, fill.strategy_id, fill.symbol, fill.ts, fill.price)
        closing, opening = self._exits.get(key, []), self._entries.get(key, [])
        lines = self._matches("Closes", closing) + self._matches("Closed later", opening)
        left = fill.qty - sum(match.qty for match in closing) - sum(match.qty for match in opening)
        if left > 1e-9 * fill.qty:
            lines.append(("Still open", f"{exact(round(left, 9))} of {exact(fill.qty)}, never closed"))
        elif left < -1e-9 * fill.qty:
            lines.append(("Shared", "with other fills of the same instant and price"))
        return lines

    def _matches(self, name: str, matches: list[Any]) -> Lines:
        lines = [(name, self._match(match)) for match in matches[: self._listed]]
        if len(matches) > self._listed:
            more = plural(len(matches) - self._listed, "more lot")
            lines.append((name, f"and {more}, in matched_trades.csv"))
        return lines

    def _match(self, match: Any) -> str:
        multiplier = self._run.multiplier(match.symbol)
        times = "" if multiplier == 1 else f" × {exact(multiplier)}"
        bought = match.side == Side.BUY
        high, low = (match.exit_price, match.entry_price) if bought else (match.entry_price, match.exit_price)
        held = duration((match.exit_ts - match.entry_ts) / NS_PER_S)
        return (
            f"{exact(match.qty)} {'long' if bought else 'short'}, {exact(match.entry_price)} → "
            f"{exact(match.exit_price)}, held {held}\n"
            f"{exact(match.qty)} × ({exact(high)} − {exact(low)}){times} = {self._money(match.gross, 4, sign=True)}\n"
            f"net of both commissions {self._money(match.net, 4, sign=True)}"
        )

    def _money(self, amount: float, digits: int = 2, sign: bool = False) -> str:
        return number(amount, digits, self._currency, sign)


def _gives(reference: float, price: float, bps: float, sign: int) -> bool:
    return abs(slipped(reference, bps, sign) - price) <= 1e-12 * price


def _reference(price: float, bps: float, sign: int) -> float:
    """The shortest price that slips to `price`."""
    rough = price / (1 + sign * bps / 1e4)
    rounded = (round(rough, digits) for digits in range(DECIMALS))
    return next((candidate for candidate in rounded if _gives(candidate, price, bps, sign)), rough)
