"""Other processes for the journal's tests: `python -m OrderManager.test.journal_actors ROLE PATH [NUMBER …]`.

Each says what it has to say on standard output, a JSON object a line.
"""

import json
import random
import resource
import sys
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, Final

from OrderManager.journal import Journal, JournalError
from testing.harness import Process, running

RUN_ID: Final = "test-run"
CHECKPOINT_EVERY: Final = 5_000
BATCHES: Final = (1, 1, 16, 1024, 8192)  # the last one is longer than a chunk of the file


def actor(role: str, path: Path, *numbers: int) -> AbstractContextManager[Process]:
    """One of the roles below as a process that is gone at the end."""
    arguments = ["-m", "OrderManager.test.journal_actors", role, str(path), *map(str, numbers)]
    return running(arguments, path.parent)


def said(process: Process) -> dict[str, Any]:
    """The last whole line an actor said; empty before the first."""
    lines = process.output.split("\n")[:-1]
    found: dict[str, Any] = json.loads(lines[-1]) if lines else {}
    return found


def say(**facts: object) -> None:
    """One line for the test."""
    print(json.dumps(facts), flush=True)


def payload(number: int) -> bytes:
    """What stands in the tests' journals at `number`."""
    return b"%d:" % number + bytes([number % 251]) * (number * 7 % 240)


def write_for_ever(path: Path) -> None:
    """Open or recover the journal and commit batches of all sizes flat out, with checkpoints among them."""
    journal = Journal.recover(path, lambda *_: None) if path.exists() else Journal.create(path, RUN_ID)
    sizes = random.Random(journal.next_record)
    while True:
        first = journal.next_record
        journal.append_many(payload(number) for number in range(first, first + sizes.choice(BATCHES)))
        journal.commit()
        if journal.since_checkpoint >= CHECKPOINT_EVERY:
            journal.checkpoint(payload(journal.next_record))
        say(durable=journal.durable)


def write_up_to(path: Path, limit: int) -> None:
    """Commit ten records at a time until the file may not grow beyond `limit` bytes; then try to go on."""
    journal = Journal.create(path, RUN_ID)
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
    try:
        while True:
            first = journal.next_record
            journal.append_many(payload(number) for number in range(first, first + 10))
            journal.commit()
    except JournalError as fault:
        failed = fault
    try:
        journal.append(b"after all")
    except JournalError as fault:
        say(durable=journal.durable, error=str(failed), errno=failed.errno, refused=str(fault))


def try_to_recover(path: Path) -> None:
    """Recover the journal, or say why not."""
    try:
        with Journal.recover(path, lambda *_: None) as journal:
            say(next_record=journal.next_record)
    except JournalError as fault:
        say(error=type(fault).__name__)


ROLES: Final[dict[str, Callable[..., None]]] = {
    role.__name__: role for role in (write_for_ever, write_up_to, try_to_recover)
}

if __name__ == "__main__":
    ROLES[sys.argv[1]](Path(sys.argv[2]), *map(int, sys.argv[3:]))
