"""Run folders made by hand: a random walk, random orders, and the ledger's own arithmetic."""

import csv
import json
from pathlib import Path
from typing import Any, Final

import numpy as np

from Recorder.tables import COLUMNS, POSITION
from trading_lib.models import Fill, Side
from trading_lib.money import commission, slipped
from trading_lib.portfolio import Portfolio

START: Final = 1_735_828_200_000_000_000  # 2025-01-02 14:30 UTC
STEP: Final = 200_000_000  # ns between two ticks, of any symbol
LATENCY: Final = 50_000_000
CASH: Final = 100_000.0
SLIPPAGE: Final = 1.0
COMMISSION: Final = 0.5


def config(symbols: tuple[str, ...]) -> dict[str, Any]:
    """The keys of an effective configuration that a report reads."""
    return {
        "symbols": list(symbols),
        "instruments": {},
        "run": {"seed": 42},
        "Gateway": {"provider": "random_walk", "loop": False},
        "OrderManager": {
            "execution": {
                "initial_cash": CASH,
                "latency_ms": LATENCY / 1e6,
                "slippage_bps": SLIPPAGE,
                "commission_bps": COMMISSION,
                "commission_fixed": 0.0,
                "fill": "prevailing",
            }
        },
    }


def manifest(symbols: tuple[str, ...], **others: Any) -> dict[str, Any]:
    """A manifest of a run that went well."""
    return {
        "run_id": "20250102-143000-1",
        "started": "2025-01-02T14:30:00Z",
        "ended": "2025-01-02T14:35:00Z",
        "config": config(symbols),
        "seeds": {"run": 42},
        "versions": {"python": "3.11.2", "numpy": "2.4.6", "algosim": "0.1.0"},
        "git_commit": "c16016c",
        "comparable": True,
        "why_not": [],
        "records": 1000,
        "ticks": 990,
        "news": 10,
        "epochs": 1,
        "gaps": 0,
        "missed": 0,
        "dropped": {},
        "waiting_at_end": 0,
        "median_gap_ns": {symbol: STEP * len(symbols) for symbol in symbols},
        "size_series": [],
        "tape": "complete",
        **others,
    }


def write_table(path: Path, header: tuple[str, ...], rows: list[tuple[Any, ...]]) -> None:
    """A CSV file as the Recorder writes them: floats by `repr`."""
    with path.open("w", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(header)
        writer.writerows(rows)


def write_run(
    folder: Path,
    ticks: int = 600,
    every: int = 20,
    symbols: tuple[str, ...] = ("AAPL", "MSFT"),
    strategies: tuple[str, ...] = ("sma_news",),
    epochs: int = 1,
    seed: int = 7,
    step: int = STEP,
    **manifest_keys: Any,
) -> Path:
    """A run in which each strategy trades one tick in `every`; its epochs loop over the same event time."""
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(seed)
    books = {name: Portfolio(CASH) for name in strategies}
    rows: dict[str, list[tuple[Any, ...]]] = {name: [] for name in COLUMNS}
    for epoch in range(1, epochs + 1):
        last = dict.fromkeys(symbols, 100.0)
        for k in range(ticks):
            ts, symbol = START + k * step, symbols[k % len(symbols)]
            last[symbol] = round(last[symbol] * float(np.exp(rng.normal(0, 3e-4))), 4)
            rows["prices"].append((epoch, ts, symbol, last[symbol]))
            seq = (epoch - 1) * ticks + k
            for name, book in books.items():
                book.mark(symbol, last[symbol], ts)
                if rng.random() < 1 / every and k + 1 < ticks:
                    order = (name, f"{seq}.0", symbol, Side.BUY if rng.random() < 0.5 else Side.SELL)
                    fill = _fill(order, float(rng.integers(1, 20)), last[symbol], ts + LATENCY)
                    _apply(rows, book, fill, epoch, LATENCY / 1e6, last[symbol], symbols)
                if k % 50 == 0:
                    rows["equity"].append(_account(epoch, ts, name, book, last[symbol], symbols))
        for name, book in books.items():  # an epoch ends flat
            for symbol, open_qty in book.positions.items():
                side = Side.SELL if open_qty > 0 else Side.BUY
                order = (name, f"{epoch * ticks}.0", symbol, side)
                fill = _fill(order, abs(open_qty), last[symbol], ts, "epoch-close")
                _apply(rows, book, fill, epoch, 0.0, last[symbol], symbols)
    positions = tuple(f"{POSITION}{symbol}" for symbol in symbols)
    write_table(folder / "trades.csv", COLUMNS["trades"], rows["trades"])
    write_table(folder / "matched_trades.csv", COLUMNS["matched_trades"], rows["matched_trades"])
    write_table(
        folder / "equity.csv", (*COLUMNS["equity"][:3], *positions, *COLUMNS["equity"][3:]), rows["equity"]
    )
    write_table(folder / "prices.csv", COLUMNS["prices"], rows["prices"])
    gaps = dict.fromkeys(symbols, step * len(symbols))
    (folder / "manifest.json").write_text(
        json.dumps(manifest(symbols, **{"epochs": epochs, "median_gap_ns": gaps, **manifest_keys}))
    )
    (folder / "config.json").write_text(json.dumps(config(symbols)))
    return folder


def _fill(order: tuple[str, str, str, Side], qty: float, tick: float, ts: int, tag: str = "") -> Fill:
    name, client_order_id, symbol, side = order
    price = slipped(tick, SLIPPAGE, side.sign)
    cost = commission(price, qty, COMMISSION)
    return Fill(symbol, side, qty, price, cost, ts, tick, name, client_order_id, tag)


def _apply(
    rows: dict[str, list[tuple[Any, ...]]],
    book: Portfolio,
    fill: Fill,
    epoch: int,
    latency_ms: float,
    last: float,
    symbols: tuple[str, ...],
) -> None:
    book.apply(fill)
    name, symbol, side = fill.strategy_id, fill.symbol, str(fill.side)
    rows["trades"].append(
        (
            *(epoch, fill.ts, name, fill.client_order_id, symbol, side, fill.qty, fill.price),
            *(fill.commission, SLIPPAGE, latency_ms, fill.tag),
        )
    )
    for trade in book.take_trades():
        times = (trade.entry_ts, trade.exit_ts, trade.entry_price, trade.exit_price)
        rows["matched_trades"].append(
            (epoch, name, trade.symbol, str(trade.side), trade.qty, *times, trade.gross, trade.net)
        )
    rows["equity"].append(_account(epoch, fill.ts, name, book, last, symbols))


def _account(
    epoch: int, ts: int, name: str, book: Portfolio, last: float, symbols: tuple[str, ...]
) -> tuple[Any, ...]:
    held = (book.position(symbol) for symbol in symbols)
    return (
        epoch,
        ts,
        name,
        *held,
        book.cash,
        last,
        book.unrealized,
        book.realized,
        book.commission,
        book.equity,
    )
