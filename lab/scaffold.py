"""A new strategy file, to begin with: it runs as it is."""

import keyword
import re
from pathlib import Path
from typing import Final

from config import ROOT

STRATEGIES: Final = ROOT / "strategies"
LONGEST_NAME: Final = 24  # a strategy's id goes over the wire like a symbol

TEMPLATE: Final = '''\
"""{name}: long above a moving average, short below it."""

PARAMS = {{"window": 20, "quantity": 10}}  # what `--param window=50` changes


def init(ctx):  # once at the start; what you keep on ctx is yours
    ctx.averages = {{}}


def on_tick(ctx, tick):  # for every tick: tick.symbol, tick.price, tick.ts
    if tick.symbol not in ctx.averages:
        ctx.averages[tick.symbol] = ctx.indicator.SMA(ctx.get_param("window", 20))
    average = ctx.averages[tick.symbol].update(tick.price)
    if average is None:  # fewer than `window` prices so far
        ctx.no_trade("warming up")
        return
    quantity = ctx.get_param("quantity", 10)
    wanted = quantity if tick.price > average else -quantity
    change = wanted - ctx.position()  # what is held, and what is on its way
    if change == 0:
        ctx.no_trade("already in position")
        return
    ctx.place_market_order("BUY" if change > 0 else "SELL", abs(change))
'''


class NameRefused(ValueError):
    """A name that no strategy can have here; the message says why."""


def new_strategy(name: str, folder: Path = STRATEGIES) -> Path:
    """Write `<folder>/<name>/strategy.py` and return it. Raises NameRefused, and OSError."""
    if not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", name) or keyword.iskeyword(name):
        raise NameRefused(f"{name!r}: a strategy's name is letters, digits and _, like my_strategy")
    if len(name) > LONGEST_NAME:
        raise NameRefused(f"{name!r}: at most {LONGEST_NAME} characters")
    home = folder / name
    folder.mkdir(exist_ok=True)
    try:
        home.mkdir()
    except FileExistsError:
        raise NameRefused(f"{home} is there already") from None
    file = home / "strategy.py"
    file.write_text(TEMPLATE.format(name=name))
    return file
