"""The compiled reading of a whole price book."""

import numpy as np
import numpy.typing as npt

from shared_memory.atomics_kernels import acquire_fence, load_acquire
from shared_memory.layout import SLOT_WORDS
from trading_lib.jit import jit


@jit
def gather(
    words: npt.NDArray[np.int64],
    values: npt.NDArray[np.float64],
    count: int,
    prices: npt.NDArray[np.float64],
    times: npt.NDArray[np.int64],
) -> None:
    """Copy `count` slots (words int64[n x 8], and the same memory as float64); no pair is ever torn."""
    address = words.ctypes.data
    for slot in range(count):
        base = slot * SLOT_WORDS
        while True:
            version = load_acquire(address + base * 8)
            pair = base + 1 + 2 * (version & 1)
            price = values[pair]
            moment = words[pair + 1]
            acquire_fence()
            if load_acquire(address + base * 8) == version:
                break
        prices[slot] = price if version else np.nan
        times[slot] = moment
