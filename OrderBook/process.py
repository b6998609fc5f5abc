"""The OrderBook's process."""

import contextlib
import time
from collections.abc import Mapping
from typing import Any, Final

from config import Config, OrderBookSection
from OrderBook.control import ControlPort
from OrderBook.control_log import ControlLog, DamagedControlLog
from OrderBook.feed_handler import FeedHandler
from OrderBook.ingest import warm_kernels
from OrderBook.order_book import OrderBook
from OrderBook.steered import Steered, done
from runtime.loop import EventLoop
from runtime.part import EXIT_FAILED, CannotStart, Part
from runtime.run_folder import open_run_folder, read_token
from runtime.scheduling import short_turns
from shared_memory_utils import SegmentError, SegmentMissing, SharedPriceBook, TapeWriter, unlink_all
from trading_lib import wire
from trading_lib.control import parse_market_actions
from trading_lib.models import Kind

ROUND_S: Final = 0.5  # at least so often the status is looked at
PRICES_SHOWN: Final = 12  # last prices in the status
REJECTIONS_SHOWN: Final = 20  # a second, in the log; the rest is only counted


class _RejectionLog:
    """Shows the first rejections of each second, and counts them all."""

    def __init__(self, part: Part) -> None:
        self._part = part
        self._shown = 0

    def __call__(self, rejection: wire.Rejection) -> None:
        self._shown += 1
        if self._shown <= REJECTIONS_SHOWN:
            self._part.log.info("rejected: %s: %s", rejection.reason, rejection.detail)

    def next_second(self) -> None:
        if self._shown > REJECTIONS_SHOWN:
            self._part.log.info("rejected: %d more frames", self._shown - REJECTIONS_SHOWN)
        self._shown = 0


def open_segments(
    section: OrderBookSection, symbols: tuple[str, ...], run_id: str | None
) -> tuple[TapeWriter, SharedPriceBook]:
    """The tape and its price book: adopted together, or made. Raises SegmentError."""
    name = section.shared_memory_name
    tape = TapeWriter.open(name, section.tape_capacity, run_id)
    if tape.adopted:
        try:
            return tape, SharedPriceBook.adopt(name)
        except SegmentMissing:  # somebody removed it, and without it the tape's records have no symbols
            run_id = tape.run_id
            tape.close()
            tape = TapeWriter.open(name, section.tape_capacity, run_id)
    try:
        book = SharedPriceBook(
            symbols, name, create=True, capacity=section.symbol_capacity, run_id=tape.run_id
        )
    except BaseException:
        tape.close()
        raise
    return tape, book


def _log_mark(part: Part, kind: Kind, value: float) -> None:
    """Say in the log that an epoch begins, and on the console, too, that something is missing."""
    if kind is Kind.EPOCH:
        part.log.info("a new epoch begins")
    elif value:
        part.log.warning(
            "gap: %s", "an unknown number of records missed" if value < 0 else f"{value:,.0f} missed"
        )


def open_control(
    config: Config, loop: EventLoop, order_book: OrderBook, feed: FeedHandler, stack: contextlib.ExitStack
) -> ControlPort:
    """The control port of the tape's run, in whose folder token and log are; `stack` closes it."""
    try:
        folder = open_run_folder(config, order_book.tape.run_id)
        token = read_token(folder)
        assert token is not None, "a run's folder is made with its token"
        path = folder / "control.jsonl"
        log = ControlLog(path)
        stack.callback(log.close)
        steered = Steered(done(parse_market_actions(path.read_bytes()), order_book.tape))
    except OSError as fault:
        raise CannotStart(f"run.export_dir = {config.run.export_dir!r}: {fault.strerror}") from None
    except DamagedControlLog as fault:
        raise CannotStart(str(fault)) from None
    strategies = [entry.id for entry in config.Strategy.entries]
    port = ControlPort(
        *(loop, order_book, feed, log, token, config.OrderBook.control_port, strategies),
        steered=steered,
        say=feed.log.warning,
    )
    stack.callback(port.close)
    return port


def serve(part: Part, config: Config) -> None:
    """Run the OrderBook until it is told to stop."""
    section = config.OrderBook
    warm_kernels(part.log.warning)
    short_turns(part.name)
    try:
        tape, book = open_segments(section, config.symbols, part.run_id)
    except SegmentError as fault:
        raise CannotStart(f"OrderBook.shared_memory_name: {fault}") from None
    with contextlib.ExitStack() as stack:
        stack.callback(_let_go, part, tape, book)
        loop = EventLoop()
        stack.callback(loop.close)
        part.watch(loop)
        order_book = OrderBook(tape, book)
        rejections = order_book.on_rejected = _RejectionLog(part)
        order_book.on_mark = lambda kind, value: _log_mark(part, kind, value)
        handler = FeedHandler(loop, order_book, section.host, section.md_port, section.news_port, part.log)
        stack.callback(handler.close)
        control = open_control(config, loop, order_book, handler, stack)
        how = f"adopted, generation {tape.generation}" if tape.adopted else "new"
        part.ready(
            f"tape of {tape.capacity:,} records in {section.shared_memory_name} ({how}), run {tape.run_id}"
        )
        look_round_at, feed = 0.0, handler.state
        while not part.stopping:
            # Between a batch and the next sleep nothing is done: a reader just woken may be waiting for the core.
            if not handler.settled or time.monotonic() >= look_round_at:
                wait = min(handler.tend(), ROUND_S)
                control.tend()
                look_round_at = time.monotonic() + wait
                if part.status_due():
                    rejections.next_second()
                    part.report(_status(order_book, handler, control))
                    _check_names(part, tape, book)
                elif handler.state != feed:  # main.py, when it stops, waits for the feed's end
                    part.report(_status(order_book, handler, control))
                feed = handler.state
            if not handler.follow(wait):
                loop.run_once(wait)
        handler.close()  # it counts what nobody will read
        part.report(_status(order_book, handler, control))


def _let_go(part: Part, tape: TapeWriter, book: SharedPriceBook) -> None:
    """Close the segments, or leave them to a successor when main.py lives to start one, or to remove them."""
    if _named(tape, book) and part.supervised and _supervisor_lives(part):
        tape.leave()
        book.close()
        return
    book.unlink()
    tape.close()
    book.close()
    unlink_all(book.name)


def _named(tape: TapeWriter, book: SharedPriceBook) -> bool:
    return tape.named and book.segment.named


def _check_names(part: Part, tape: TapeWriter, book: SharedPriceBook) -> None:
    """End, with an error, a process whose segments no new reader can find: its successor makes them anew."""
    if not _named(tape, book):
        part.log.error("somebody has removed %s from shared memory: stopping, to be started anew", book.name)
        raise SystemExit(EXIT_FAILED)


def _supervisor_lives(part: Part) -> bool:
    """Whether the link still stands: asked for by itself, because a part stops when told to and when it is cut."""
    part.stopping = False
    part.check_link()
    lives, part.stopping = not part.stopping, True
    return lives


def _first_prices(book: SharedPriceBook) -> dict[str, float]:
    """The last prices of the first few symbols."""
    prices = ((symbol, book.read(symbol)[0]) for symbol in book.symbols[:PRICES_SHOWN])
    return {symbol: price for symbol, price in prices if price is not None}


def _status(order_book: OrderBook, handler: FeedHandler, control: ControlPort) -> Mapping[str, Any]:
    """Counts since the start, for the supervisor."""
    counts = order_book.counts
    return {
        "ticks": counts.ticks,
        "news": counts.news,
        "late": counts.late,
        "gaps": counts.gaps,
        "missed": counts.missed,
        "epochs": counts.epochs,
        "rejected": dict(counts.rejected),
        "symbols": order_book.book.count,
        "prices": _first_prices(order_book.book),
        "tail": order_book.tape.tail,
        "generation": order_book.tape.generation,
        "feed": handler.state,
        "counters": dict(handler.counters + control.counters),
        "shm_bytes": order_book.tape.size + order_book.book.shared_memory_size(),
        "latency_us": {"tick→book": order_book.tick_to_book.summary_us()},
    }
