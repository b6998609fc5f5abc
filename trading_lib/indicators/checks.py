"""The check of what an indicator is made with."""

import operator


def whole(what: str, n: int, least: int = 1) -> int:
    """`n` as an int. Raises ValueError below `least`, TypeError for what is not a whole number."""
    n = operator.index(n)  # a NumPy integer is one, 2.0 is none
    if n < least:
        raise ValueError(f"{what} must be at least {least}, not {n}")
    return n
