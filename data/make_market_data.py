"""Make market_data-1.csv from the package bokeh_sampledata: see README.md beside this file.

python data/make_market_data.py [OUTPUT]
"""

import hashlib
import sys
from pathlib import Path

SYMBOLS = ("AAPL", "GOOG", "IBM", "MSFT")
CLOSE_UTC = "21:00:00"  # 16:00 in New York in winter; one time of day all year
OUTPUT = Path(__file__).with_name("market_data-1.csv")
SOURCE_FILE = "stocks.csv.gz"
SOURCE_SHA256 = "5abadf99b2d394f920120a27de6f0df129859d71d4cfb0bf661bcc99446ab1fd"  # bokeh_sampledata 2026.1


class OtherSource(Exception):
    """The installed package holds other prices than the ones our file was made from."""


def render() -> str:
    """The file's text. Raises ImportError without the package, OtherSource where its data are others."""
    import bokeh_sampledata  # a development dependency

    source = Path(bokeh_sampledata.__file__).parent / "_data" / SOURCE_FILE
    if not source.exists() or hashlib.sha256(source.read_bytes()).hexdigest() != SOURCE_SHA256:
        raise OtherSource(f"{source} is not the edition of bokeh_sampledata 2026.1")
    from bokeh_sampledata import stocks

    rows: list[tuple[str, str, float]] = []
    for symbol in SYMBOLS:
        series = getattr(stocks, symbol)
        rows += [
            (date, symbol, price) for date, price in zip(series["date"], series["adj_close"], strict=True)
        ]
    rows.sort(key=lambda row: row[:2])
    lines = (f"{date} {CLOSE_UTC},{symbol},{price:.4f}\n" for date, symbol, price in rows)
    return "timestamp,symbol,price\n" + "".join(lines)


if __name__ == "__main__":
    output = Path(sys.argv[1]) if len(sys.argv) > 1 else OUTPUT
    output.write_text(render(), encoding="utf-8", newline="\n")
    print(f"{output}: {output.stat().st_size} bytes")
