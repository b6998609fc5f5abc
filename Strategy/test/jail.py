"""Runs snippets of code, each in a forked process that is locked in as a worker is: for test_sandbox.

`python jail.py FOLDER`: reads JSON lines `{"code": …, "memory_mb": …, "readable": …}` and answers `{"result",
"error", "missing", "denied", "answered", "exit", "counted"}`. `result` is what the snippet left in that name,
`error` the exception, `missing` what the report said, `denied` the calls by name, `answered` how many.
"""

import contextlib
import json
import os
import signal
import socket
import sys
import traceback
from pathlib import Path
from typing import Any

sys.path[0] = str(Path(__file__).resolve().parents[2])

import numba  # noqa: E402, F401
import numpy  # noqa: E402, F401
import pandas  # noqa: E402, F401

from Strategy import sandbox  # noqa: E402


def main() -> None:
    folder = Path(sys.argv[1])
    sandbox.prepare()
    kept = (folder / "open.bin").open("rb")  # read-only, and shared: as the tape is
    for line in sys.stdin:
        print(json.dumps(run(json.loads(line), folder, kept.fileno())), flush=True)


def run(order: dict[str, Any], folder: Path, kept: int) -> dict[str, Any]:
    ours, theirs = socket.socketpair()
    secret = os.open(folder.parent / "secret", os.O_RDONLY)
    parent = os.getpid()
    pid = os.fork()
    if pid == 0:
        ours.close()
        imprisoned(order, folder, theirs, {"kept": kept, "secret": secret, "parent": parent})
    theirs.close()
    os.close(secret)
    _, found, _, _ = socket.recv_fds(ours, 1, 1)
    counter = sandbox.DenialCounter(found[0]) if found else None
    answer, answered, status = b"", 0, None
    ours.setblocking(False)
    while status is None or (counter is not None and not counter.ended):
        if counter is not None:
            answered += counter.turn()
        with contextlib.suppress(BlockingIOError):
            answer += ours.recv(1 << 16)
        if status is None:
            done, code = os.waitpid(pid, os.WNOHANG)
            status = os.waitstatus_to_exitcode(code) if done else None
    ours.setblocking(True)
    while more := ours.recv(1 << 16):
        answer += more
    denied = dict(counter.counts) if counter is not None else {}
    if counter is not None:
        counter.close()
    ours.close()
    said = json.loads(answer) if answer else {"result": None, "error": "it said nothing", "missing": []}
    return {**said, "denied": denied, "answered": answered, "exit": status, "counted": counter is not None}


def imprisoned(order: dict[str, Any], folder: Path, line: socket.socket, names: dict[str, Any]) -> None:
    signal.alarm(20)
    keep = [0, 1, 2, line.fileno(), names["kept"]]
    limits = sandbox.Limits((order.get("readable", str(folder)),), order.get("memory_mb", 256), 64)
    report = sandbox.lock_down(limits, keep)
    if report.notify_fd is not None:
        socket.send_fds(line, [b"x"], [report.notify_fd])
        os.close(report.notify_fd)
    else:
        line.send(b"x")
    scope: dict[str, Any] = {"folder": str(folder), "line": line.fileno(), **names}
    error = ""
    try:
        exec(compile(order["code"], "snippet", "exec"), scope)
    except BaseException as fault:  # noqa: BLE001  # whatever the snippet raises is its result
        error = "".join(traceback.format_exception_only(fault)).strip()
    result = scope.get("result")
    line.sendall(
        json.dumps({"result": result, "error": error, "missing": report.missing}, default=str).encode()
    )
    os._exit(0)


if __name__ == "__main__":
    main()
