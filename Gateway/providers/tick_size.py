"""Prices to whole ticks: floats in, integers in units of 10^-decimals out.

tick = TickSize.of(0.25)                                  # 2 decimals, 25 units a tick
quantise(np.array([5000.30]), tick.scale, tick.units)     # [500025]
"""

from dataclasses import dataclass
from decimal import Decimal
from typing import Final

import numpy as np
import numpy.typing as npt

DEFAULT_TICK_SIZE: Final = 0.0001
MAX_DECIMALS: Final = 15
MAX_MANTISSA: Final = 10**15  # decimals of 15 digits come back unchanged from a float, those of more may not
TOO_LARGE: Final = -1  # what `quantise` gives for a price that would need more

Float64Array = npt.NDArray[np.float64]
Int64Array = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class TickSize:
    """The smallest step of a price: `units` x 10^-`decimals`."""

    decimals: int
    units: int

    @classmethod
    def of(cls, size: float) -> "TickSize":
        """From 0.05, 0.25, 1e-8, 5 …: the shortest decimal that reads back as `size`. Raises ValueError."""
        exact = Decimal(repr(size))
        if not exact.is_finite() or exact <= 0:
            raise ValueError(f"tick size {size!r} must be a positive number")
        decimals = max(0, -int(exact.normalize().as_tuple().exponent))
        if decimals > MAX_DECIMALS or exact >= MAX_MANTISSA:
            raise ValueError(
                f"tick size {size!r} must have at most {MAX_DECIMALS} decimals and be below 10^15"
            )
        return cls(decimals, int(exact * 10**decimals))

    @property
    def scale(self) -> float:
        """10^decimals, exactly."""
        return float(10**self.decimals)


def quantise(prices: Float64Array, scales: Float64Array | float, units: Float64Array | float) -> Int64Array:
    """Each price to its nearest tick, ties to even, as an integer in units of 1/scale.

    Shapes broadcast; prices must be finite and not negative. A price below half a tick gives 0, one of
    10^15 units and more gives TOO_LARGE. Exact for decimals of up to 15 digits: 1.00005 at 0.0001 is a tie
    although the float nearest it is not, so what lies within float noise of a tie counts as one.
    """
    with np.errstate(over="ignore", invalid="ignore"):  # 1e308 becomes inf, and TOO_LARGE
        values = prices * scales
        ticks = values / units
        ties = np.floor(ticks) + 0.5
        # three roundings of 2^-53 each (text, product, quotient); 15 digits leave 1/2 at least between others
        noise = np.minimum(values * 2.0**-51, 0.25) / units
        whole = np.rint(np.where(np.abs(ticks - ties) <= noise, ties, ticks)) * units
    return np.where(whole < MAX_MANTISSA, whole, TOO_LARGE).astype(np.int64)
