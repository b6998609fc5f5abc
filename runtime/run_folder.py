"""A run's folder, `runs/<id>/`: who comes first makes it, with the run's token and its effective configuration.

The token proves that a client may speak as one of the run's own: it can read a file of mode 600.
"""

import contextlib
import os
import secrets
from pathlib import Path
from typing import Final

from config import Config, resolve, to_json

TOKEN_BYTES: Final = 16
CONFIG_NAME: Final = "config.json"


def run_folder(config: Config, run_id: str) -> Path:
    """Where a run's files are."""
    return resolve(config.run.export_dir) / run_id


def open_run_folder(config: Config, run_id: str) -> Path:
    """The run's folder, complete: made if this is the first part of the run to ask. Raises OSError."""
    folder = run_folder(config, run_id)
    folder.mkdir(parents=True, exist_ok=True)
    if config.run.hide_seed or config.Dashboard.token is not None:
        folder.chmod(0o700)  # who knows the seed knows the market's future; who knows the token may look on
    _write_once(folder / "token", secrets.token_hex(TOKEN_BYTES).encode(), 0o600)
    _write_once(folder / CONFIG_NAME, to_json(config), 0o644)
    return folder


def _write_once(path: Path, content: bytes, mode: int) -> None:
    """Write a file that is either there whole, or not there, and that the first writer decides."""
    if path.exists():
        return
    draft = path.with_name(f".{path.name}.{os.getpid()}.{secrets.token_hex(4)}")
    fd = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
    try:
        with os.fdopen(fd, "wb") as file:
            file.write(content)
        with contextlib.suppress(FileExistsError):  # somebody else was first: theirs counts
            os.link(draft, path)
    finally:
        draft.unlink()


def read_token(folder: Path) -> str | None:
    """The run's token, None while there is none."""
    try:
        return (folder / "token").read_text()
    except FileNotFoundError:
        return None
