"""Makes order sessions for workers, which may not connect themselves. In a thread: nobody waits for a hung port.

dialer.call(Call(token, "new", 120))
while (found := dialer.look()) is None: ...      # (socket, Welcome)
"""

import contextlib
import logging
import socket
import threading
from typing import Final, NamedTuple

from OrderManager.client import SessionRefused, open_session
from runtime.loop import Backoff, Reminder
from trading_lib.order_wire import Welcome

HELLO_TIMEOUT_S: Final = 5.0


class Call(NamedTuple):
    """What to ask for: see `trading_lib.order_wire`."""

    token: str
    mode: str  # new, again
    number: int
    version: str = ""  # of the strategy
    reload: bool = False  # it takes over from another version


class Dialer:
    """One strategy's calls, one after another, each tried until it succeeds or is called off."""

    def __init__(self, host: str, port: int, strategy_id: str, log: logging.Logger) -> None:
        self._address = (host, port)
        self._strategy_id = strategy_id
        self._log = log
        self._call: Call | None = None
        self._thread: threading.Thread | None = None
        self._answer: tuple[Call, socket.socket, Welcome] | tuple[Call, OSError] | None = None
        self._backoff = Backoff()
        self._closed = False
        self.refused = ""  # why the ledger does not want it, for as long as it does not
        self.refusals = 0
        self._reminder = Reminder(
            log.warning,
            f"no OrderManager on {host}:{port} (Strategy.order_manager_port) for 10 s; orders wait",
        )

    @property
    def calling(self) -> Call | None:
        """What is asked for now."""
        return self._call

    def call(self, call: Call) -> None:
        """Ask for a session; whatever was asked for before is called off."""
        self._call = call
        self.refused = ""
        self._backoff = Backoff()

    def cancel(self) -> None:
        """Ask for nothing."""
        self._call = None

    def look(self) -> tuple[socket.socket, Welcome] | None:
        """The session, once it stands; the caller owns the socket. Tries again when it is time to."""
        if self._thread is not None:
            if self._thread.is_alive():
                return None
            self._thread.join()
            self._thread = None
            if (found := self._take_answer()) is not None:
                self._reminder.found()
                return found
        if self._call is not None and not self._backoff.wait:
            self._reminder.missing()
            self._thread = threading.Thread(target=self._dial, args=(self._call,), daemon=True)
            self._thread.start()
        return None

    def _dial(self, call: Call) -> None:
        try:
            connection, welcome = open_session(
                *self._address,
                self._strategy_id,
                call.token,
                call.mode,
                call.number,
                HELLO_TIMEOUT_S,
                version=call.version,
                reload=call.reload,
            )
        except OSError as fault:
            self._answer = call, fault  # `look` says so, and tries again later
            return
        self._answer = call, connection, welcome
        if self._closed:
            connection.close()

    def _take_answer(self) -> tuple[socket.socket, Welcome] | None:
        """What the thread came back with, if it is still wanted."""
        answer, self._answer = self._answer, None
        assert answer is not None
        if answer[0] is not self._call:
            if len(answer) == 3:
                answer[1].close()
            return None
        if len(answer) == 2:
            self._failed(answer[1])
            return None
        self._call = None
        self.refused = ""
        self._log.info("order link up: %s:%d", *self._address)
        return answer[1:]

    def _failed(self, fault: OSError) -> None:
        self._backoff.failed()
        if not isinstance(fault, SessionRefused):
            return
        self.refusals += 1
        if not self.refused:
            self._log.warning("the OrderManager refuses the session of %s: %s", self._strategy_id, fault)
        self.refused = str(fault)

    def close(self) -> None:
        """Give up."""
        self._closed = True
        self._call = None
        if self._thread is not None:
            self._thread.join(0.2)
        if self._answer is not None and len(self._answer) == 3:
            with contextlib.suppress(OSError):
                self._answer[1].close()
