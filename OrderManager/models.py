"""The order types, from where they live."""

from trading_lib.models import Order, Side

__all__ = ["Order", "Side"]
