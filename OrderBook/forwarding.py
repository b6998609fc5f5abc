"""Actions on the market: handed on to the Gateway, which answers with their mark in the feed, or with why not."""

import time
from collections import Counter
from collections.abc import Callable
from typing import Final, NamedTuple

from OrderBook.control_log import ControlLog
from OrderBook.feed_handler import FeedHandler
from OrderBook.order_book import OrderBook
from trading_lib.control import MarketAction
from trading_lib.control_wire import encode_request

PATIENCE_S: Final = 5.0  # a Gateway of ours answers between two bursts; another one may not know the question
MAX_UNMARKED: Final = 64  # actions whose mark may still come; more are refused until the feed is made anew

Answer = dict[str, object]


class Refused(Exception):
    """An action that was not handed on; the message says why."""


class _Asked(NamedTuple):
    answer: Callable[[Answer], None]
    until: float


class Forwarding:
    """Knows who waits for which action's mark. Owns nothing."""

    def __init__(
        self,
        order_book: OrderBook,
        feed: FeedHandler,
        log: ControlLog,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._order_book = order_book
        self._feed = feed
        self._log = log
        self._clock = clock
        self._asked: dict[int, _Asked] = {}
        self.counters: Counter[str] = Counter()
        order_book.on_done = self._done
        order_book.on_refused = self._refused
        feed.on_lost = self._lost

    def send(self, action: MarketAction, answer: Callable[[Answer], None]) -> None:
        """Log an action and hand it on; `answer` is called later, once. Raises Refused, OSError of the log."""
        if not self._feed.in_session:
            raise Refused("there is no session with a Gateway that could do it")
        if len(self._order_book.awaited) >= MAX_UNMARKED:
            raise Refused(f"the Gateway has not answered {MAX_UNMARKED} actions before this one")
        number = self._log.append(action)
        self._order_book.awaited.add(number)
        self._asked[number] = _Asked(answer, self._clock() + PATIENCE_S)
        self._feed.forward(encode_request(number, action))

    def tend(self) -> None:
        """Tell those who have waited for too long."""
        now = self._clock()
        for number in [number for number, asked in self._asked.items() if asked.until <= now]:
            self._tell(number, "control unanswered", "the Gateway does not answer; a mark may still come")

    def _done(self, number: int, seq: int) -> None:
        self.counters["control actions"] += 1
        asked = self._asked.pop(number, None)
        if asked is not None:
            asked.answer({"ok": True, "id": number, "seq": seq})

    def _refused(self, number: int, reason: str) -> None:
        self._order_book.awaited.discard(number)
        self._tell(number, "control refused by the Gateway", reason)

    def _lost(self) -> None:
        self._order_book.awaited.clear()
        for number in tuple(self._asked):
            self._tell(number, "control lost with the feed", "the feed was lost: nobody knows if it was done")

    def _tell(self, number: int, case: str, error: str) -> None:
        asked = self._asked.pop(number, None)
        if asked is not None:
            self.counters[case] += 1
            asked.answer({"ok": False, "id": number, "error": error})
