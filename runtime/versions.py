"""Every version of a strategy that a run has run, kept in the run's folder: `strategies/<version>.py`.

One with modules beside it is a folder of that name. Replay runs the version that ran then, whatever has
become of the file.
"""

import contextlib
import os
import secrets
from pathlib import Path
from typing import Final

from trading_lib.strategy_file import version_files, version_of

FOLDER: Final = "strategies"


class Version:
    """A strategy file and the modules beside it, as they are now. Raises OSError if it cannot be read."""

    def __init__(self, path: Path) -> None:
        self.files = version_files(path)
        self.source = self.files[path.name]
        self.name = version_of(self.files)

    def keep(self, run: Path) -> None:
        """Write it into a run's folder, if it is not there. Raises OSError."""
        folder = run / FOLDER
        kept = folder / self.name
        if kept.exists() or kept.with_suffix(".py").exists():
            return
        folder.mkdir(exist_ok=True)
        draft = folder / f".{self.name}.{os.getpid()}.{secrets.token_hex(4)}"
        if len(self.files) == 1:
            draft.write_bytes(self.source)
            draft.replace(kept.with_suffix(".py"))
            return
        for relative, content in self.files.items():
            file = draft / relative
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(content)
        with contextlib.suppress(FileExistsError):  # somebody else was first, with the same files
            draft.rename(kept)


def kept_version(run: Path, version: str, name: str = "strategy.py") -> Path:
    """The strategy file of a version that was kept; `name` is what it is called among others. It may be missing."""
    folder = run / FOLDER / version
    return folder / name if folder.is_dir() else folder.with_suffix(".py")
