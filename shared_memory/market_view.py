"""The market of one run as a reader sees it: the tape, and the price book beside it."""

from types import TracebackType
from typing import Self

from shared_memory.price_book import SharedPriceBook
from shared_memory.segment import SegmentError
from shared_memory.tape import TapeReader


class MarketView:
    """A tape and its price book, both of one run. Owns both; the tape's cursor starts at the head.

    Raises SegmentError while there is none, or while one of the two is another run's still.
    """

    def __init__(self, name: str) -> None:
        self.tape = TapeReader(name)
        try:
            self.book = SharedPriceBook(name=name)
        except SegmentError:
            self.tape.close()
            raise
        self.run_id = self.tape.run_id
        if self.book.run_id != self.run_id or self.book.closed:
            self.close()
            raise SegmentError(f"{name}: the tape and the price book are of different runs")

    @property
    def lag(self) -> int:
        """Records on the tape that were not read yet."""
        return self.tape.tail - self.tape.cursor

    @property
    def finished(self) -> bool:
        """Whether everything was read and nothing will follow."""
        return self.tape.closed and self.lag <= 0

    def close(self) -> None:
        """Let go of both."""
        self.tape.close()
        self.book.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()
