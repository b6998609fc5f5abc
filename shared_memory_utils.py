"""Shared memory: the price book and the tape. Everything here is in `shared_memory/`; this is its face.

    with SharedPriceBook(["AAPL"], create=True) as book:
        book.update("AAPL", 173.20)
        book.read("AAPL")                       # (173.2, 1759311000.0)

Three segments, files in /dev/shm, little-endian. Each begins with a page of header:

    offset   0  magic                64  run id, 64 bytes
             8  layout version      128  book: symbols in use     tape: intent
            16  capacity                 bells: pages ever claimed
            24  owner pid           192  tape: tail
            32  generation          256  tape: two checkpoints of (tail, feed session, next feed number)
            40  state: 0 being made, 1 live, 2 closed

`<name>`, the price book: 64 bytes a symbol

    offset   0  seq                  int64    updates so far; its lowest bit names the valid pair
             8  price, ns            f64, i64 pair 0
            24  price, ns            f64, i64 pair 1
            40  symbol               24 bytes, NUL-padded

`<name>.tape`, the tape: a ring of 48-byte records; record `seq` stands at `seq % capacity`

    offset   0  seq                  int64
             8  event time           int64 ns UTC
            16  value                f64      price, sentiment, records missed, control id
            24  wall time due        int64 ns when it was to be sent
            32  wall time booked     int64 ns when it was published here
            40  symbol slot          uint32   its place in the price book
            44  kind                 uint8    TICK 1, NEWS 2, TIME 3, EPOCH 4, GAP 5, CONTROL 6, END 7

`<name>.tape.bells`, the doorbells: a page per sleeping reader, its first 4 bytes are the flag.
"""

from shared_memory.doorbell import BellPage, Doorbell
from shared_memory.layout import PAGE, RECORD, RECORD_DTYPE
from shared_memory.market_view import MarketView
from shared_memory.price_book import BookFull, BookSnapshot, SharedPriceBook
from shared_memory.segment import Segment, SegmentError, SegmentInUse, SegmentMissing
from shared_memory.tape import (
    DEFAULT_CAPACITY,
    Entry,
    FeedPosition,
    TapeReader,
    TapeWriter,
    new_run_id,
    tape_name,
    unlink_all,
)

__all__ = [
    "SharedPriceBook",
    "MarketView",
    "BookSnapshot",
    "TapeWriter",
    "TapeReader",
    "Doorbell",
    "BellPage",
    "Entry",
    "FeedPosition",
    "PAGE",
    "RECORD",
    "RECORD_DTYPE",
    "DEFAULT_CAPACITY",
    "Segment",
    "SegmentError",
    "SegmentInUse",
    "SegmentMissing",
    "BookFull",
    "new_run_id",
    "tape_name",
    "unlink_all",
]
