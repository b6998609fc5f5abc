"""Actions on the market: handed on to the Gateway, which answers with their mark in the feed, or with why not.

A Gateway that begins anew inside a run is the market as configured. What the operator had made of it is handed on
to it again, as actions with lines and marks of their own.
"""

import time
from collections import Counter
from collections.abc import Callable
from typing import Final, NamedTuple

from OrderBook.control_log import ControlLog
from OrderBook.feed_handler import FeedHandler
from OrderBook.order_book import OrderBook
from OrderBook.steered import Steered
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
    """Knows who waits for which action's mark, and what has been made of the market. Owns nothing.

    `steered`: by the actions of the run so far. `say` takes lines for the log.
    """

    def __init__(
        self,
        order_book: OrderBook,
        feed: FeedHandler,
        log: ControlLog,
        steered: Steered | None = None,
        say: Callable[[str], None] = lambda _: None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._order_book = order_book
        self._feed = feed
        self._log = log
        self._clock = clock
        self._steered = steered or Steered()
        self._say = say
        self._unmarked: dict[int, MarketAction] = {}
        self._asked: dict[int, _Asked] = {}
        self.counters: Counter[str] = Counter()
        order_book.on_done = self._done
        order_book.on_refused = self._refused
        order_book.on_new_session = self._begin_again
        feed.on_lost = self._lost

    def send(self, action: MarketAction, answer: Callable[[Answer], None]) -> None:
        """Log an action and hand it on; `answer` is called later, once. Raises Refused, OSError of the log."""
        if not self._feed.in_session:
            raise Refused("there is no session with a Gateway that could do it")
        if len(self._order_book.awaited) >= MAX_UNMARKED:
            raise Refused(f"the Gateway has not answered {MAX_UNMARKED} actions before this one")
        number = self._log.append(action)
        self._asked[number] = _Asked(answer, self._clock() + PATIENCE_S)
        self._hand_on(number, action)

    def _hand_on(self, number: int, action: MarketAction) -> None:
        self._order_book.awaited.add(number)
        self._unmarked[number] = action
        self._feed.forward(encode_request(number, action))

    def _begin_again(self) -> None:
        """Another Gateway has answered, or the same one started anew."""
        for action in self._steered.actions():
            if not self._feed.in_session:  # it has gone already: the next one is told
                return
            try:
                number = self._log.append(action)
            except OSError as fault:
                self.counters["control not handed on again: control.jsonl cannot be written"] += 1
                self._say(f"a new Gateway is not told of {action!r}: control.jsonl: {fault.strerror}")
                return
            self.counters["control handed on again"] += 1
            self._say(f"a new Gateway is told again: {action!r}")
            self._hand_on(number, action)

    def tend(self) -> None:
        """Tell those who have waited for too long."""
        now = self._clock()
        for number in [number for number, asked in self._asked.items() if asked.until <= now]:
            self._tell(number, "control unanswered", "the Gateway does not answer; a mark may still come")

    def _done(self, number: int, seq: int) -> None:
        self.counters["control actions"] += 1
        self._steered.add(self._unmarked.pop(number))
        asked = self._asked.pop(number, None)
        if asked is not None:
            asked.answer({"ok": True, "id": number, "seq": seq})

    def _refused(self, number: int, reason: str) -> None:
        self._order_book.awaited.discard(number)
        action = self._unmarked.pop(number, None)
        if action is not None and number not in self._asked:
            self.counters["control refused by the Gateway"] += 1
            self._say(f"the new Gateway refuses {action!r}: {reason}")
        self._tell(number, "control refused by the Gateway", reason)

    def _lost(self) -> None:
        self._order_book.awaited.clear()
        self._unmarked.clear()
        for number in tuple(self._asked):
            self._tell(number, "control lost with the feed", "the feed was lost: nobody knows if it was done")

    def _tell(self, number: int, case: str, error: str) -> None:
        asked = self._asked.pop(number, None)
        if asked is not None:
            self.counters[case] += 1
            asked.answer({"ok": False, "id": number, "error": error})
