"""The bytes of a journal, and nothing but bytes: no files inside.

    0      magic, layout version, run id, crc                       written once
    4096   checkpoint slot 0: offset, number, chain, crc            written in turn, each in a block of its
    8192   checkpoint slot 1                                        own: a kill while writing leaves the other
    12288  records: length, crc, payload; length, crc, payload; …   little-endian, not aligned
           zeros to the end of the file                             a length of 0 is the end

A record's crc covers its number, its length and the crc of the record before it (the first one's: of the
header), so it vouches for all history: a record left over from an earlier life of the file, displaced, or
of another run is not accepted, even where it has the right length and stands at the right place.
"""

import enum
import struct
import zlib
from typing import Final, NamedTuple

MAGIC: Final = b"ALGOJRNL"
LAYOUT_VERSION: Final = 1
RUN_ID_BYTES: Final = 64
BLOCK: Final = 4096  # what a disk writes whole or not at all
SLOT_OFFSETS: Final = (BLOCK, 2 * BLOCK)
FIRST_RECORD: Final = 3 * BLOCK
MAX_PAYLOAD: Final = 1 << 28  # a checkpoint of millions of orders; a longer length is damage

HEAD: Final = struct.Struct("<II")  # payload length, crc
LINK: Final = struct.Struct("<QII")  # what the crc covers before the payload: number, length, crc before
_HEADER: Final = struct.Struct(f"<8sII{RUN_ID_BYTES}s")  # magic, layout version, 0, run id
_SLOT: Final = struct.Struct("<QQI")  # offset, number, crc before
_CRC: Final = struct.Struct("<I")


class Place(NamedTuple):
    """Where a record stands or will stand: its number, its offset, and the crc of the record before it."""

    number: int
    offset: int
    chain: int


class Stop(enum.Enum):
    """Why parsing ended."""

    LIMIT = "as many as asked for"
    SHORT = "the bytes end within a record"
    END = "no further record"
    BAD_LENGTH = "impossible length"
    BAD_CRC = "checksum mismatch"


def record_crc(number: int, payload: bytes, chain: int) -> int:
    """The crc of record `number` that follows a record with the crc `chain`."""
    return zlib.crc32(payload, zlib.crc32(LINK.pack(number, len(payload), chain)))


def parse(data: bytes, place: Place, limit: int) -> tuple[list[bytes], Place, Stop]:
    """Up to `limit` payloads from `data`, which begins at `place`; the place behind them; why it ended."""
    payloads: list[bytes] = []
    number, base, chain = place
    at, size, last = 0, len(data), number + limit
    head, link, crc32, keep = HEAD.unpack_from, LINK.pack, zlib.crc32, payloads.append
    stop = Stop.LIMIT
    while number < last:
        if at + HEAD.size > size:
            stop = Stop.SHORT if at < size else Stop.END
            break
        length, crc = head(data, at)
        if not 0 < length <= MAX_PAYLOAD:
            stop = Stop.BAD_LENGTH if length or crc else Stop.END
            break
        end = at + HEAD.size + length
        if end > size:
            stop = Stop.SHORT
            break
        payload = data[at + HEAD.size : end]
        if crc32(payload, crc32(link(number, length, chain))) != crc:
            stop = Stop.BAD_CRC
            break
        keep(payload)
        number, at, chain = number + 1, end, crc
    return payloads, Place(number, base + at, chain), stop


def pack_header(run_id: str) -> bytes:
    """The header block and two empty slots. Raises ValueError for a run id that is too long."""
    name = run_id.encode()
    if len(name) > RUN_ID_BYTES:
        raise ValueError(f"run id of {len(name)} bytes; a journal holds {RUN_ID_BYTES}")
    fields = _HEADER.pack(MAGIC, LAYOUT_VERSION, 0, name)
    return (fields + _CRC.pack(zlib.crc32(fields))).ljust(FIRST_RECORD, b"\0")


def unpack_header(data: bytes) -> tuple[str, Place]:
    """The run id and the place of the first record. Raises ValueError saying what is wrong."""
    if len(data) < FIRST_RECORD or not data.startswith(MAGIC):
        raise ValueError("not a journal")
    _, version, _, name = _HEADER.unpack_from(data)
    if version != LAYOUT_VERSION:
        raise ValueError(f"layout version {version}; this program writes and reads {LAYOUT_VERSION}")
    (crc,) = _CRC.unpack_from(data, _HEADER.size)
    if zlib.crc32(data[: _HEADER.size]) != crc:
        raise ValueError("its header is damaged")
    return name.rstrip(b"\0").decode(), Place(0, FIRST_RECORD, crc)


def pack_slot(place: Place) -> bytes:
    """A checkpoint slot that points at the record at `place`."""
    fields = _SLOT.pack(place.offset, place.number, place.chain)
    return fields + _CRC.pack(zlib.crc32(fields))


def unpack_slots(data: bytes) -> tuple[Place | None, Place | None]:
    """What the two slots of a header say; None for one that is empty or damaged."""
    first, second = (_unpack_slot(data[offset : offset + BLOCK]) for offset in SLOT_OFFSETS)
    return first, second


def _unpack_slot(data: bytes) -> Place | None:
    offset, number, chain = _SLOT.unpack_from(data)
    (crc,) = _CRC.unpack_from(data, _SLOT.size)
    if offset < FIRST_RECORD or zlib.crc32(data[: _SLOT.size]) != crc:
        return None
    return Place(number, offset, chain)
