"""A strategy on `trading_lib` alone: no process, no socket, no configuration.

    python examples/ten_line_strategy.py

Feeds thirteen years of daily closes to a 50/200-day moving-average strategy and prints a line for each
crossover, then how many there were.
"""

import csv
import sys
from collections import Counter
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path[0] = str(ROOT)

from trading_lib.models import Tick  # noqa: E402
from trading_lib.strategy import MovingAverageStrategy  # noqa: E402
from trading_lib.wire import parse_time  # noqa: E402

strategy = MovingAverageStrategy(short_window=50, long_window=200, quantity=10)
found: Counter[str] = Counter()
with (ROOT / "data/market_data-1.csv").open() as file:
    for seq, row in enumerate(csv.DictReader(file)):
        tick = Tick(row["symbol"], float(row["price"]), parse_time(row["timestamp"]), seq)
        for symbol, quantity, price, action in strategy.generate_signals(tick):
            print(row["timestamp"][:10], action, quantity, symbol, "@", price)
            found[symbol] += 1
print("crossovers:", ", ".join(f"{symbol} {count}" for symbol, count in sorted(found.items())))
