"""`ws://…/stream`: the newest of everything, to each listener as fast as it takes it.

Each listener has a task of its own, which waits for the next frame, sends what it lacks, and comes back. One
that does not read stays in its send: its frames are passed over, and counted, and what is kept for it is one
place in each topic. Nobody else notices.
"""

import asyncio
from collections import Counter
from typing import Any, Final

import msgspec
from starlette.websockets import WebSocket, WebSocketDisconnect, WebSocketState

from Dashboard.checked import Wrong, from_json
from Dashboard.frames import CHART, TOPICS, Frames, Place

MAX_REQUEST: Final = 1 << 16  # bytes of a listener's message: 1,000 symbols are 26,000
MAX_SYMBOLS: Final = 4096  # that one listener may name
MAX_CHARTS: Final = 4  # of one listener


class Request(msgspec.Struct, forbid_unknown_fields=True):
    """What a listener says: topics to begin or to end, and for which symbols (none: all)."""

    subscribe: list[str] = msgspec.field(default_factory=list)
    unsubscribe: list[str] = msgspec.field(default_factory=list)
    symbols: list[str] | None = None


class BadRequest(Exception):
    """A listener's message that means nothing; the text goes back to it."""


class Hub:
    """The listeners. `publish` is called once a frame."""

    def __init__(self, frames: Frames, most: int) -> None:
        self._frames = frames
        self._most = most
        self._next = asyncio.Event()
        self._places: dict[WebSocket, Place] = {}
        self.counters: Counter[str] = Counter()

    @property
    def listeners(self) -> int:
        """Open connections."""
        return len(self._places)

    def publish(self) -> None:
        """A frame is there: wake everyone who waits."""
        self._forget_charts()
        event, self._next = self._next, asyncio.Event()
        event.set()

    def _forget_charts(self) -> None:
        charts = self._frames.market.charts
        if charts:
            watched = {symbol for place in self._places.values() for symbol in place.wanted.get(CHART) or ()}
            for symbol in charts.keys() - watched:
                del charts[symbol]

    async def serve(self, websocket: WebSocket) -> None:
        """One listener, until it leaves."""
        if len(self._places) >= self._most:
            self.counters["refused: too many listeners"] += 1
            await websocket.close(1013, f"{self._most} listeners already (Dashboard.max_streams)")
            return
        await websocket.accept()
        self.counters["connected"] += 1
        self._places[websocket] = place = Place()
        tasks = [
            asyncio.create_task(self._send(websocket, place)),
            asyncio.create_task(self._receive(websocket, place)),
        ]
        try:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in tasks:
                task.cancel()
            ends = await asyncio.gather(*tasks, return_exceptions=True)
            del self._places[websocket]
            self.counters["disconnected"] += 1
            self.counters["frames missed"] += place.missed
        for end in ends:
            if isinstance(end, Exception) and not _has_gone(end, websocket):
                raise end

    async def _send(self, websocket: WebSocket, place: Place) -> None:
        while True:
            event = self._next
            if self._frames.number > place.frame:
                for message in list(
                    self._frames.since(place)
                ):  # all of one frame: the next one is made meanwhile
                    await websocket.send_text(message.decode())
            await event.wait()

    async def _receive(self, websocket: WebSocket, place: Place) -> None:
        while True:
            message = await websocket.receive()
            if message["type"] == "websocket.disconnect":
                return
            try:
                _apply(message.get("text") or "", place)
            except BadRequest as fault:
                self.counters["rejected: bad request"] += 1
                await websocket.send_text(_error(self._frames.number, str(fault)))


def _has_gone(fault: Exception, websocket: WebSocket) -> bool:
    """Whether a fault only says that the connection is no more, whoever has ended it."""
    if isinstance(fault, RuntimeError):
        return WebSocketState.DISCONNECTED in (websocket.client_state, websocket.application_state)
    return isinstance(fault, WebSocketDisconnect | OSError)


def _apply(text: str, place: Place) -> None:
    """Change what a listener wants. Raises BadRequest."""
    if len(text) > MAX_REQUEST:
        raise BadRequest(f"a request has at most {MAX_REQUEST} bytes")
    try:
        request: Request = from_json("request", text, Request)
    except Wrong as fault:
        raise BadRequest(str(fault)) from None
    for topic in (*request.subscribe, *request.unsubscribe):
        if topic not in TOPICS:
            raise BadRequest(f"{topic!r}: no such topic, only {', '.join(TOPICS)}")
    symbols = frozenset(request.symbols) if request.symbols is not None else None
    if symbols is not None and len(symbols) > MAX_SYMBOLS:
        raise BadRequest(f"at most {MAX_SYMBOLS} symbols")
    if CHART in request.subscribe and not 1 <= len(symbols or ()) <= MAX_CHARTS:
        raise BadRequest(f"{CHART} needs one to {MAX_CHARTS} symbols")
    for topic in request.unsubscribe:
        place.wanted.pop(topic, None)
        _rewind(place, topic)
    for topic in request.subscribe:
        if place.wanted.get(topic, ...) != symbols:
            _rewind(place, topic)
        place.wanted[topic] = symbols
    place.charts = {
        symbol: at for symbol, at in place.charts.items() if symbol in (place.wanted.get(CHART) or ())
    }


_BEGINNING: Final[dict[str, Any]] = {
    "prices.tick": ("prices", 0),
    "prices.chart": ("charts", None),
    "news": ("news", 0),
    "orders": ("orders", 0),
    "fills": ("fills", 0),
    "pnl": ("money", -1),
    "indicators": ("traces", None),
    "strategies": ("strategies", -1),
    "system": ("system", -1),
}


def _rewind(place: Place, topic: str) -> None:
    """A topic that is asked for again begins with its snapshot."""
    if topic == CHART:
        return  # by symbol: see `Place.charts`
    name, value = _BEGINNING[topic]
    setattr(place, name, {} if value is None else value)


def _error(seq: int, text: str) -> str:
    return msgspec.json.encode({"topic": "error", "seq": seq, "error": text}).decode()
