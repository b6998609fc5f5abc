"""A client that knows nothing of algosim: any program that can open a TCP connection can do this.

    make run                            # in another terminal
    python examples/plain_client.py

Prints ten tick frames as they come (`AAPL,1.3198`), then sends one plain order at the last price; it is
the next line of `logs/order_manager.log`. Only the standard library is used.
"""

import argparse
import socket
import sys
import time


def frames(connection: socket.socket, count: int) -> list[str]:
    """The next `count` frames: a frame ends at `*`, wherever the packets happen to be cut."""
    text = ""
    while text.count("*") < count:
        data = connection.recv(4096)
        if not data:
            raise ConnectionError("the Gateway has closed the connection")
        text += data.decode()
    return text.split("*")[:count]


def main() -> int:
    """Watch, then send one order; returns the exit code."""
    parser = argparse.ArgumentParser(description="Print some ticks, then send one order.")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--md-port", type=int, default=8000, help="where ticks come from")
    parser.add_argument("--order-port", type=int, default=9000, help="where the order goes")
    parser.add_argument("--ticks", type=int, default=10, help="how many to print")
    arguments = parser.parse_args()
    try:
        with socket.create_connection((arguments.host, arguments.md_port)) as feed:
            shown = frames(feed, arguments.ticks)
        print("\n".join(shown))
        symbol, price = shown[-1].split(",")
        with socket.create_connection((arguments.host, arguments.order_port)) as orders:
            order = f"{time.time():.3f},BUY,1,{symbol},{price}*"
            orders.sendall(order.encode())
    except OSError as fault:
        print(f"no running system at {arguments.host}: {fault}; start one with `make run`", file=sys.stderr)
        return 1
    print(f"sent {order}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
