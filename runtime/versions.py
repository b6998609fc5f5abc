"""Every version of a strategy that a run has run, kept in the run's folder: `strategies/<version>.py`.

One with modules beside it, or with parameters that an operator has given it, is a folder of that name; its
parameters are its `params.json`. Replay runs the version that ran then, whatever has become of the file.
"""

import hashlib
import os
import secrets
import shutil
from pathlib import Path
from typing import Any, Final

import msgspec

from trading_lib.strategy_file import version_files, version_of

FOLDER: Final = "strategies"
PARAMS: Final = "params.json"
PARAMS_DIGITS: Final = 8


class Version:
    """A strategy file and the modules beside it, as they are now. Raises OSError if it cannot be read.

    `params` are those of its entry in the configuration as an operator has changed them; None: unchanged.
    """

    def __init__(
        self, path: Path, params: dict[str, Any] | None = None, *, files: dict[str, bytes] | None = None
    ) -> None:
        self.path = path
        self.files = version_files(path) if files is None else files
        self.params = params
        self.source = self.files[path.name]
        code = version_of(self.files)
        self.name = code if params is None else f"{code}-{_digest(params)}"

    def with_params(self, params: dict[str, Any] | None) -> "Version":
        """The same files with other parameters."""
        return Version(self.path, params, files=self.files)

    def again_with(self, params: dict[str, Any] | None) -> "Version":
        """What runs when this one's file does, with other parameters: modules beside it are imported as they are
        now, so where those have changed it is the file as it is now, too. Raises OSError.
        """
        if len(self.files) == 1:
            return self.with_params(params)
        found = Version(self.path, params)
        same = {**found.files, self.path.name: self.source} == self.files
        return self.with_params(params) if same else found

    def keep(self, run: Path) -> None:
        """Write it into a run's folder, if it is not there. Raises OSError."""
        folder = run / FOLDER
        kept = folder / self.name
        if kept.exists() or kept.with_suffix(".py").exists():
            return
        folder.mkdir(exist_ok=True)
        draft = folder / f".{self.name}.{os.getpid()}.{secrets.token_hex(4)}"
        if len(self.files) == 1 and self.params is None:
            draft.write_bytes(self.source)
            draft.replace(kept.with_suffix(".py"))
            return
        contents = dict(self.files) if self.params is None else {**self.files, PARAMS: _json(self.params)}
        for relative, content in contents.items():
            file = draft / relative
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(content)
        try:
            draft.rename(kept)
        except OSError:
            if not kept.is_dir():
                raise
            shutil.rmtree(draft)  # somebody else was first, with the same files


def same_params(one: dict[str, Any], other: dict[str, Any]) -> bool:
    """Whether a strategy cannot tell them apart: 1 and 1.0 it can."""
    return _json(one) == _json(other)


def _json(params: dict[str, Any]) -> bytes:
    return msgspec.json.encode(params, order="sorted")


def _digest(params: dict[str, Any]) -> str:
    return hashlib.sha256(_json(params)).hexdigest()[:PARAMS_DIGITS]


def kept_version(run: Path, version: str, name: str = "strategy.py") -> Path:
    """The strategy file of a version that was kept; `name` is what it is called among others. It may be missing."""
    folder = run / FOLDER / version
    return folder / name if folder.is_dir() else folder.with_suffix(".py")


def kept_params(run: Path, version: str, configured: dict[str, Any]) -> dict[str, Any]:
    """The parameters of a version that was kept: an operator's, or those of the configuration.

    Raises OSError, msgspec.DecodeError.
    """
    try:
        content = (run / FOLDER / version / PARAMS).read_bytes()
    except (FileNotFoundError, NotADirectoryError):
        return configured
    return msgspec.json.decode(content, type=dict[str, Any])
