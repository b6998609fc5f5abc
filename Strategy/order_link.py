"""The way to the OrderManager: never waits, reconnects by itself, keeps a bounded number of orders meanwhile."""

import logging
import threading
from collections import Counter, deque
from collections.abc import Sequence
from typing import Final

from OrderManager.client import OrderManagerClient, OrderQueueFull
from runtime.loop import Backoff
from trading_lib.models import Order

MAX_KEPT: Final = 10_000  # orders kept while there is no OrderManager; then the oldest is dropped and counted


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
        self.counters: Counter[str] = Counter()
        self._said_lost = False

    @property
    def connected(self) -> bool:
        """Whether orders go out now."""
        return self._client is not None

    @property
    def kept(self) -> int:
        """Orders that wait for a connection."""
        return len(self._kept)

    def send(self, orders: Sequence[Order]) -> None:
        """Send orders, or keep them for later."""
        for order in orders:
            if len(self._kept) >= MAX_KEPT:
                self._kept.popleft()
                self.counters["dropped: no OrderManager"] += 1
            self._kept.append(order)
        self.flush()

    def flush(self) -> None:
        """Send what is kept, as far as the OrderManager takes it."""
        client = self._client
        if client is None:
            return
        try:
            while self._kept:
                client.send_order(self._kept[0])
                self._kept.popleft()
                self.counters["sent"] += 1
            if client.waiting:
                client.flush()
        except OrderQueueFull:
            self.counters["postponed: OrderManager slow"] += 1
        except OSError as fault:
            self._lost(fault)

    def _lost(self, fault: OSError | None) -> None:
        self._client = None
        self.counters["disconnected"] += 1
        self._log.info("order link lost: %s", fault or "closed by the OrderManager")
        self._said_lost = True
        self._backoff.failed()

    def tend(self) -> None:
        """Notice a lost connection, make a new one when it is time to."""
        if self._client is not None:
            if self._client.server_is_there():
                return
            self._lost(None)
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
        self._found = client

    def close(self, wait: float) -> None:
        """Hand over what is kept, for at most `wait` seconds, and hang up."""
        if self._client is not None:
            self._client.timeout = wait
            self.flush()
        if self._client is not None:
            self._client.disconnect()
        self.counters["lost at the end"] += len(self._kept)
        if self._connecting is not None:
            self._connecting.join(0.2)
        if self._found is not None:
            self._found.disconnect()
