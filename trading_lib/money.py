"""Exact decimals for money: floats at the face, Python ints inside.

    slipped(172.51, 1.0, +1)                    # 172.527251, not 172.52725099999998
    scaled(0.1, QTY_SCALE) / QTY_SCALE          # 0.1

A float stands for its shortest decimal, the one `repr` prints: 0.1 means one tenth. Inside, prices,
quantities and multipliers are ints in units of a power of ten, and money is their product, so sums are
exact, in any order, after any number of fills. Ints have no bound, cost some tens of ns an operation
(a `Decimal` has a precision to run out of, a `Fraction` a gcd to pay for), and int / int is rounded
correctly, once, on the way back to a float. A digit beyond a scale is rounded half to even.
"""

from decimal import Decimal
from functools import lru_cache
from math import isfinite
from typing import Final

PRICE_SCALE: Final = 10**15  # the finest tick size a configuration may ask for
QTY_SCALE: Final = 10**12
MULTIPLIER_SCALE: Final = 10**12
MONEY_SCALE: Final = PRICE_SCALE * QTY_SCALE * MULTIPLIER_SCALE
BPS: Final = 10_000  # basis points in one

_REMEMBERED: Final = 8192  # conversions: prices, quantities and rates repeat themselves
_PICO: Final = 10**12
_PICO_FLOAT: Final = 1e12
_SHORT: Final = 1e3  # below it twelve decimals are at most 15 digits, and 15 digits name one float only
_NANO: Final = 10**9
_NANO_FLOAT: Final = 1e9
_LONGER: Final = 1e6  # below it nine decimals are


@lru_cache(maxsize=_REMEMBERED)
def exact(x: float) -> tuple[int, int]:
    """The shortest decimal of `x` as (numerator, denominator > 0). Raises ValueError if not finite."""
    if -_SHORT < x < _SHORT:
        pico = round(x * _PICO_FLOAT)
        if pico / _PICO_FLOAT == x:
            return pico, _PICO
    elif -_LONGER < x < _LONGER:
        nano = round(x * _NANO_FLOAT)
        if nano / _NANO_FLOAT == x:
            return nano, _NANO
    if not isfinite(x):
        raise ValueError(f"not a finite number: {x}")
    return Decimal(repr(float(x))).as_integer_ratio()


@lru_cache(maxsize=_REMEMBERED)
def scaled(x: float, scale: int) -> int:
    """The shortest decimal of `x` in units of 1/`scale`, a power of ten ≥ 10**12. Raises ValueError."""
    if -_SHORT < x < _SHORT:
        pico = round(x * _PICO_FLOAT)
        if pico / _PICO_FLOAT == x:
            return pico * (scale // _PICO)
    elif -_LONGER < x < _LONGER:
        nano = round(x * _NANO_FLOAT)
        if nano / _NANO_FLOAT == x:
            return nano * (scale // _NANO)
    numerator, denominator = exact(x)
    return divided(numerator * scale, denominator)


def share(amount: int, part: int, whole: int) -> int:
    """The nearest int to amount · part / whole, a tie to the even one; all of it where the part is the whole."""
    return amount if part == whole else divided(amount * part, whole)


def divided(numerator: int, denominator: int) -> int:
    """The nearest int to a quotient, a tie to the even one. `denominator` is not 0."""
    if denominator < 0:
        numerator, denominator = -numerator, -denominator
    quotient, rest = divmod(numerator, denominator)
    twice = 2 * rest
    if twice > denominator or (twice == denominator and quotient & 1):
        quotient += 1
    return quotient


def slipped(price: float, bps: float, sign: int) -> float:
    """The float nearest to price · (1 + sign · bps / 10⁴). `sign` is +1 for BUY and -1 for SELL."""
    price_n, price_d = exact(price)
    bps_n, bps_d = exact(bps)
    one = BPS * bps_d
    return price_n * (one + sign * bps_n) / (price_d * one)


def commission(price: float, qty: float, bps: float, fixed: float = 0.0, multiplier: float = 1.0) -> float:
    """The float nearest to |price · qty · multiplier| · bps / 10⁴ + fixed, in money."""
    price_n, price_d = exact(price)
    qty_n, qty_d = exact(qty)
    bps_n, bps_d = exact(bps)
    numerator, denominator = abs(price_n * qty_n * bps_n), price_d * qty_d * bps_d * BPS
    if multiplier != 1:
        n, d = exact(multiplier)
        numerator, denominator = numerator * abs(n), denominator * d
    if fixed:
        n, d = exact(fixed)
        numerator, denominator = numerator * d + n * denominator, denominator * d
    return numerator / denominator
