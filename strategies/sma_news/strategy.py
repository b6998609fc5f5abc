"""The default strategy: BUY or SELL when two moving averages and the news agree."""

from typing import Any

from trading_lib.models import News, Report, Tick
from trading_lib.strategy import MovingAverageNewsStrategy

NAME = "sma_news"
PARAMS = {
    "short_window": 5,
    "long_window": 20,
    "bullish_threshold": 60,
    "bearish_threshold": 40,
    "quantity": 10,
}


def init(ctx: Any) -> None:
    params = {name: ctx.get_param(name, default) for name, default in PARAMS.items()}
    ctx.rule = MovingAverageNewsStrategy(**params, average=ctx.indicator.SMA)


def on_tick(ctx: Any, tick: Tick) -> None:
    signal = ctx.rule.signal(tick.symbol, tick.price)
    order = None if signal is None else ctx.rule.order(signal, ctx.position())
    if order is None:
        ctx.no_trade(ctx.rule.reason)
    else:
        side, quantity = order
        ctx.place_market_order(side, quantity, tag=f"news {ctx.rule.sentiment(tick.symbol)}")
        ctx.log(f"{side} {quantity:g} {tick.symbol} @ {tick.price}")


def on_news(ctx: Any, news: News) -> None:
    ctx.rule.on_news(news.symbol, news.sentiment)


def on_reject(ctx: Any, report: Report) -> None:
    ctx.rule.on_denied(report.symbol)
