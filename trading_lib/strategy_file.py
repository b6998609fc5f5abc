"""Strategy files: found, imported, and blamed by line.

    module = load_strategy(Path("strategies/sma_news/strategy.py"))

A strategy is a module with `on_tick(ctx, tick)`; `NAME`, `PARAMS`, `SYMBOLS`, `init`, `on_news`, `on_fill`,
`on_reject` and `on_stop` are optional. Modules beside the file can be imported at its top.
"""

import hashlib
import importlib.util
import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Final

USER_FAULTS: Final = (
    BaseException  # user code may raise anything; signals only set flags, so all of it is its own
)
LONGEST_ERROR: Final = 300  # characters of an exception's text that a log line and the status show
VERSION_DIGITS: Final = 16


class TakenBack(BaseException):
    """Raised into a strategy's code by whoever runs it and wants it back: no fault of the strategy's."""


class StrategyError(Exception):
    """A strategy file that cannot be run; the message says why, with its line."""


def load_strategy(path: Path, source: bytes | None = None) -> ModuleType:
    """Import a strategy file as a module of its own; `source` is its content, if that was read already.

    Raises StrategyError.
    """
    spec = importlib.util.spec_from_file_location(f"strategy_{path.parent.name}", path)
    if spec is None or spec.loader is None or (source is None and not path.is_file()):
        raise StrategyError(f"{path}: no such strategy file")
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses and the like look their module up there
    try:
        with _neighbours(path.parent):
            if source is None:
                spec.loader.exec_module(module)
            else:
                exec(compile(source, path, "exec"), module.__dict__)
    except USER_FAULTS as fault:
        raise StrategyError(f"{path}: {blame(fault, str(path))}") from fault
    if not callable(getattr(module, "on_tick", None)):
        raise StrategyError(f"{path}: a strategy has a function on_tick(ctx, tick)")
    return module


@contextmanager
def _neighbours(folder: Path) -> Iterator[None]:
    """Modules of `folder` can be imported, and are nobody else's: another strategy has a `rules.py`, too."""
    before = set(sys.modules)
    sys.path.insert(0, str(folder))
    try:
        yield
    finally:
        sys.path.remove(str(folder))
        for name in set(sys.modules) - before:
            file = getattr(sys.modules[name], "__file__", None)
            if file is not None and folder in Path(file).parents:
                del sys.modules[name]


def version_files(path: Path) -> dict[str, bytes]:
    """What a version of a strategy is made of: the file and what it can import from its folder, by relative path.

    Raises OSError when the strategy file itself cannot be read; a neighbour that vanishes is left out.
    """
    files = {path.name: path.read_bytes()}
    packages = [init.parent for init in path.parent.glob("*/__init__.py")]
    modules = [*path.parent.glob("*.py"), *(file for package in packages for file in package.rglob("*.py"))]
    for neighbour in sorted(modules):
        if neighbour != path:
            try:
                files[neighbour.relative_to(path.parent).as_posix()] = neighbour.read_bytes()
            except OSError:
                continue  # an editor is replacing it, or it is gone: what cannot be read cannot be imported
    return files


def version_of(files: dict[str, bytes]) -> str:
    """The name of a version: the first digits of a SHA-256 over its files."""
    digest = hashlib.sha256()
    for name, content in sorted(files.items()):
        digest.update(f"{name}\0{len(content)}\0".encode() + content)
    return digest.hexdigest()[:VERSION_DIGITS]


def blame(fault: BaseException, path: str) -> str:
    """The innermost line of the strategy file and what went wrong there."""
    if isinstance(fault, SyntaxError) and fault.filename == path:
        return f"line {fault.lineno}: {type(fault).__name__}: {fault.msg}"
    frames = traceback.extract_tb(fault.__traceback__)
    lines = [frame.lineno for frame in frames if frame.filename == path] or [f.lineno for f in frames]
    line = f"line {lines[-1]}: " if lines else ""
    return f"{line}{type(fault).__name__}: {_text(fault)}"


def _text(fault: BaseException) -> str:
    """What an exception says, bounded and writable; user code may have made even that fail."""
    try:
        text = str(fault)
    except USER_FAULTS as second:
        text = f"(its text raises {type(second).__name__})"
    return text[:LONGEST_ERROR].encode("utf-8", "backslashreplace").decode()
