"""What a run's journal says of the time before the dashboard listened: the same events, from the file."""

from pathlib import Path
from typing import Any, Final

from OrderManager import records
from OrderManager.journal import JournalError
from Recorder.journal_feed import JournalFeed

MAX_BYTES: Final = (
    64 << 20
)  # of a journal: some 300,000 records, which take seconds; a longer one is left to files


def read_backlog(run: Path, until: int) -> list[dict[str, Any]] | None:
    """Events up to the journal's record `until`; None when it cannot be read, or is too long to be."""
    path = run / "journal.bin"
    events: list[dict[str, Any]] = []
    try:
        if path.stat().st_size > MAX_BYTES:
            return None
        feed = JournalFeed(path)
    except (OSError, JournalError):
        return None
    try:
        while (facts := feed.take()) is not None:
            for fact in facts:
                event = records.event_of(fact.record) if fact.number <= until else None
                if event is not None:
                    events.append(event)
    except JournalError:
        return None
    finally:
        feed.close()
    return events
