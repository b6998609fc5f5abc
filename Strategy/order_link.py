"""The way to the OrderManager: never waits, reconnects by itself, keeps a bounded number of orders meanwhile."""

import logging
import threading
import time
from collections import Counter, deque
from collections.abc import Sequence
from typing import Final

from OrderManager.client import OrderManagerClient
from runtime.loop import Backoff, Reminder
from trading_lib.models import Order

MAX_KEPT: Final = (
    100_000  # orders kept while there is no OrderManager; then the oldest is dropped and counted
)


class OrderLink:
    """A session that comes back. Connecting happens in a thread: a hung OrderManager cannot hold ticks up."""

    def __init__(self, host: str, port: int, strategy_id: str, log: logging.Logger) -> None:
        self._host, self._port, self._strategy_id = host, port, strategy_id
        self._log = log
        self._client: OrderManagerClient | None = None
        self._connecting: threading.Thread | None = None
        self._found: OrderManagerClient | None = None
        self._backoff = Backoff()
        self._kept: deque[Order] = deque()
        self._begun = False  # the first of them is partly sent: it must be finished
        self._closed = False
        self.counters: Counter[str] = Counter()
        self._reminder = Reminder(
            log.warning,
            f"no OrderManager on {host}:{port} (Strategy.order_manager_port) for 10 s; orders wait, at most "
            f"{MAX_KEPT:,} of them, and then the oldest are dropped",
        )

    @property
    def connected(self) -> bool:
        """Whether orders go out now."""
        return self._client is not None

    @property
    def kept(self) -> int:
        """Orders that are not handed to the kernel yet."""
        return len(self._kept)

    def send(self, orders: Sequence[Order]) -> None:
        """Send orders, or keep them for later."""
        if self._client is not None and not self._kept:
            try:
                sent = self._client.send_orders(orders)
            except OSError as fault:
                self._lost(fault)
            else:
                self.counters["sent"] += sent
                if sent == len(orders):
                    return
                self._begun = self._client.waiting > 0
                self.counters["postponed: OrderManager slow"] += 1
                orders = orders[sent:]
        for order in orders:
            if len(self._kept) >= MAX_KEPT:
                del self._kept[1 if self._begun else 0]
                self.counters["dropped: no OrderManager"] += 1
            self._kept.append(order)
        self.flush()

    def flush(self) -> None:
        """Send what is kept, as far as the OrderManager takes it.

        An order leaves `_kept` when all of it is with the kernel: a lost connection loses none that was not.
        """
        client = self._client
        if client is None:
            return
        try:
            while self._kept:
                if self._begun:
                    client.flush()
                else:
                    client.send_order(self._kept[0])
                self._begun = client.waiting > 0
                if self._begun:
                    self.counters["postponed: OrderManager slow"] += 1
                    return
                self._kept.popleft()
                self.counters["sent"] += 1
        except OSError as fault:
            self._lost(fault)

    def _lost(self, fault: OSError | None) -> None:
        self._client = None
        self._begun = False
        self.counters["disconnected"] += 1
        self._log.info("order link lost: %s", fault or "closed by the OrderManager")
        self._backoff.failed()

    def tend(self) -> None:
        """Notice a lost connection, make a new one when it is time to; go on sending what is kept."""
        if self._client is not None:
            if self._client.server_is_there():
                self._reminder.found()
                self.flush()
                return
            self._lost(None)
        self._reminder.missing()
        if self._connecting is not None:
            if self._connecting.is_alive():
                return
            self._connecting.join()
            self._connecting = None
            if self._found is None:
                self._backoff.failed()
            else:
                self._client, self._found = self._found, None
                self._backoff.succeeded()
                self.counters["connected"] += 1
                self._log.info("order link up: %s:%d", self._host, self._port)
                self.flush()
                return
        if not self._backoff.wait:
            self._connecting = threading.Thread(target=self._connect, daemon=True)
            self._connecting.start()

    def _connect(self) -> None:
        client = OrderManagerClient(self._host, self._port, strategy=self._strategy_id, timeout=0)
        try:
            client.connect()
        except OSError:
            return  # `tend` finds nothing and tries again later
        if self._closed:
            client.disconnect()
        else:
            self._found = client

    def close(self, wait: float) -> None:
        """Hand over what is kept, for at most `wait` seconds, and hang up.

        A connection that is about to come about is waited for, too.
        """
        deadline = time.monotonic() + wait
        self.tend()
        while self._kept and (self.connected or self._connecting is not None) and time.monotonic() < deadline:
            time.sleep(0.005)
            self.tend()
        self._closed = True
        if self._client is not None:
            self._client.disconnect()
        self.counters["lost at the end"] += len(self._kept)
        if self._connecting is not None:
            self._connecting.join(0.2)
        if self._found is not None:
            self._found.disconnect()
