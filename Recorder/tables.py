"""What is in a run's folder: its tables and their columns, and what a folder without them is.

What the columns hold, `run_files` says.

By themselves, because who writes a run needs no pandas, and that takes longer to import than all else.
"""

from collections.abc import Mapping
from typing import Final

COLUMNS: Final[Mapping[str, tuple[str, ...]]] = {
    "trades": (
        *("epoch", "ts", "strategy_id", "client_order_id", "symbol", "side", "qty", "price"),
        *("commission", "slippage_bps", "latency_ms", "tag"),
    ),
    "matched_trades": (
        *("epoch", "strategy_id", "symbol", "side", "qty", "entry_ts", "exit_ts"),
        *("entry_price", "exit_price", "gross", "net"),
    ),
    "equity": (
        *("epoch", "ts", "strategy_id", "cash", "last_price"),
        *("unrealized", "realized", "commission", "equity"),
    ),
    "prices": ("epoch", "ts", "symbol", "price"),
}
INTEGERS: Final = frozenset({"epoch", "ts", "entry_ts", "exit_ts"})
TEXTS: Final = frozenset({"strategy_id", "client_order_id", "symbol", "side", "tag"})
MAY_BE_EMPTY: Final = frozenset({"last_price", "slippage_bps", "latency_ms"})
TIMES: Final = ("ts", "entry_ts", "exit_ts")
MONEY: Final = ("cash", "unrealized", "realized", "commission", "equity")
POSITION: Final = "position_"  # + symbol: a column of `equity`
SIGNS: Final = frozenset({"manifest.json", "config.json", *(f"{name}.csv" for name in COLUMNS)})


class NotARun(Exception):
    """A path that is not a run's folder, or a file of it that cannot be read; the message says which and why."""
