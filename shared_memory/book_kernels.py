"""The compiled reading of a whole price book."""

from typing import Any, Final

import numpy as np
import numpy.typing as npt
from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from shared_memory.atomics_kernels import acquire_fence, load_acquire
from shared_memory.layout import PAGE, SLOT_BYTES, WORD
from trading_lib.jit import jit

GROUP: Final = 4  # slots at a time: their prices fill one 32-byte store, and so do their times
_PAIR_BYTES: Final = 2 * WORD
_I64: Final = ir.IntType(64)


@intrinsic  # type: ignore[untyped-decorator]
def _copy_group(typingctx: Any, slots: Any, prices: Any, times: Any) -> Any:  # noqa: ARG001 (Numba's signature)
    """Copy the valid pairs of GROUP slots between addresses; whether all were whole and ever updated.

    A pair is one load, and a column of four pairs one store: word by word the same costs twice as much.
    """

    def column(builder: Any, pairs: list[Any], word: int) -> Any:
        def pick(left: Any, right: Any, places: list[int]) -> Any:
            mask = ir.Constant(ir.VectorType(ir.IntType(32), len(places)), places)
            return builder.shuffle_vector(left, right, mask)

        left, right = (pick(pairs[i], pairs[i + 1], [word, 2 + word]) for i in (0, 2))
        return pick(left, right, [0, 1, 2, 3])

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:  # noqa: ARG001
        def pointer(address: Any, to: Any) -> Any:
            return builder.inttoptr(address, to.as_pointer())

        slots, prices, times = args
        bases = [builder.add(slots, _I64(i * SLOT_BYTES)) for i in range(GROUP)]
        versions = [builder.load_atomic(pointer(base, _I64), "acquire", WORD) for base in bases]
        pairs = []
        for base, version in zip(bases, versions, strict=True):
            offset = builder.mul(builder.and_(version, _I64(1)), _I64(_PAIR_BYTES))
            address = builder.add(builder.add(base, _I64(WORD)), offset)
            pairs.append(builder.load(pointer(address, ir.VectorType(_I64, 2)), align=WORD))
        for word, out in enumerate((prices, times)):
            builder.store(column(builder, pairs, word), pointer(out, ir.VectorType(_I64, GROUP)), align=WORD)
        builder.fence("acquire")
        whole = ir.Constant(ir.IntType(1), 1)
        for base, version in zip(bases, versions, strict=True):
            again = builder.load_atomic(pointer(base, _I64), "monotonic", WORD)
            whole = builder.and_(whole, builder.icmp_signed("==", again, version))
            whole = builder.and_(whole, builder.icmp_signed("!=", version, _I64(0)))
        return whole

    return types.boolean(types.int64, types.int64, types.int64), codegen


@jit
def _copy_slot(
    words: npt.NDArray[np.int64],
    slot: int,
    prices: npt.NDArray[np.float64],
    times: npt.NDArray[np.int64],
) -> None:
    """Copy one slot's pair, again until it is whole."""
    values = words.view(np.float64)
    base = (PAGE + slot * SLOT_BYTES) // WORD
    address = words.ctypes.data + base * WORD
    while True:
        version = load_acquire(address)
        pair = base + 1 + 2 * (version & 1)
        price, moment = values[pair], words[pair + 1]
        acquire_fence()
        if load_acquire(address) == version:
            break
    prices[slot] = price if version else np.nan
    times[slot] = moment


@jit
def gather(
    words: npt.NDArray[np.int64],
    prices: npt.NDArray[np.float64],
    times: npt.NDArray[np.int64],
) -> None:
    """Copy as many slots of a segment (`words`, all of it) as `prices` has room for; no pair is ever torn."""
    count = prices.shape[0]
    slots, price_at, time_at = words.ctypes.data + PAGE, prices.ctypes.data, times.ctypes.data
    grouped = count - count % GROUP
    for first in range(0, grouped, GROUP):
        if not _copy_group(slots + first * SLOT_BYTES, price_at + first * WORD, time_at + first * WORD):
            for slot in range(first, first + GROUP):
                _copy_slot(words, slot, prices, times)
    for slot in range(grouped, count):
        _copy_slot(words, slot, prices, times)
