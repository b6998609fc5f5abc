"""Loads, stores and exchanges with stated memory order, for kernels. Addresses are plain integers.

Numba has no atomics for the CPU; each of these is one LLVM instruction through an intrinsic, so the
compiler may neither reorder, merge nor drop it.
"""

import platform
import sys
import time
from typing import Any, Final

import numba
import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from trading_lib.jit import jit

_I64: Final = ir.IntType(64)
_I32: Final = ir.IntType(32)
_NO_FUTEX: Final = 0
_SYS_FUTEX: Final = (
    {"x86_64": 202, "aarch64": 98}.get(platform.machine(), _NO_FUTEX)
    if sys.platform == "linux"
    else _NO_FUTEX
)
_FUTEX_WAKE: Final = 1
_CLOCK_REALTIME: Final = 0
_CLOCK_MONOTONIC: Final = time.CLOCK_MONOTONIC

_syscall = types.ExternalFunction(
    "syscall",
    types.int64(types.int64, types.int64, types.int64, types.int64, types.int64, types.int64, types.int64),
)
_clock_gettime = types.ExternalFunction("clock_gettime", types.int32(types.int32, types.voidptr))


def _pointer(builder: Any, address: Any, to: Any) -> Any:
    return builder.inttoptr(address, to.as_pointer())


@intrinsic  # type: ignore[untyped-decorator]
def load_acquire(typingctx: Any, address: Any) -> Any:
    """The int64 at `address`; nothing after it is done before it."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return builder.load_atomic(_pointer(builder, args[0], _I64), "acquire", 8)

    return types.int64(types.int64), codegen


@intrinsic  # type: ignore[untyped-decorator]
def store_release(typingctx: Any, address: Any, value: Any) -> Any:
    """Store an int64; everything before it is seen before it."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        builder.store_atomic(args[1], _pointer(builder, args[0], _I64), "release", 8)
        return context.get_dummy_value()

    return types.void(types.int64, types.int64), codegen


@intrinsic  # type: ignore[untyped-decorator]
def fence(typingctx: Any) -> Any:
    """A full memory fence."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        builder.fence("seq_cst")
        return context.get_dummy_value()

    return types.void(), codegen


@intrinsic  # type: ignore[untyped-decorator]
def release_fence(typingctx: Any) -> Any:
    """Stores before it are seen before stores after it."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        builder.fence("release")
        return context.get_dummy_value()

    return types.void(), codegen


@intrinsic  # type: ignore[untyped-decorator]
def acquire_fence(typingctx: Any) -> Any:
    """Loads before it are done before loads after it."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        builder.fence("acquire")
        return context.get_dummy_value()

    return types.void(), codegen


@intrinsic  # type: ignore[untyped-decorator]
def exchange32(typingctx: Any, address: Any, value: Any) -> Any:
    """Swap the int32 at `address` for `value`; returns what it was."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return builder.atomic_rmw("xchg", _pointer(builder, args[0], _I32), args[1], "seq_cst")

    return types.int32(types.int64, types.int32), codegen


@intrinsic  # type: ignore[untyped-decorator]
def load32(typingctx: Any, address: Any) -> Any:
    """The int32 at `address`, read once."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return builder.load_atomic(_pointer(builder, args[0], _I32), "monotonic", 4)

    return types.int32(types.int64), codegen


@intrinsic  # type: ignore[untyped-decorator]
def _as_pointer(typingctx: Any, address: Any) -> Any:
    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return builder.inttoptr(args[0], cgutils.voidptr_t)

    return types.voidptr(types.int64), codegen


@jit
def int64s(address: int, count: int) -> Any:
    """The `count` int64 at `address`, as an array that owns nothing."""
    return numba.carray(_as_pointer(address), (count,), np.int64)


@jit
def float64s(address: int, count: int) -> Any:
    """The `count` float64 at `address`, as an array that owns nothing."""
    return numba.carray(_as_pointer(address), (count,), np.float64)


@jit
def _clock_ns(clock: int) -> Any:
    moment = np.empty(2, np.int64)
    _clock_gettime(clock, moment.ctypes)
    return moment[0] * 1_000_000_000 + moment[1]


@jit
def wall_ns() -> Any:
    """CLOCK_REALTIME in ns."""
    return _clock_ns(_CLOCK_REALTIME)


@jit
def monotonic_ns() -> Any:
    """CLOCK_MONOTONIC in ns, the clock of `time.monotonic_ns`."""
    return _clock_ns(_CLOCK_MONOTONIC)


@jit
def futex_wake(address: int) -> None:
    """Wake every process that sleeps on the int32 at `address` (where there is no futex, none sleeps)."""
    if _SYS_FUTEX != _NO_FUTEX:
        _syscall(_SYS_FUTEX, address, _FUTEX_WAKE, 2147483647, 0, 0, 0)
