"""The loops of `recursions`, compiled."""

from trading_lib.jit import jit
from trading_lib.simulation import recursions

linear = jit(recursions.linear)
variance = jit(recursions.variance)
