"""The log of orders: every line is written, in order; fast ones together, the first after a lull at once."""

import logging
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from logger import close_logger, get_logger
from OrderManager import Order, Side
from OrderManager.order_log import LOG_S, OrderLog
from OrderManager.server import Received
from trading_lib.wire import Rejection


class Log:
    """An OrderLog on a clock of ours, and what its file holds."""

    def __init__(self, folder: Path, *, prints: bool = False) -> None:
        self.now = 100.0
        self._path = folder / "order_manager.log"
        self.log = get_logger("order_manager", folder, console=False)
        part: Any = SimpleNamespace(log=self.log, prints=prints)
        self.order_log = OrderLog(part, lambda: self.now)
        self.writes = 0
        handle = self.log.handle

        def counted(record: logging.LogRecord) -> None:
            self.writes += 1
            handle(record)

        self.log.handle = counted  # type: ignore[method-assign]

    def receive(self, number: int) -> None:
        self.order_log.orders([Received(number, Order("AAPL", 10, 173.2, Side.BUY, 1), "sma", 1)])
        self.order_log.write_sometimes()

    @property
    def lines(self) -> list[str]:
        text = self._path.read_text() if self._path.exists() else ""
        return [line.split("INFO", 1)[-1].split("WARNING", 1)[-1].strip() for line in text.splitlines()]


@pytest.fixture
def log(tmp_path: Path) -> Iterator[Log]:
    made = Log(tmp_path)
    yield made
    made.order_log.close()
    close_logger(made.log)


def received(*numbers: int) -> list[str]:
    return [f"Received Order {number}: BUY 10 AAPL @ 173.20" for number in numbers]


def test_an_order_after_a_lull_is_written_at_once(log: Log) -> None:
    log.receive(1)
    assert log.lines == received(1)
    log.now += LOG_S * 1.01
    log.receive(2)
    assert log.lines == received(1, 2)


def test_orders_that_come_fast_are_written_together(log: Log) -> None:
    for number in range(1, 101):
        log.receive(number)
    assert log.lines == received(1)
    log.now += LOG_S * 1.01
    log.order_log.write_sometimes()
    assert log.lines == received(*range(1, 101))
    assert log.writes == 2


def test_what_waits_is_written_before_what_is_said_later(log: Log) -> None:
    log.receive(1)
    log.receive(2)
    log.order_log.rejected(Rejection("bad side", "HOLD"), "127.0.0.1:1")
    assert log.lines == [*received(1, 2), "rejected from 127.0.0.1:1: bad side: HOLD"]


def test_whatever_else_is_logged_comes_behind_what_waits(log: Log) -> None:
    log.receive(1)
    log.receive(2)
    log.log.warning("orders are refused")
    assert log.lines == [*received(1, 2), "orders are refused"]


def test_the_end_writes_what_waits(log: Log) -> None:
    log.receive(1)
    log.receive(2)
    log.order_log.close()
    assert log.lines == received(1, 2)
    assert log.log.filters == []
