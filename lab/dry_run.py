"""A strategy file tried out on synthetic ticks, in a process of its own that may not take for ever.

    result = dry_run(Path("strategies/mine/strategy.py"))
    result.outcome.errors, result.fault

`python -m lab.dry_run` is that process; its answer is one JSON object on the standard output.
"""

import faulthandler
import os
import re
import select
import socket
import subprocess
import sys
import time
from collections.abc import Iterable, Mapping
from contextlib import closing
from pathlib import Path
from typing import Any, Final

import msgspec

from config import ROOT, Config, ConfigError, StrategySection, check_config
from lab.arguments import in_project, strategy_id
from lab.market import Market
from lab.trial import Outcome, Trial
from runtime.part import die_with_parent
from Strategy import sandbox
from Strategy.worker import DESCRIPTORS
from trading_lib.strategy_file import StrategyError, load_strategy

SYMBOLS: Final = ("AAA", "BBB")
TICKS: Final = 10_000  # of each
DT_MS: Final = 200.0
AT_ONCE: Final = 4096
LIMIT_S: Final = 15.0  # some ticks take microseconds: longer than this is a loop without an end
START_S: Final = 30.0  # what the process may take to load, besides
MODULE: Final = "lab.dry_run"


class DryRun(msgspec.Struct, frozen=True):
    """What came of it. `fault` says why there is no outcome; `warnings` are the first things that were said;
    `denied_calls` the system calls that the sandbox denied, `unenforced` what this kernel cannot deny."""

    outcome: Outcome | None = None
    us_per_tick: float = 0.0
    fault: str = ""
    denied_calls: dict[str, int] = {}
    unenforced: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()


def dry_run(file: Path, params: Mapping[str, Any] | None = None, limit_s: float = LIMIT_S) -> DryRun:
    """Run a strategy file over synthetic ticks and news. Whatever it does, an answer comes."""
    command = [sys.executable, "-m", MODULE, str(file.resolve()), str(limit_s)]
    try:
        done = subprocess.run(
            command,
            cwd=ROOT,
            input=msgspec.json.encode(dict(params or {})),
            capture_output=True,
            timeout=limit_s + START_S,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return DryRun(fault="it did not come to an end, and could not be asked where it is")
    try:
        return msgspec.json.decode(done.stdout, type=DryRun)
    except msgspec.DecodeError:
        return DryRun(fault=_last_words(done.stderr.decode(errors="replace"), file, limit_s))


def _last_words(text: str, file: Path, limit_s: float) -> str:
    """Why a process has gone without an answer: the watchdog's stack, or its last line."""
    if "Timeout (" in text:
        line = re.search(rf'File "{re.escape(str(file.resolve()))}", line (\d+)', text)
        where = f"line {line[1]}: " if line is not None else ""
        return f"{where}still busy after {limit_s:g} s"
    lines = text.strip().splitlines()
    return f"the process ended: {lines[-1] if lines else 'without a word'}"


def synthetic_config(file: Path, params: Mapping[str, Any], symbols: Iterable[str] = SYMBOLS) -> Config:
    """A random walk with news, and one strategy. Raises ConfigError for symbols that cannot be."""
    return check_config(
        {
            "symbols": list(symbols),
            "run": {"duration_s": TICKS * DT_MS / 1000},
            "Gateway": {
                "provider": "random_walk",
                "pace": {"mode": "event"},
                "schedule": {"dt_fixed_ms": DT_MS},
                "news": {"every_ticks": 20},
            },
            "Strategy": {
                "strategies": [{"id": strategy_id(file), "path": in_project(file), "params": dict(params)}]
            },
        },
        "dry run",
    )


def answer(file: Path, params: Mapping[str, Any]) -> DryRun:
    """Do it here."""
    try:
        module = load_strategy(file)
        config = synthetic_config(file, params, getattr(module, "SYMBOLS", ()) or SYMBOLS)
        with closing(Market(config)) as market:
            trial = Trial(config, {strategy_id(file): module}, market.names, {})
            began = time.perf_counter()
            while len(records := market.read(AT_ONCE)):
                trial.step(records)
            took = time.perf_counter() - began
    except (StrategyError, ConfigError) as fault:
        return DryRun(fault=str(fault))
    outcome = trial.outcomes()[0]
    return DryRun(outcome, took / max(1, outcome.ticks) * 1e6, warnings=tuple(trial.log)[:5])


def main() -> None:
    """The process: FILE LIMIT_S, parameters as JSON on the standard input.

    It forks: who tries the strategy is locked in as a worker is, and who answers counts what is denied.
    """
    file, limit_s = Path(sys.argv[1]), float(sys.argv[2])
    params = msgspec.json.decode(sys.stdin.buffer.read(), type=dict[str, Any])
    sandbox.prepare()
    ours, theirs = socket.socketpair()
    if not os.fork():
        ours.close()
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # what the strategy prints is no answer
        die_with_parent()
        faulthandler.dump_traceback_later(limit_s, exit=True)
        _try_locked_in(theirs, file, params)
        os._exit(0)
    theirs.close()
    found, denied = _listen(ours)
    if found:
        result = msgspec.json.decode(found, type=DryRun)
        sys.stdout.buffer.write(msgspec.json.encode(msgspec.structs.replace(result, denied_calls=denied)))


def _try_locked_in(link: socket.socket, file: Path, params: Mapping[str, Any]) -> None:
    """Give up all rights, then try the strategy; the first byte on the link carries who is asked for denied calls."""
    limits = sandbox.Limits((str(file.parent),), StrategySection().memory_mb, DESCRIPTORS)
    report = sandbox.lock_down(limits, (0, 1, 2, link.fileno()))
    if report.notify_fd is None:
        link.send(b".")
    else:
        socket.send_fds(link, [b"."], [report.notify_fd])
        os.close(report.notify_fd)
    found = msgspec.structs.replace(answer(file, params), unenforced=report.missing)
    link.sendall(msgspec.json.encode(found))


def _listen(link: socket.socket) -> tuple[bytes, dict[str, int]]:
    """The answer, empty if none came, and the system calls that were denied meanwhile."""
    found, denials = b"", None
    poll = select.poll()
    poll.register(link, select.POLLIN)
    _, descriptors, _, _ = socket.recv_fds(link, 1, 1)
    if descriptors:
        denials = sandbox.DenialCounter(descriptors[0])
        poll.register(denials, select.POLLIN)
    while True:
        for fd, _ in poll.poll():
            if denials is not None and fd == denials.fileno():
                denials.turn()
                if denials.ended:
                    poll.unregister(denials)
            elif data := link.recv(1 << 16):
                found += data
            else:
                return found, dict(denials.counts) if denials is not None else {}


if __name__ == "__main__":
    main()
