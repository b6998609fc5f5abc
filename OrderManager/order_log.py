"""The log of orders: what was received, what became of it, what was rejected."""

import logging
import math
import time
from collections import deque
from collections.abc import Callable, Sequence
from typing import Final

from logger import log_lines
from OrderManager.server import Received
from runtime.part import Part
from trading_lib import wire
from trading_lib.models import OrderStatus, Report

CONSOLE_ORDERS_PER_S: Final = 1000  # above this the console summarises; the log keeps every line
LOG_S: Final = 0.02  # the log is written at most so often: a write for every order would cost it a tenth more
LAST_SHOWN: Final = 5  # orders in the status
REJECTIONS_SHOWN: Final = 20  # a second, in the log; the rest is only counted


class OrderLog:
    """One numbered line per order in the log; on the console of a part that runs alone, up to a rate.

    A line after a lull is written at once; while orders come fast, those of LOG_S together, but before whatever
    else the part logs. A kill takes those that wait with it: the journal has the orders.
    """

    def __init__(self, part: Part, clock: Callable[[], float] = time.monotonic) -> None:
        self._part = part
        self._clock = clock
        self._lines: list[str] = []
        self._written_at = -math.inf
        part.log.addFilter(self._write_first)
        self._console = part.prints
        self._this_second = 0
        self._rejections = 0
        self.last: deque[str] = deque(maxlen=LAST_SHOWN)

    def orders(self, batch: Sequence[Received]) -> None:
        """Log what one read brought."""
        lines = [str(received) for received in batch]
        self._lines += lines
        self.last.extend(lines[-LAST_SHOWN:])
        if self._console:
            room = CONSOLE_ORDERS_PER_S - self._this_second
            if room > 0:
                print("\n".join(lines[:room]), flush=True)
            self._this_second += len(lines)

    def reports(self, batch: Sequence[Report]) -> None:
        """Log what has become of orders."""
        self._lines += [line for report in batch if (line := report_line(report))]

    def write_sometimes(self) -> None:
        """Write what waits, unless that was done a moment ago."""
        if self._lines and self._clock() - self._written_at >= LOG_S:
            self.write()

    def write(self) -> None:
        """Write what waits."""
        if self._lines:
            log_lines(self._part.log, self._lines)
            self._lines = []
            self._written_at = self._clock()

    def _write_first(self, record: logging.LogRecord) -> bool:
        """Before anything that is logged by itself: it came later."""
        if not hasattr(record, "lines"):
            self.write()
        return True

    def close(self) -> None:
        """Write what waits; it is the last."""
        self.write()
        self._part.log.removeFilter(self._write_first)

    def rejected(self, rejection: wire.Rejection, who: str) -> None:
        """Log a rejection, unless this second has had its share of them."""
        self._rejections += 1
        if self._rejections <= REJECTIONS_SHOWN:
            self._part.log.warning("rejected from %s: %s: %s", who, rejection.reason, rejection.detail)

    def next_second(self) -> None:
        """Summarise what was not shown."""
        if self._console and self._this_second > CONSOLE_ORDERS_PER_S:
            print(f"… and {self._this_second - CONSOLE_ORDERS_PER_S:,} more orders this second", flush=True)
        if self._rejections > REJECTIONS_SHOWN:
            self._part.log.warning("rejected: %d more", self._rejections - REJECTIONS_SHOWN)
        self._this_second = self._rejections = 0


def report_line(report: Report) -> str:
    """A report for a person; empty for one that says nothing new."""
    if report.status is OrderStatus.NEW:
        return ""
    order = f"{report.status} {report.strategy_id} {report.client_order_id}: {report.side}"
    if report.last_qty:
        qty = wire.format_quantity(report.last_qty)
        return f"{order} {qty} {report.symbol} @ {report.last_px} (commission {report.commission})"
    return f"{order} {wire.format_quantity(report.qty)} {report.symbol}: {report.reason}"
