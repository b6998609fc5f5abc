"""The one door to Numba. Kernels live in `*_kernels.py` and are imported on demand, behind `compiled()`.

    if compiled():
        from trading_lib.wire_kernels import encode_session

Numba's own cache does not notice a change in a function or constant that a kernel takes from another file,
so the cache folder carries a digest of every source that a kernel could see. Where Numba is missing, or
`ALGOSIM_PURE_PYTHON=1`, callers take their plain-Python path: the same results, slower.
"""

import contextlib
import functools
import hashlib
import importlib.util
import os
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final, TypeVar

F = TypeVar("F", bound=Callable[..., Any])

_ROOT: Final = Path(__file__).resolve().parents[1]
_COMPILED_FROM: Final = (
    "trading_lib",
    "shared_memory",
    "OrderBook",
    "Recorder",
)  # kernels, and the constants they bake in


@functools.cache
def compiled() -> bool:
    """Whether kernels are to be used in this process."""
    if os.environ.get("ALGOSIM_PURE_PYTHON", "") not in ("", "0"):
        return False
    return importlib.util.find_spec("numba") is not None


@functools.cache
def cache_dir() -> Path:
    """Where compiled kernels are kept: in the project, or where that cannot be written in the temporary folder."""
    digest = hashlib.sha256()
    for folder in _COMPILED_FROM:
        for source in sorted((_ROOT / folder).glob("*.py")):
            digest.update(source.read_bytes())
    name = f"kernels-{digest.hexdigest()[:16]}"
    for base in (_ROOT / ".cache", Path(tempfile.gettempdir()) / f"algosim-cache-{os.getuid()}"):
        try:
            (base / name).mkdir(parents=True, exist_ok=True, mode=0o700)
        except OSError:
            continue
        if os.access(base / name, os.W_OK):
            return base / name
    raise OSError("no folder for compiled kernels can be written")


def jit(function: F) -> F:
    """Compile on first use, release the GIL, keep the machine code on disk."""
    import numba

    numba.config.CACHE_DIR = str(cache_dir())
    kernel: F = numba.njit(cache=True, nogil=True, error_model="numpy")(function)
    return kernel


def warmed(name: str) -> bool:
    """Whether `warm` has been here, so that the kernels of that name need only be loaded."""
    return (cache_dir() / f"{name}.warm").exists()


def warm(name: str, announce: Callable[[str], None], call: Callable[[], object]) -> None:
    """Run `call` so that its kernels are compiled; `announce` first if this is the one time it takes long.

    Kernels of this process can have no linear algebra any more: for that, Numba would import SciPy where it is
    installed, a third of the time that it takes to start.
    """
    if not warmed(name):
        announce(f"compiling the {name} kernels, once: some seconds …")
    with _without("scipy"):
        call()
    (cache_dir() / f"{name}.warm").touch()


@contextlib.contextmanager
def _without(package: str) -> Iterator[None]:
    """As if a package were not installed."""
    hidden = sys.modules.get(package)
    sys.modules[package] = None  # type: ignore[assignment]  # what `import` takes for "there is none"
    try:
        yield
    finally:
        if hidden is None:
            del sys.modules[package]
        else:
            sys.modules[package] = hidden
