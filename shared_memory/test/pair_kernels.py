"""A flat-out writer of pairs and a reader that checks them, compiled; only for tests.

A pair is whole when its ns is `7 x price + 1`: half of one pair and half of another never is.
"""

from typing import Any

from shared_memory.atomics_kernels import float64s, int64s, release_fence, store_release
from shared_memory.book_kernels import gather
from shared_memory.layout import SLOT_WORDS, WORD
from trading_lib.jit import jit


@jit
def write_pairs(address: int, slots: int, start: int, count: int) -> None:
    """Write the prices start, start + 1 … round the slots at `address`, as the sequencer's kernel does."""
    words = int64s(address, slots * SLOT_WORDS)
    values = float64s(address, slots * SLOT_WORDS)
    for number in range(start, start + count):
        base = number % slots * SLOT_WORDS
        version = words[base] + 1
        pair = base + 1 + 2 * (version & 1)
        release_fence()
        values[pair] = float(number)
        words[pair + 1] = 7 * number + 1
        store_release(address + base * WORD, version)


@jit
def torn_pairs(words: Any, rounds: int, prices: Any, times: Any, last: Any) -> Any:
    """Gather `rounds` times; (pairs that were not whole, pairs that had changed since the last look)."""
    torn = changed = 0
    for _ in range(rounds):
        gather(words, prices, times)
        for slot in range(prices.shape[0]):
            if times[slot] != 7 * int(prices[slot]) + 1:
                torn += 1
            if times[slot] != last[slot]:
                changed += 1
                last[slot] = times[slot]
    return torn, changed
