"""The control port: an operator's actions on their way to the tape.

JSON lines over TCP, on loopback only. The first line proves that the client may: `{"token": "…"}`, the
content of `runs/<id>/token`. Each line after it is an action (`trading_lib.control`): it is written to
`control.jsonl`, then its CONTROL record comes onto the tape, and the answer says where: at the head, or for
an action on the market where the Gateway has put it into the feed.

    {"action": "kill_switch", "strategy": null, "flatten": true}      {"ok": true, "id": 7, "seq": 120431}
    {"action": "costs", "slippage_bps": -1}                           {"ok": false, "error": "…"}
"""

import contextlib
import hmac
import socket
from collections.abc import Callable, Collection
from typing import Final

import msgspec

from configuration.wording import explain
from OrderBook.control_log import ControlLog
from OrderBook.feed_handler import FeedHandler
from OrderBook.forwarding import Answer, Forwarding, Refused
from OrderBook.order_book import OrderBook
from OrderBook.steered import Steered
from runtime.loop import READ, WRITE, EventLoop, accept, listen
from trading_lib.control import Costs, FeedAction, MarketAction, OperatorAction, Params

HOST: Final = "127.0.0.1"
MAX_CLIENTS: Final = 16  # one more takes the place of one that has shown no token yet, or is refused
MAX_LINE: Final = 1 << 16  # bytes; who sends a longer one is let go
MAX_TOKEN_LINE: Final = 256  # the same, before the token
READ_BYTES: Final = 4096  # a turn: some seventy actions of 8 µs, and then it is the feed's again

_json: Final = msgspec.json.Decoder(dict[str, object])
_KEYS: Final = {
    kind.__struct_config__.tag: {"action", *kind.__struct_fields__} for kind in OperatorAction.__args__
}


class BadAction(Exception):
    """A line that is no action; the message says why."""


class _Token(msgspec.Struct):
    token: str


class _Client:
    """One connection. `unsent`: of the last answer, which a client reads before its next line is looked at;
    `waiting`: the Gateway has the last action."""

    def __init__(self, connection: socket.socket, peer: str) -> None:
        self.connection = connection
        self.peer = peer
        self.trusted = False
        self.received = b""
        self.unsent = b""
        self.waiting = False

    def next_line(self) -> bytes | None:
        """The next whole line."""
        line, newline, rest = self.received.partition(b"\n")
        if not newline:
            return None
        self.received = rest
        return line

    @property
    def too_long(self) -> bool:
        """Whether the line that has begun is longer than any may be."""
        return len(self.received) > (MAX_LINE if self.trusted else MAX_TOKEN_LINE)

    def flush(self) -> None:
        """Send what the peer will take. Raises ConnectionError when it has gone."""
        with contextlib.suppress(BlockingIOError):  # it does not read: neither do we
            self.unsent = self.unsent[self.connection.send(self.unsent) :]


class ControlPort:
    """Owns the port and its clients, not the log. `strategies` are the ids there are. Raises PortInUse.

    `steered` and `say`: see Forwarding.
    """

    def __init__(
        self,
        loop: EventLoop,
        order_book: OrderBook,
        feed: FeedHandler,
        log: ControlLog,
        token: str,
        port: int,
        strategies: Collection[str],
        steered: Steered | None = None,
        say: Callable[[str], None] = lambda _: None,
    ) -> None:
        self._loop = loop
        self._order_book = order_book
        self._feed = feed
        self._log = log
        self._forwarding = Forwarding(order_book, feed, log, steered, say)
        self._token = token.encode()
        self._strategies = strategies
        self._clients: list[_Client] = []
        self.counters = self._forwarding.counters
        self._socket = listen(HOST, port, "OrderBook.control_port")
        loop.add(self._socket, lambda _: self._accept())

    # ----------------------------------------------------------------------------------------- clients

    def _accept(self) -> None:
        while (accepted := accept(self._socket)) is not None:
            client = _Client(*accepted)
            if len(self._clients) >= MAX_CLIENTS and not self._make_room():
                self.counters["control refused: too many clients"] += 1
                client.connection.close()
                continue
            self._clients.append(client)
            self._loop.add(client.connection, lambda mask, client=client: self._on_ready(client, mask))  # type: ignore[misc]

    def _make_room(self) -> bool:
        """Let go of the oldest client that has not shown the token: nobody can keep an operator out."""
        stranger = next((client for client in self._clients if not client.trusted), None)
        if stranger is not None:
            self._drop(stranger, "control refused: too many clients")
        return stranger is not None

    def _on_ready(self, client: _Client, mask: int) -> None:
        try:
            if client.unsent:
                client.flush()
            elif mask & ~WRITE:
                data = client.connection.recv(READ_BYTES)
                if not data:
                    self._drop(client)
                    return
                client.received += data
            self._serve(client)
        except BlockingIOError:
            pass  # a poll may wake us for nothing
        except OSError:
            self._drop(client)

    def _serve(self, client: _Client) -> None:
        """Take a client's lines, one after another, as long as it takes the answers."""
        while not (client.unsent or client.waiting) and (line := client.next_line()) is not None:
            if client.trusted:
                self._do(client, line)
                client.flush()
            elif self._may(line):
                client.trusted = True
            else:
                client.unsent = b'{"ok":false,"error":"wrong token"}\n'
                client.flush()
                self._drop(client, "control rejected: wrong token")
                return
        if client.waiting:
            self._loop.set_events(client.connection, 0)  # it is not read from; that it goes is seen
            return
        if not client.unsent and client.too_long:
            self._drop(client, "control rejected: line too long")
            return
        self._loop.set_events(client.connection, WRITE if client.unsent else READ)

    def _drop(self, client: _Client, reason: str = "") -> None:
        if reason:
            self.counters[reason] += 1
        self._clients.remove(client)
        self._loop.remove(client.connection)
        client.connection.close()

    # ----------------------------------------------------------------------------------------- actions

    def _may(self, line: bytes) -> bool:
        try:
            shown = msgspec.json.decode(line, type=_Token).token
        except msgspec.DecodeError:
            return False
        return hmac.compare_digest(shown.encode(), self._token)

    def _do(self, client: _Client, line: bytes) -> None:
        """Do what a line asks for, and have it answered, now or when the Gateway has spoken."""
        try:
            action = parse_action(line)
            if isinstance(action, MarketAction):
                client.waiting = True
                self._forwarding.send(action, lambda answer: self._answer_later(client, answer))
                return
            answer = self._do_here(action)
        except BadAction as fault:
            answer = self._refuse("control rejected: bad action", str(fault))
        except Refused as fault:
            answer = self._refuse("control refused: no Gateway to ask", str(fault))
        except OSError as fault:
            answer = self._refuse(
                "control rejected: control.jsonl cannot be written",
                f"control.jsonl cannot be written: {fault.strerror}",
            )
        client.waiting = False
        client.unsent = _encoded(answer)

    def _do_here(self, action: OperatorAction) -> Answer:
        """Log an action, put its mark at the head of the tape, and do what is the OrderBook's own."""
        if isinstance(action, FeedAction) and not self._feed.connected:
            raise Refused("there is no connection to a Gateway")
        if isinstance(action, Params) and action.strategy not in self._strategies:
            raise BadAction(f"no strategy {action.strategy!r} here, only {', '.join(self._strategies)}")
        number = self._log.append(action)
        seq = self._order_book.control(number)
        self._order_book.tape.ring()
        self.counters["control actions"] += 1
        if isinstance(action, FeedAction):
            self._feed.hang_up()
        return {"ok": True, "id": number, "seq": seq}

    def _refuse(self, case: str, error: str) -> Answer:
        self.counters[case] += 1
        return {"ok": False, "error": error}

    def _answer_later(self, client: _Client, answer: Answer) -> None:
        """The answer to a client that waits. Amid the feed's records: it is sent in the loop's next round."""
        if client in self._clients:
            client.waiting = False
            client.unsent = _encoded(answer)
            self._loop.set_events(client.connection, WRITE)

    def tend(self) -> None:
        """Look after clients that wait for the Gateway."""
        self._forwarding.tend()

    def close(self) -> None:
        """Hang up and free the port."""
        for client in tuple(self._clients):
            self._drop(client)
        self._loop.remove(self._socket)
        self._socket.close()


def _encoded(answer: Answer) -> bytes:
    return msgspec.json.encode(answer) + b"\n"


def parse_action(line: bytes) -> OperatorAction:
    """An action, checked. Raises BadAction."""
    try:
        raw = _json.decode(line)
    except (msgspec.DecodeError, RecursionError) as fault:
        raise BadAction(str(fault)) from None
    try:
        action: OperatorAction = msgspec.convert(raw, OperatorAction)
    except msgspec.ValidationError as fault:
        raise BadAction(explain(str(raw.get("action", "action")), raw, str(fault), OperatorAction)) from None
    known = _KEYS[type(action).__struct_config__.tag]
    if unknown := raw.keys() - known:
        raise BadAction(f"{min(unknown)}: no such key, only {', '.join(sorted(known))}")
    if isinstance(action, Costs) and len(raw.keys() - {"action", "strategy"}) == 0:
        raise BadAction("costs: nothing to change")
    return action
