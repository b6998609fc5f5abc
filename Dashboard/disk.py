"""Room on the disk that runs are written to."""

import shutil
from pathlib import Path
from typing import NamedTuple


class Room(NamedTuple):
    """Bytes that anybody may still write, and of the whole disk."""

    free: int
    total: int


def room(folder: Path) -> Room | None:
    """Of the disk with that folder, or with what it will be made in; None when nobody can say."""
    while not folder.exists() and folder != folder.parent:
        folder = folder.parent
    try:
        usage = shutil.disk_usage(folder)
    except OSError:
        return None
    return Room(usage.free, usage.total)
