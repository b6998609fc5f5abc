"""A tape and its price book, both of one run: what every process that follows a market attaches to."""

from shared_memory.price_book import SharedPriceBook
from shared_memory.segment import SegmentError
from shared_memory.tape import TapeReader


class MarketView:
    """Owns both. Raises SegmentError while there is no such market."""

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
    def finished(self) -> bool:
        """Whether everything was read and nothing will follow."""
        return self.tape.closed and self.tape.cursor >= self.tape.tail

    def close(self) -> None:
        """Let go of both."""
        self.tape.close()
        self.book.close()
