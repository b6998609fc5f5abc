"""Listeners of a `/stream`, in a process of their own: `python -m benchmarks.listeners URL COUNT SECONDS`.

Each asks for what the Live page asks for, and reads what comes; the last of them, with `--stuck`, reads nothing.
Prints a line of JSON: messages and bytes in all, and how far the slowest reader fell behind.
"""

import argparse
import asyncio
import json
import time
from typing import Any, Final

import msgspec
from websockets.asyncio.client import connect

TOPICS: Final = ("prices.tick", "news", "fills", "pnl", "indicators", "strategies", "system")


async def listen(url: str, seconds: float, symbol: str, stuck: bool) -> dict[str, float]:
    """One listener: messages, bytes, and the largest age of a frame when it arrived, ms."""
    found = {"messages": 0.0, "bytes": 0.0, "oldest_ms": 0.0}
    async with connect(url, max_size=None, compression=None) as line:
        await line.send(json.dumps({"subscribe": TOPICS}))
        await line.send(json.dumps({"subscribe": ["prices.chart"], "symbols": [symbol]}))
        if stuck:
            await asyncio.sleep(seconds)
            return found
        deadline = time.monotonic() + seconds
        while (left := deadline - time.monotonic()) > 0:
            try:
                message = await asyncio.wait_for(line.recv(decode=False), left)
            except TimeoutError:
                break
            found["messages"] += 1
            found["bytes"] += len(message)
            if message.startswith(b'{"topic":"prices.tick"') and found["messages"] > 50:
                sent = int(msgspec.json.decode(message)["ts_wall"])
                found["oldest_ms"] = max(found["oldest_ms"], (time.time_ns() - sent) / 1e6)
    return found


async def listen_all(url: str, count: int, seconds: float, symbol: str, stuck: bool) -> dict[str, Any]:
    """All of them at once."""
    found = await asyncio.gather(
        *(listen(url, seconds, symbol, stuck and number == count - 1) for number in range(count))
    )
    return {
        "messages": sum(one["messages"] for one in found),
        "bytes": sum(one["bytes"] for one in found),
        "oldest_ms": max((one["oldest_ms"] for one in found), default=0.0),
    }


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("url")
    parser.add_argument("count", type=int)
    parser.add_argument("seconds", type=float)
    parser.add_argument("--symbol", default="S0000")
    parser.add_argument("--stuck", action="store_true")
    given = parser.parse_args()
    print(
        json.dumps(asyncio.run(listen_all(given.url, given.count, given.seconds, given.symbol, given.stuck)))
    )
