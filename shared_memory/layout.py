"""Offsets and record layouts. `shared_memory_utils` opens with them as a table; nothing else knows a number.

All words are little-endian and naturally aligned. Word indices count 8-byte words from the start of the
segment.
"""

import struct
from typing import Final

import numpy as np

PAGE: Final = 4096
WORD: Final = 8

# ---------------------------------------------------------------- header, common to book and tape (words)
MAGIC: Final = 0
VERSION: Final = 1
CAPACITY: Final = 2
OWNER_PID: Final = 3
GENERATION: Final = 4
STATE: Final = 5
RUN_ID_OFFSET: Final = 64  # bytes, NUL-padded UTF-8
RUN_ID_BYTES: Final = 64
BOOK_COUNT: Final = 16  # symbols in use; each stands on its own cache line
TAPE_INTENT: Final = 16
TAPE_TAIL: Final = 24
TAPE_CHECKPOINTS: Final = 32  # two of (tail, feed session, next feed number)
CHECKPOINT_WORDS: Final = 3

BOOK_MAGIC: Final = 0x314B4F4F42474C41  # "ALGBOOK1"
TAPE_MAGIC: Final = 0x31455041544C4741  # "AGLTAPE1"
BELL_MAGIC: Final = 0x314C4C4542474C41  # "ALGBELL1"
LAYOUT_VERSION: Final = 1

STATE_STARTING: Final = 0  # named, but its doorbells are not: not to be used yet
STATE_LIVE: Final = 1
STATE_CLOSED: Final = 2  # its owner has stopped, or replaced it: look for a new segment under the name

# ---------------------------------------------------------------------------------- price book, 64 bytes a slot
SLOT_BYTES: Final = 64
SLOT_WORDS: Final = SLOT_BYTES // WORD
SLOT_SYMBOL_OFFSET: Final = 40
SYMBOL_BYTES: Final = 24
SLOT_DTYPE: Final = np.dtype(
    {
        "names": ["seq", "price0", "ns0", "price1", "ns1", "symbol"],
        "formats": ["<i8", "<f8", "<i8", "<f8", "<i8", "S24"],
        "offsets": [0, 8, 16, 24, 32, 40],
        "itemsize": SLOT_BYTES,
    }
)

# ---------------------------------------------------------------------------------------- tape, 48 bytes a record
RECORD: Final = struct.Struct("<qqdqqIB3x")  # seq, event ns, value, due ns, booked ns, slot, kind
RECORD_BYTES: Final = RECORD.size
RECORD_WORDS: Final = RECORD_BYTES // WORD
RECORD_DTYPE: Final = np.dtype(
    {
        "names": ["seq", "ts", "value", "due", "booked", "slot", "kind"],
        "formats": ["<i8", "<i8", "<f8", "<i8", "<i8", "<u4", "<u1"],
        "offsets": [0, 8, 16, 24, 32, 40, 44],
        "itemsize": RECORD_BYTES,
    }
)
CHUNK: Final = 256  # records published at once: the most a reader near the ring's end can lose to caution

# ------------------------------------------------------------------------------------------ doorbells, a page each
MAX_BELLS: Final = 128  # readers of one tape that can sleep; one more reader is refused
BELL_HIGH_WATER: Final = 16  # word of page 0: pages ever claimed
assert RECORD_BYTES == 48 and SLOT_DTYPE.itemsize == 64 and RECORD_DTYPE.itemsize == 48
