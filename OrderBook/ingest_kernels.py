"""Feed bytes to tape and price book in one pass, compiled.

The kernel does the frames that make up a feed: ticks of known symbols, news, and the `!S` in front of a
burst. Whatever else it meets (a new symbol, a mark, a bad frame, an odd number) it leaves, says so, and
`OrderBook.apply` does it. See `order_book` for what each message means.
"""

import socket
from typing import Any, Final

import numpy as np
from numba import types

from OrderBook.order_book import MAX_FEED_NUMBER
from shared_memory.atomics_kernels import (
    exchange32,
    fence,
    float64s,
    futex_wake,
    int64s,
    load32,
    load_acquire,
    monotonic_ns,
    release_fence,
    store_release,
    wall_ns,
)
from shared_memory.layout import (
    BELL_HIGH_WATER,
    CHECKPOINT_WORDS,
    CHUNK,
    PAGE,
    RECORD_WORDS,
    SLOT_WORDS,
    TAPE_CHECKPOINTS,
    TAPE_INTENT,
    TAPE_TAIL,
    WORD,
)
from trading_lib.histogram import BUCKETS
from trading_lib.histogram_kernels import count_latency
from trading_lib.jit import jit
from trading_lib.models import Kind
from trading_lib.wire import MAX_FRAME
from trading_lib.wire_kernels import (
    BANG,
    COMMA,
    LETTER_N,
    LETTER_S,
    STAR,
    read_number,
    read_price,
    read_symbol,
)

# The state, int64[WORDS]: addresses and sizes first, then what the sequencer and the kernel hand each other.
TAPE: Final = 0
CAPACITY: Final = 1
SLOTS: Final = 2
BELLS: Final = 3
EASY: Final = 4  # data frames may be done here (the source is not new)
SESSION: Final = 5
NEXT_SEQ: Final = 6
DUE: Final = 7
LAST_TS: Final = 8
TIMED: Final = 9
ARRIVAL_STAMPED: Final = 10
CONSUMED: Final = 11
TICKS: Final = 12
NEWS: Final = 13
LATE: Final = 14
LAST_DUE: Final = 15
MAX_LATENCY: Final = 16
RECONNECTED: Final = 17  # a plain source's first time after a lost connection may begin an epoch
KNOWN_SESSION: Final = 18  # the feed position that a plain source's records leave as it is
KNOWN_SEQ: Final = 19
LATENCIES: Final = 20  # address of the histogram's int64[BUCKETS]
KEPT: Final = 21  # bytes of a frame that has begun, at the start of the buffer
LOCK_FD: Final = 22  # the price book's descriptor
STATE_WORDS: Final = 23

ROUND: Final = 2  # `follow`: time is up, or another descriptor is ready, or this one has something to say

DONE: Final = 0
ASK: Final = 1  # the frame at CONSUMED is for `OrderBook.apply`

_POLLIN: Final = 1
_LOCK_EX: Final = 2
_LOCK_UN: Final = 8
_MS: Final = 1_000_000
_DONT_WAIT: Final = int(socket.MSG_DONTWAIT)
_poll = types.ExternalFunction("poll", types.int32(types.voidptr, types.uint64, types.int32))
_recv = types.ExternalFunction("recv", types.int64(types.int32, types.voidptr, types.uint64, types.int32))
_flock = types.ExternalFunction("flock", types.int32(types.int32, types.int32))

_HEADER_WORDS: Final = PAGE // WORD
_TICK: Final = int(Kind.TICK)
_NEWS: Final = int(Kind.NEWS)
_NS_DIGITS: Final = 18  # fewer are seconds, which `wire` reads
_MAX_DIGITS: Final = 19
_MAX_SENTIMENT: Final = 100


@jit
def find(keys: Any, slots: Any, first: int, second: int, third: int) -> Any:
    """Where a symbol (three words) stands in the table, or the free place where it would."""
    mask = np.uint64(slots.shape[0] - 1)
    mixed = (
        first * np.uint64(0x9E3779B97F4A7C15)
        ^ second * np.uint64(0xC2B2AE3D27D4EB4F)
        ^ third * np.uint64(0x165667B19E3779F9)
    )
    place = (mixed ^ (mixed >> np.uint64(29))) & mask
    while slots[place] >= 0 and (
        keys[place, 0] != first or keys[place, 1] != second or keys[place, 2] != third
    ):
        place = (place + np.uint64(1)) & mask
    return place


@jit
def learn(keys: Any, slots: Any, symbol: Any, slot: int) -> None:
    """Add a symbol (uint64[3]) to the table, which always has free places left."""
    place = find(keys, slots, symbol[0], symbol[1], symbol[2])
    keys[place, 0], keys[place, 1], keys[place, 2] = symbol[0], symbol[1], symbol[2]
    slots[place] = slot


@jit
def ring(bells: int) -> None:
    """Wake every sleeping reader."""
    fence()
    for page in range(1, load_acquire(bells + BELL_HIGH_WATER * WORD) + 1):
        flag = bells + page * PAGE
        if load32(flag) != 0 and exchange32(flag, np.int32(0)) != 0:
            futex_wake(flag)


@jit
def _publish(state: Any, tape: Any, tail: int, count: int) -> int:
    """Stamp and release the chunk's `count` records; returns the new tail."""
    booked = wall_ns()
    capacity = state[CAPACITY]
    index = tail % capacity
    for _ in range(count):
        tape[_HEADER_WORDS + index * RECORD_WORDS + 4] = booked
        index += 1
        if index == capacity:
            index = 0
    base = TAPE_CHECKPOINTS
    if tape[base] == tail:
        base += CHECKPOINT_WORDS
    if state[SESSION] != 0:
        tape[base + 1] = state[SESSION]
        tape[base + 2] = state[NEXT_SEQ]
    else:
        tape[base + 1] = state[KNOWN_SESSION]
        tape[base + 2] = state[KNOWN_SEQ]
    tape[base] = tail + count
    store_release(state[TAPE] + TAPE_TAIL * WORD, tail + count)
    ring(state[BELLS])
    if state[LAST_DUE] != 0:
        latency = booked - state[LAST_DUE]
        count_latency(int64s(state[LATENCIES], BUCKETS), latency)
        state[MAX_LATENCY] = max(state[MAX_LATENCY], latency)
        state[LAST_DUE] = 0
    return tail + count


@jit
def ingest(state: Any, data: Any, start: int, end: int, keys: Any, slots: Any) -> int:
    """Publish the whole frames of data[start:end] as far as it can; DONE, or ASK about the one at CONSUMED."""
    capacity = state[CAPACITY]
    tape = int64s(state[TAPE], _HEADER_WORDS + capacity * RECORD_WORDS)
    tape_values = float64s(state[TAPE], _HEADER_WORDS + capacity * RECORD_WORDS)
    book = int64s(state[SLOTS], SLOT_WORDS)
    book_values = float64s(state[SLOTS], SLOT_WORDS)
    tail = tape[TAPE_TAIL]
    index = tail % capacity
    count = 0
    now: Any = np.int64(0)
    status = DONE
    at = start
    while at < end:
        kind = _TICK
        begin = at
        if data[at] == BANG:
            if at + 3 > end:
                if at + 1 < end and data[at + 1] == STAR:
                    status = ASK
                break
            if data[at + 2] != COMMA:
                status = ASK
                break
            if data[at + 1] == LETTER_S and state[SESSION] != 0:
                comma, seq = read_number(data, at + 3, end, 1, _MAX_DIGITS)
                if comma == -2:
                    break
                if comma < 0 or data[comma] != COMMA or seq != state[NEXT_SEQ] or seq > MAX_FEED_NUMBER:
                    status = ASK
                    break
                star, due = read_number(data, comma + 1, end, 1, _MAX_DIGITS)
                if star == -2:
                    break
                if star < 0 or data[star] != STAR:
                    status = ASK
                    break
                state[DUE] = due
                at = star + 1
                continue
            if data[at + 1] != LETTER_N:
                status = ASK
                break
            kind = _NEWS
            begin = at + 3
        if state[EASY] == 0:
            status = ASK
            break

        comma, first, second, third = read_symbol(data, begin, end)
        if comma == -2:
            break
        if comma < 0:
            status = ASK
            break
        slot = slots[find(keys, slots, first, second, third)]
        if slot < 0:
            status = ASK
            break
        if kind == _TICK:
            stop, value = read_price(data, comma + 1, end)
        else:
            stop, sentiment = read_number(data, comma + 1, end, 1, 3)
            value = float(sentiment)
            if stop >= 0 and sentiment > _MAX_SENTIMENT:
                stop = -1
        if stop == -2:
            break
        if stop < 0:
            status = ASK
            break

        if count == 0:
            tape[TAPE_INTENT] = max(tape[TAPE_INTENT], tail + CHUNK)
            release_fence()
            now = wall_ns()
        if data[stop] == COMMA:
            stop, ts = read_number(data, stop + 1, end, _NS_DIGITS, _MAX_DIGITS)
            if stop == -2:
                break
            if stop < 0 or data[stop] != STAR:
                status = ASK
                break
            if state[TIMED] == 0 or state[ARRIVAL_STAMPED] != 0 or state[RECONNECTED] != 0:
                status = ASK
                break
            if ts < state[LAST_TS]:
                ts = state[LAST_TS]
                state[LATE] += 1
        elif state[TIMED] != 0:
            ts = state[LAST_TS]
        else:
            ts = max(state[LAST_TS], now)
            state[ARRIVAL_STAMPED] = 1
        state[LAST_TS] = ts

        if state[SESSION] == 0:
            state[DUE] = now
        else:
            state[NEXT_SEQ] += 1
        due = state[DUE] if state[DUE] != 0 else now  # a session that never said when
        base = _HEADER_WORDS + index * RECORD_WORDS
        tape[base] = tail + count
        tape[base + 1] = ts
        tape_values[base + 2] = value
        tape[base + 3] = due
        tape[base + 5] = np.int64(slot) | (np.int64(kind) << 32)
        if kind == _TICK:
            word = np.int64(slot) * SLOT_WORDS
            version = book[word] + 1
            pair = word + 1 + 2 * (version & 1)
            release_fence()  # the last version is seen before its predecessor's pair is written over
            book_values[pair] = value
            book[pair + 1] = ts
            store_release(state[SLOTS] + word * WORD, version)
            state[TICKS] += 1
            state[LAST_DUE] = due
        else:
            state[NEWS] += 1
        index += 1
        if index == capacity:
            index = 0
        count += 1
        at = stop + 1
        if count == CHUNK:
            tail = _publish(state, tape, tail, count)
            count = 0
    if count:
        _publish(state, tape, tail, count)
    state[CONSUMED] = at
    return status


@jit
def follow(state: Any, data: Any, polled: Any, keys: Any, slots: Any, until: int) -> int:
    """Wait for bytes, read and publish them, again and again, without returning to Python in between.

    `polled`, int32[4], is two `struct pollfd`: the feed's socket and the event loop's descriptor. Returns
    ROUND at `until` (monotonic ns), when the other descriptor is ready, and when the socket has no bytes to
    give; ASK when `OrderBook.apply` must do the frame at CONSUMED (of the buffer's first KEPT bytes).
    """
    while True:
        left = until - monotonic_ns()
        if left <= 0:
            return ROUND
        polled[1] = polled[3] = _POLLIN
        if _poll(polled.ctypes, 2, np.int32(left // _MS + 1)) <= 0 or polled[1] >> 16 == 0:
            return ROUND
        kept = state[KEPT]
        room = data[kept:]
        count = _recv(polled[0], room.ctypes, room.shape[0], _DONT_WAIT)
        if count <= 0:
            return ROUND
        end = kept + count
        _flock(np.int32(state[LOCK_FD]), _LOCK_EX)
        status = ingest(state, data, 0, end, keys, slots)
        _flock(np.int32(state[LOCK_FD]), _LOCK_UN)
        rest = end - state[CONSUMED]
        if status == ASK or rest > MAX_FRAME:
            state[KEPT] = end
            return ASK
        for i in range(rest):
            data[i] = data[end - rest + i]
        state[KEPT] = rest
        if polled[3] >> 16 != 0:
            return ROUND
