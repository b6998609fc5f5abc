"""The strategy files that a browser may see and save: those in one folder, and nothing else in the world.

    files = StrategyFiles(ROOT / "strategies")
    text = files.read("momentum")
    files.save("momentum", text.source + "\\n", text.digest)

A file is named by its folder: `momentum` is `<folder>/momentum/strategy.py`. Whatever a name is, what is opened
lies in a real folder of the root: each step from the root on is opened by itself and follows no symbolic link,
so that neither a name nor a link made meanwhile leads out.
"""

import contextlib
import hashlib
import os
import re
import secrets
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Final, NamedTuple

from lab.scaffold import NameRefused, new_strategy

FILE: Final = "strategy.py"
NAME: Final = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.\-]{0,63}")
MAX_SOURCE: Final = 1 << 18  # bytes: 256 KiB is some 6,000 lines; an editor in a browser is no place for more
MOST: Final = 500  # files that are listed
_FOLDER: Final = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_READ: Final = (
    os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
)  # of a FIFO, do not wait for its writer
_DRAFT: Final = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC


class Refused(Exception):
    """A file that is not read or not written; the text says why, to a person."""


class Changed(Refused):
    """A file that is not as it was when it was read."""


class Text(NamedTuple):
    """A file's text with lines that end in a newline alone, and what tells the file from every other."""

    source: str
    digest: str


class StrategyFiles:
    """Reads and writes `<root>/<name>/strategy.py`."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def names(self) -> list[str]:
        """The strategies there are, in order, at most MOST."""
        found = []
        with contextlib.suppress(OSError), os.scandir(self.root) as entries:
            for entry in entries:
                if NAME.fullmatch(entry.name) and _has_file(entry):
                    found.append(entry.name)
        return sorted(found)[:MOST]

    def name_of(self, path: Path) -> str | None:
        """By which name a configured file is found here; None if it is not."""
        resolved = path.resolve()
        name = resolved.parent.name
        here = resolved.name == FILE and resolved.parent.parent == self.root.resolve()
        return name if here and NAME.fullmatch(name) else None

    def read(self, name: str) -> Text:
        """A file as it is now. Raises Refused."""
        with self._folder(name) as folder, _explained(name):
            return _text(name, _content(folder))

    def save(self, name: str, source: str, known: str) -> str:
        """Replace a file that is still the one with the digest `known`, at once and whole; its new digest.

        Raises Changed if it is another by now, and Refused.
        """
        content = _encoded(source)
        with self._folder(name) as folder, _explained(name):
            if _digest(_content(folder)) != known:
                raise Changed(f"{name}/{FILE} was changed by somebody else meanwhile")
            _replace(folder, content)
        return _digest(content)

    def create(self, name: str) -> str:
        """A new strategy from the template; its name. Raises Refused."""
        try:
            new_strategy(name, self.root)
        except (NameRefused, OSError) as fault:
            raise Refused(str(fault)) from None
        return name

    @contextlib.contextmanager
    def _folder(self, name: str) -> Iterator[int]:
        """A strategy's folder, open."""
        if not NAME.fullmatch(name):
            raise Refused(f"{name!r}: no strategy can have this name")
        with _explained(name):
            root = os.open(self.root, _FOLDER & ~os.O_NOFOLLOW)  # where the root is, its owner says
            try:
                folder = os.open(name, _FOLDER, dir_fd=root)
            finally:
                os.close(root)
        try:
            yield folder
        finally:
            os.close(folder)


@contextlib.contextmanager
def _explained(name: str) -> Iterator[None]:
    try:
        yield
    except OSError as fault:
        raise Refused(f"{name}/{FILE}: {fault.strerror}") from None


def _has_file(entry: os.DirEntry[str]) -> bool:
    try:
        found = (Path(entry.path) / FILE).lstat()
    except OSError:
        return False
    return entry.is_dir(follow_symlinks=False) and stat.S_ISREG(found.st_mode)


def _content(folder: int) -> bytes:
    """The file in an open folder. Raises OSError, Refused."""
    with os.fdopen(os.open(FILE, _READ, dir_fd=folder), "rb") as file:
        if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
            raise Refused(f"{FILE}: no file")
        content = file.read(MAX_SOURCE + 1)
    if len(content) > MAX_SOURCE:
        raise Refused(f"{FILE}: over {MAX_SOURCE >> 10} KiB, more than this editor takes")
    return content


def _replace(folder: int, content: bytes) -> None:
    """Write a draft beside the file and put it into its place. Raises OSError."""
    mode = stat.S_IMODE(os.stat(FILE, dir_fd=folder, follow_symlinks=False).st_mode)
    draft = f".{FILE}.{secrets.token_hex(8)}"
    try:
        with os.fdopen(os.open(draft, _DRAFT, 0o600, dir_fd=folder), "wb") as file:
            file.write(content)
            file.flush()
            os.fchmod(file.fileno(), mode)
            os.fsync(file.fileno())
        os.rename(draft, FILE, src_dir_fd=folder, dst_dir_fd=folder)
    except OSError:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(draft, dir_fd=folder)
        raise


def _text(name: str, content: bytes) -> Text:
    try:
        source = content.decode()
    except UnicodeDecodeError as fault:
        raise Refused(f"{name}/{FILE}: not UTF-8, at byte {fault.start}") from None
    return Text(source.replace("\r\n", "\n").replace("\r", "\n"), _digest(content))


def _encoded(source: str) -> bytes:
    try:
        content = source.encode()
    except UnicodeEncodeError as fault:
        raise Refused(f"character {fault.start}: nothing that a file can hold") from None
    if len(content) > MAX_SOURCE:
        raise Refused(f"over {MAX_SOURCE >> 10} KiB, more than this editor writes")
    return content


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
