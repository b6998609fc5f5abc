"""CSV as the standard library's writer makes it, several times faster for rows of numbers.

line = f"{quoted(symbol)},{numbers((1600000000000000000, 0.1, 5))}"       # AAPL,1600000000000000000,0.1,5
"""

import csv
import io
from collections.abc import Sequence
from functools import lru_cache
from typing import Final

import msgspec

_encode: Final = msgspec.json.Encoder().encode
_REMEMBERED: Final = 1024  # texts: names and tags repeat themselves


@lru_cache(maxsize=_REMEMBERED)
def quoted(text: str) -> str:
    """A text as a cell beside others, quoted where need be."""
    line = io.StringIO()
    csv.writer(line, lineterminator="\n").writerow([text, ""])
    return line.getvalue()[: -len(",\n")]


def numbers(values: Sequence[float | str]) -> str:
    """Ints, and floats as `repr`, joined by commas; "" is an empty cell.

    JSON has the same shortest digits. It differs in who gets an exponent, and in what is not finite.
    """
    text = _encode(values)[1:-1].decode()
    if "e" in text or "0.0000" in text or "null" in text:
        return ",".join(map(str, values))
    return text.replace('""', "")
