"""Landlock: a process gives up the file system but for some folders it may read. Linux 5.13 and later.

Bound straight to the kernel by three system calls, whose numbers and layouts are those of linux/landlock.h.
"""

import ctypes
import os
import struct
import sys
from collections.abc import Iterable
from typing import Final

_CREATE_RULESET, _ADD_RULE, _RESTRICT_SELF = 444, 445, 446  # the same on every architecture
_VERSION: Final = 1  # flag: answer with the interface's version
_PATH_BENEATH: Final = 1
_READ_FILE, _READ_DIR = 1 << 2, 1 << 3
_FS_RIGHTS: Final = {1: 13, 2: 14, 3: 15, 5: 16}  # so many rights are known since that version
_NET_SINCE, _NET_RIGHTS = 4, 0b11  # TCP: bind, connect
_SCOPES_SINCE, _SCOPES = 6, 0b11  # abstract Unix sockets, signals
_LOG_OFF_SINCE, _LOG_OFF = 7, 1  # who is denied without end shall not fill the system's log

_syscall = ctypes.CDLL(None, use_errno=True).syscall
_syscall.restype = ctypes.c_long


def abi() -> int:
    """The version of the kernel's interface; 0 where there is none."""
    if sys.platform != "linux":
        return 0
    found = int(_syscall(_CREATE_RULESET, None, ctypes.c_size_t(0), ctypes.c_uint32(_VERSION)))
    return max(found, 0)


def restrict(readable: Iterable[str]) -> int:
    """Keep only the right to read in these folders and files, as far as they exist; returns `abi()`.

    With no_new_privs set already. Raises OSError.
    """
    version = abi()
    if not version:
        return 0
    ruleset = _create_ruleset(version)
    try:
        for path in dict.fromkeys(readable):
            _allow(ruleset, path)
        flags = _LOG_OFF if version >= _LOG_OFF_SINCE else 0
        _check(_syscall(_RESTRICT_SELF, ctypes.c_int(ruleset), ctypes.c_uint32(flags)))
    finally:
        os.close(ruleset)
    return version


def _create_ruleset(version: int) -> int:
    rights = max(count for since, count in _FS_RIGHTS.items() if since <= version)
    words = [(1 << rights) - 1]
    if version >= _NET_SINCE:
        words.append(_NET_RIGHTS)
    if version >= _SCOPES_SINCE:
        words.append(_SCOPES)
    attributes = struct.pack(f"={len(words)}Q", *words)
    return _check(_syscall(_CREATE_RULESET, attributes, ctypes.c_size_t(len(attributes)), ctypes.c_uint32(0)))


def _allow(ruleset: int, path: str) -> None:
    try:
        fd = os.open(path, os.O_PATH | os.O_CLOEXEC)
    except OSError:
        return  # what is not there cannot be read
    try:
        rights = _READ_FILE | (_READ_DIR if os.path.isdir(path) else 0)  # noqa: PTH112  # follows what we opened
        rule = struct.pack("=Qi", rights, fd)
        _check(
            _syscall(_ADD_RULE, ctypes.c_int(ruleset), ctypes.c_int(_PATH_BENEATH), rule, ctypes.c_uint32(0))
        )
    finally:
        os.close(fd)


def _check(result: int) -> int:
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, f"Landlock: {os.strerror(number)}")
    return result
