"""Prices weighted by what was traded at them."""

from math import inf


class VWAP:
    """The volume-weighted average price of everything since it was made: sum(price · size) / sum(size).

        vwap.update(tick.price, ctx.price(tick.symbol + ".SIZE"))

    None until a size above 0 was seen, so without a `.SIZE` series always. For one of each session, make a
    new one when a session begins. Both sums carry their rounding along (Kahan 1965, "Further remarks on
    reducing truncation errors") and the first is of differences to the first price: the error stays within
    some units in the last place after any number of updates, and a flat market has exactly its price.
    """

    __slots__ = ("_anchor", "_lost_size", "_lost_value", "_size", "_value", "name", "value")

    def __init__(self) -> None:
        self.name = "VWAP"
        self.value: float | None = None
        self._anchor = 0.0
        self._size = self._lost_size = 0.0
        self._value = self._lost_value = 0.0

    def update(self, price: float, size: float | None) -> float | None:
        """Take `size` traded at `price`; None for a size that is not known, which changes nothing.

        Raises ValueError for a negative or infinite size.
        """
        if not size:
            return self.value
        if not 0 < size < inf:
            raise ValueError(f"size must be at least 0 and finite, not {size}")
        if self.value is None:
            self._anchor = price
        term = size - self._lost_size
        total = self._size + term
        self._lost_size = (total - self._size) - term
        self._size = total
        term = (price - self._anchor) * size - self._lost_value
        value = self._value + term
        self._lost_value = (value - self._value) - term
        self._value = value
        self.value = self._anchor + value / total
        return self.value
