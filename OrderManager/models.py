"""The order types, from where they live."""

from trading_lib.models import CancelRequest, Order, Report, Side

__all__ = ["CancelRequest", "Order", "Report", "Side"]
