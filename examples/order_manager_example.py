"""An order server and a client in one program.

    python examples/order_manager_example.py

Starts an OrderManagerServer in a thread on a free port, sends it five orders, one of them bad, and prints
what arrives after each: its numbered line, or why it was rejected. Needs no running system; it is the
server that a running one has behind port 9000.
"""

import queue
import sys
import threading
from collections.abc import Sequence
from pathlib import Path

sys.path[0] = str(Path(__file__).resolve().parents[1])

from OrderManager import Order, Side  # noqa: E402
from OrderManager.client import OrderManagerClient  # noqa: E402
from OrderManager.server import OrderManagerServer, Received  # noqa: E402
from trading_lib.wire import Rejection  # noqa: E402

FREE_PORT = 0
PATIENCE_S = 10.0

arrived: queue.Queue[str] = queue.Queue()


def on_orders(batch: Sequence[Received]) -> None:
    """Called in the server's thread with the orders one read brought."""
    for received in batch:
        arrived.put(str(received))


def on_rejected(rejection: Rejection, client: str) -> None:  # noqa: ARG001
    """Called in the server's thread with a frame that was not accepted."""
    arrived.put(f"Rejected: {rejection.reason}: {rejection.detail}")


def serve(server: OrderManagerServer, done: threading.Event) -> None:
    """The server's thread."""
    while not done.is_set():
        server.run_once(0.05)


def main() -> None:
    """Serve, send, print."""
    orders = (
        Order("AAPL", 10, 173.2, Side.BUY),
        Order("MSFT", 2.5, 402.15, Side.SELL),
        Order("IBM", 0, 231.07, Side.BUY),  # there is no such quantity
        Order("GOOG", 4, 168.0, Side.SELL, timestamp=1_759_311_000_000_000_000),
    )
    done = threading.Event()
    with OrderManagerServer("127.0.0.1", FREE_PORT, on_orders=on_orders, on_rejected=on_rejected) as server:
        thread = threading.Thread(target=serve, args=(server, done))
        thread.start()
        try:
            with OrderManagerClient("127.0.0.1", server.port) as client:
                for order in orders:
                    client.send_order(order)
                    print(arrived.get(timeout=PATIENCE_S))
                client.place_order("AAPL", Side.SELL, 10, 173.25)  # the same in one call
                print(arrived.get(timeout=PATIENCE_S))
        finally:
            done.set()
            thread.join()
        print(f"{server.orders} orders received, {server.rejected.total()} rejected")


if __name__ == "__main__":
    main()
