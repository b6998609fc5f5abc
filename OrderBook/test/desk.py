"""A sequencer on a tape and a book of its own, fed with bytes, and what it left on the tape."""

from collections.abc import Callable
from types import TracebackType
from typing import NamedTuple, Protocol, Self

from OrderBook.ingest import PureIngest
from OrderBook.order_book import Counts, OrderBook, Source
from shared_memory.tape import read_record
from shared_memory_utils import SharedPriceBook, TapeWriter
from trading_lib.models import Kind

T0 = 1_700_000_000_000_000_000  # an event time long gone by: never mistaken for one of arrival
S = 1_000_000_000
RUN_ID = "test-run"
SYMBOLS = ("AAPL", "MSFT")
ROOM = 6  # symbols there is room for
TAPE = 1 << 12


class Takes(Protocol):
    """An ingest that can be handed bytes."""

    def take(self, data: bytes) -> None: ...


Path = Callable[[OrderBook, Source], Takes]


class R(NamedTuple):
    """What a test looks at of a record."""

    kind: Kind
    ts: int
    value: float = 0.0
    symbol: str = ""


class Record(NamedTuple):
    """All of a record."""

    seq: int
    ts: int
    value: float
    due: int
    booked: int
    slot: int
    kind: int


def plain(order_book: OrderBook, source: Source) -> Takes:
    """The plain path."""
    return PureIngest(order_book, source)


def compiled_path(order_book: OrderBook, source: Source) -> Takes:
    """The compiled path."""
    from OrderBook.compiled_ingest import CompiledIngest

    return CompiledIngest(order_book, source)


class Desk:
    """A sequencer, its one source, and that source's two connections."""

    def __init__(self, name: str, path: Path = plain, run_id: str = RUN_ID) -> None:
        self.name = name
        self.path = path
        self._open(run_id)

    def _open(self, run_id: str) -> None:
        name = self.name
        self.tape = TapeWriter.open(name, TAPE, run_id)
        if self.tape.adopted:
            self.book = SharedPriceBook.adopt(name)
        else:
            self.book = SharedPriceBook(SYMBOLS, name, create=True, capacity=ROOM, run_id=run_id)
        self.order_book = OrderBook(self.tape, self.book)
        self.source = Source()
        self.connect()

    @property
    def counts(self) -> Counts:
        """What the sequencer has counted."""
        return self.order_book.counts

    def connect(self, again: bool = False) -> None:
        """A new connection of the source: what the old one had begun is forgotten."""
        self.order_book.connected(self.source, again)
        self.ticks = self.path(self.order_book, self.source)
        self.news = PureIngest(self.order_book, self.source, news=True)

    def feed(self, *frames: str) -> None:
        """Bytes on the tick port."""
        self.ticks.take("".join(frames).encode())

    def feed_news(self, *frames: str) -> None:
        """Bytes on a plain news port."""
        self.news.take("".join(frames).encode())

    def records(self, first: int = 0) -> list[Record]:
        """Everything on the tape from `first` on."""
        return [Record(*read_record(self.tape.segment, seq)) for seq in range(first, self.tape.tail)]

    def seen(self, first: int = 0) -> list[R]:
        """The same, without numbers and wall-clock times."""
        symbols = self.book.symbols
        return [
            R(Kind(kind), ts, value, symbols[slot] if kind in (Kind.TICK, Kind.NEWS) else "")
            for _, ts, value, _, _, slot, kind in self.records(first)
        ]

    def crash_and_return(self) -> None:
        """End as a killed process ends, and be the process that is started in its place."""
        run_id = self.tape.run_id
        self.tape.panel.close()
        self.tape.segment.close()
        self.book.close()
        self._open(run_id)

    def close(self) -> None:
        """Stop cleanly."""
        self.book.unlink()
        self.tape.close()
        self.book.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
