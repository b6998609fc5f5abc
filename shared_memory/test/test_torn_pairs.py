"""A reader never gets half of one (price, time) pair and half of another, whoever writes and dies."""

import random
from contextlib import ExitStack
from pathlib import Path

import pytest

from shared_memory.test.actors import actor, last_line
from shared_memory_utils import SharedPriceBook
from testing.harness import Process, wait_until
from trading_lib.jit import compiled

SLOTS = 18  # the kernel copies four at a time, and what is left one by one
MOST_WRITES = 5_000_000 if compiled() else 40_000  # before a writer is killed


def chase(name: str, folder: Path, reads: int, plain_reads: int, kills: int, patience: float) -> None:
    """Readers read while writers write flat out and are killed; ends when there were enough of all three."""
    with ExitStack() as stack:
        symbols = [f"S{n}" for n in range(SLOTS)]
        book = stack.enter_context(SharedPriceBook(symbols, name, create=True))
        for slot in range(SLOTS):
            with book.segment.lock():
                book.write_locked(slot, float(slot), 7 * slot + 1)
        wanted = {"check_pairs_plainly": plain_reads}
        if compiled():
            wanted["check_pairs"] = reads
        readers = {role: stack.enter_context(actor(role, name, folder)) for role in wanted}
        for left in reversed(range(kills)):
            with actor("write_pairs", name, folder) as writer:
                wait_for_writes(book, random.randrange(1, MOST_WRITES), patience)
                if not left:  # the last one writes on until the readers have seen enough
                    for role, reader in readers.items():
                        wait_for_reads(reader, wanted[role], patience)
                assert writer.alive
                writer.kill()
        written = int(book.versions().sum())
        book.unlink()
        for reader in readers.values():
            assert reader.popen.wait(patience) == 0, reader.output
        report(readers, written, kills)


def wait_for_writes(book: SharedPriceBook, more: int, patience: float) -> None:
    enough = int(book.versions().sum()) + more
    wait_until(lambda: int(book.versions().sum()) > enough, "the writer to get so far", patience)


def wait_for_reads(reader: Process, reads: int, patience: float) -> None:
    wait_until(lambda: last_line(reader).get("reads", 0) >= reads, f"{reads:,} reads", patience)


def report(readers: dict[str, Process], written: int, killed: int) -> None:
    found = {role: last_line(reader) for role, reader in readers.items()}
    print(f"\n{written:,} pairs written, {killed} writers killed")
    for role, facts in found.items():
        print(f"  {role}: {facts['reads']:,} reads, {facts['changed']:,} new pairs, {facts['torn']} torn")
    assert all(facts["torn"] == 0 for facts in found.values())


def test_no_pair_is_torn(name: str, tmp_path: Path) -> None:
    chase(name, tmp_path, reads=300_000, plain_reads=1_000, kills=3, patience=30)


@pytest.mark.chaos
@pytest.mark.timeout(3000)
def test_no_pair_is_torn_in_100_million_reads_and_100_kills(name: str, tmp_path: Path) -> None:
    chase(name, tmp_path, reads=100_000_000, plain_reads=200_000, kills=100, patience=300)
