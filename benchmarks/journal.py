"""The journal alone, on this disk: `python benchmarks/journal.py [--seconds N] [--rounds N] [--records N]`.

    record ── msgpack ──▶ Journal.append ── every n-th: one pwrite, fdatasync ──▶ journal.bin
    record ── json ─────▶ file.write ────── every n-th: flush, fdatasync ───────▶ a plain file      (beside it)

Both encode the same record and may acknowledge it after the fdatasync. The two take turns, in rounds; every
figure is the median of its rounds. Both write below runs/: /tmp may be memory, where an fdatasync is free.
"""

import argparse
import json
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final

if __name__ == "__main__":
    sys.path[0] = str(Path(__file__).resolve().parents[1])

import msgspec

from benchmarks.machine import load
from config import ROOT
from OrderManager.journal import Journal

ASIDE: Final = ROOT / "runs" / "benchmarks"
PER_COMMIT: Final = (1, 64, 1024, 4096)
TARGET_PER_COMMIT: Final = 1024  # the target speaks of at least so many records per commit
TARGET_PER_S: Final = 50_000
RECOVERY_RECORDS: Final = 1_000_000
SYNCS: Final = 200  # per round
WRITES: Final = 4096  # records between two commits of the journal that recovery reads
Say = Callable[[str], None]


class Entry(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """As much as the order manager journals for an order."""

    kind: str
    strategy: str
    client_order_id: str
    symbol: str
    side: str
    order_type: str
    quantity: float
    price: float
    ts: int
    arrives: int
    cause_seq: int
    order_id: int
    tag: str


def entry(number: int) -> Entry:
    """Number, as an order of its own."""
    return Entry(
        "order",
        "moving_average_with_news",
        f"{number}.0",
        "AAPL",
        "BUY",
        "MARKET",
        10.5,
        173.25,
        1_735_828_200_000_000_000 + number,
        1_735_828_200_050_000_000 + number,
        number,
        number,
        "signal crossed",
    )


class Rate(msgspec.Struct, frozen=True):
    """Records durable per second, `per_commit` of them to an fdatasync. Medians of the rounds, `ratio` too."""

    per_commit: int
    journal_per_s: float
    plain_per_s: float
    ratio: float


class JournalFigures(msgspec.Struct, frozen=True):
    """Medians of the rounds; bytes of one payload; load averages before and after."""

    sync_us: float
    commit_us: float
    payload_bytes: int
    rates: list[Rate]
    recovery_records: int
    recovery_s: float
    load_before: list[float]
    load_after: list[float]

    def per_s(self, per_commit: int) -> float:
        """Records per second with so many to a commit."""
        return next(rate.journal_per_s for rate in self.rates if rate.per_commit == per_commit)


def measure(
    seconds: float = 0.5, rounds: int = 5, records: int = RECOVERY_RECORDS, say: Say = lambda _: None
) -> JournalFigures:
    """`seconds` for each of eight runs a round; then `rounds` recoveries of a journal of `records`."""
    before = load()
    runs: dict[int, list[tuple[float, float]]] = {n: [] for n in PER_COMMIT}
    sync_us, commit_us = [], []
    ASIDE.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=ASIDE) as folder:
        for number in range(1, rounds + 1):
            sync_us.append(fdatasync_us(Path(folder, f"sync-{number}")))
            commit_us.append(_commit_us(Path(folder, f"commit-{number}")))
            for n in PER_COMMIT:
                journal = _journal_per_s(Path(folder, f"journal-{number}-{n}"), n, seconds)
                plain = _plain_per_s(Path(folder, f"plain-{number}-{n}"), n, seconds)
                runs[n].append((journal, plain))
                say(f"round {number}, {n:>5,} a commit: {journal:>9,.0f}/s, plain {plain:>9,.0f}/s")
        recovery_s = _recovery_s(Path(folder, "recovery"), records, rounds)
    return JournalFigures(
        statistics.median(sync_us),
        statistics.median(commit_us),
        len(msgspec.msgpack.encode(entry(1_000_000))),
        [_rate(n, pairs) for n, pairs in runs.items()],
        records,
        statistics.median(recovery_s),
        before,
        load(),
    )


def _rate(per_commit: int, pairs: Sequence[tuple[float, float]]) -> Rate:
    return Rate(
        per_commit,
        statistics.median(journal for journal, _ in pairs),
        statistics.median(plain for _, plain in pairs),
        statistics.median(journal / plain for journal, plain in pairs),
    )


def fdatasync_us(path: Path) -> float:
    """The disk itself: the median fdatasync of a few bytes written in place, µs."""
    took = []
    fd = os.open(path, os.O_RDWR | os.O_CREAT)
    try:
        os.pwrite(fd, bytes(SYNCS * 128), 0)
        os.fsync(fd)
        for number in range(SYNCS):
            os.pwrite(fd, b"x" * 128, number * 128)
            begun = time.perf_counter_ns()
            os.fdatasync(fd)
            took.append(time.perf_counter_ns() - begun)
    finally:
        os.close(fd)
    return statistics.median(took) / 1000


def _commit_us(path: Path) -> float:
    """One record, encoded, appended and committed: the median, µs."""
    took = []
    encode = msgspec.msgpack.Encoder().encode
    with Journal.create(path, "benchmark") as journal:
        journal.append(b"first")
        journal.commit()
        for number in range(SYNCS):
            order = entry(number)
            begun = time.perf_counter_ns()
            journal.append(encode(order))
            journal.commit()
            took.append(time.perf_counter_ns() - begun)
    return statistics.median(took) / 1000


def _journal_per_s(path: Path, per_commit: int, seconds: float) -> float:
    """Records per second through the journal."""
    encode = msgspec.msgpack.Encoder().encode
    orders = [entry(number) for number in range(per_commit)]
    with Journal.create(path, "benchmark") as journal:

        def batch() -> None:
            journal.append_many([encode(order) for order in orders])
            journal.commit()

        return per_commit * _per_s(batch, seconds)


def _plain_per_s(path: Path, per_commit: int, seconds: float) -> float:
    """Records per second as JSON lines in a file."""
    orders = [msgspec.structs.asdict(entry(number)) for number in range(per_commit)]
    with path.open("w", encoding="utf-8") as file:

        def batch() -> None:
            for order in orders:
                file.write(json.dumps(order) + "\n")
            file.flush()
            os.fdatasync(file.fileno())

        return per_commit * _per_s(batch, seconds)


def _per_s(batch: Callable[[], None], seconds: float) -> float:
    """How often a second `batch` can be done, its first time not counted."""
    batch()
    count, begun = 0, time.perf_counter()
    while (took := time.perf_counter() - begun) < seconds:
        batch()
        count += 1
    return count / took


def _recovery_s(path: Path, records: int, rounds: int) -> list[float]:
    """Seconds to read and check so many records, without a checkpoint, each handed to a function."""
    encode = msgspec.msgpack.Encoder().encode
    with Journal.create(path, "benchmark") as journal:
        for first in range(0, records, WRITES):
            journal.append_many(encode(entry(n)) for n in range(first, min(first + WRITES, records)))
            journal.commit()
    took = []
    for _ in range(rounds):
        seen: list[int] = []
        begun = time.perf_counter()
        with Journal.recover(path, lambda number, _, to=seen: to.append(number)):  # type: ignore[misc]
            took.append(time.perf_counter() - begun)
        if len(seen) != records:
            raise RuntimeError(f"{len(seen):,} of {records:,} records recovered")
    return took


def describe(found: JournalFigures) -> str:
    """The figures, for a terminal."""
    lines = [
        f"fdatasync alone, p50          {found.sync_us:>9.0f} µs",
        f"one record committed, p50     {found.commit_us:>9.0f} µs   ({found.payload_bytes} bytes of payload)",
        f"recovery of {found.recovery_records:>9,} records {found.recovery_s:>9.2f} s",
        "records a commit   journal, records/s   plain file, records/s   ratio",
    ]
    lines += [
        f"{rate.per_commit:>16,} {rate.journal_per_s:>20,.0f} {rate.plain_per_s:>23,.0f} {rate.ratio:>7.2f}"
        for rate in found.rates
    ]
    lines += [f"load average before {found.load_before}, after {found.load_after}"]
    return "\n".join(lines)


def main(argv: list[str] | None = None) -> int:
    """Measure and print; 1 if the journal misses its target."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seconds", type=float, default=0.5, help="of each run (default 0.5)")
    parser.add_argument("--rounds", type=int, default=5, help="of all runs in turn (default 5)")
    parser.add_argument(
        "--records", type=int, default=RECOVERY_RECORDS, help="to recover (default 1,000,000)"
    )
    asked: Any = parser.parse_args(argv)
    found = measure(asked.seconds, asked.rounds, asked.records, print)
    print(describe(found))
    met = found.per_s(TARGET_PER_COMMIT) >= TARGET_PER_S
    print(f"target: ≥ {TARGET_PER_S:,}/s with {TARGET_PER_COMMIT:,} a commit: {'met' if met else 'NOT MET'}")
    return 0 if met else 1


if __name__ == "__main__":
    sys.exit(main())
