"""Watch the latest prices in shared memory, beside a running system and without a socket.

    make run                                             # in another terminal
    python examples/price_book_reader.py                 # until Ctrl-C
    python examples/price_book_reader.py --seconds 3

Prints a line a second: each symbol's latest price, and how many times it has changed since the last line.
"""

import argparse
import sys
import time
from pathlib import Path

sys.path[0] = str(Path(__file__).resolve().parents[1])

from shared_memory_utils import SegmentError, SharedPriceBook  # noqa: E402


def updates(book: SharedPriceBook) -> dict[str, int]:
    """How many prices each symbol has had so far."""
    counts = book.versions().tolist()
    return dict(zip(book.symbols, counts, strict=False))  # a symbol may be added in between


def watch(book: SharedPriceBook, seconds: float, period: float = 1.0) -> None:
    """Print the book once a period, until its owner stops or `seconds` have passed."""
    until = time.monotonic() + seconds
    before = updates(book)
    while not book.closed and time.monotonic() < until:
        time.sleep(min(period, max(0.0, until - time.monotonic())))
        prices = book.read_all()
        now = updates(book)
        line = "   ".join(f"{s} {price} (+{now[s] - before.get(s, 0)})" for s, (price, _) in prices.items())
        print(line or "no price yet", flush=True)
        before = now
    if book.closed:
        print("the OrderBook has stopped")


def main() -> int:
    """Attach and watch; returns the exit code."""
    parser = argparse.ArgumentParser(description="Watch the latest prices in shared memory.")
    parser.add_argument("name", nargs="?", default="market_prices", help="OrderBook.shared_memory_name")
    parser.add_argument("--seconds", type=float, default=float("inf"), help="default: until Ctrl-C")
    arguments = parser.parse_args()
    try:
        book = SharedPriceBook(name=arguments.name)
    except SegmentError as fault:
        print(f"{fault}: is a system running? Start one with `make run`.", file=sys.stderr)
        return 1
    with book:
        print(
            f"{arguments.name}: {book.count} symbols, {book.shared_memory_size():,} bytes, run {book.run_id}"
        )
        try:
            watch(book, arguments.seconds)
        except KeyboardInterrupt:
            print()
    return 0


if __name__ == "__main__":
    sys.exit(main())
