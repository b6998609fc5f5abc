"""Every version of a strategy that a run has run, kept in the run's folder: `strategies/<version>.py`.

One with modules beside it is a folder of that name. Replay runs the version that ran then, whatever has
become of the file.
"""

import contextlib
import os
import secrets
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from trading_lib.strategy_file import version_of

FOLDER: Final = "strategies"


def keep_version(run: Path, name: str, files: Mapping[str, bytes]) -> str:
    """Write a version's files (see `strategy_file.version_files`) and return its name; `name` is the strategy
    file's among them. Raises OSError."""
    version = version_of(dict(files))
    folder = run / FOLDER
    kept = folder / version
    if kept.exists() or kept.with_suffix(".py").exists():
        return version
    folder.mkdir(exist_ok=True)
    draft = folder / f".{version}.{os.getpid()}.{secrets.token_hex(4)}"
    if len(files) == 1:
        draft.write_bytes(files[name])
        draft.replace(kept.with_suffix(".py"))
        return version
    for relative, content in files.items():
        file = draft / relative
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(content)
    with contextlib.suppress(FileExistsError):  # somebody else was first, with the same files
        draft.rename(kept)
    return version


def kept_version(run: Path, version: str, name: str = "strategy.py") -> Path:
    """The strategy file of a version that was kept; `name` is what it is called among others. It may be missing."""
    folder = run / FOLDER / version
    return folder / name if folder.is_dir() else folder.with_suffix(".py")
