"""The OrderManager receives, checks and counts orders."""

from OrderManager.models import Order, Side

__all__ = ["Order", "Side"]
