"""A dialer and an order link together in one process, as a Runner and its worker are in two."""

import logging

from Strategy.dialer import Call, Dialer
from Strategy.order_link import OrderLink
from trading_lib.order_wire import Welcome


class Line(OrderLink):
    """Asks for a lane with `begin`; `welcome` is the answer; comes back by itself once it has `joined`."""

    def __init__(self, host: str, port: int, strategy_id: str, log: logging.Logger) -> None:
        super().__init__(lambda level, text: log.log(level, "%s", text), self._call_again)
        self.dialer = Dialer(host, port, strategy_id, log)
        self.welcome: Welcome | None = None
        self._token = ""
        self._has_joined = False

    def begin(self, token: str, seq: int) -> None:
        self._token = token
        self.dialer.call(Call(token, "new", seq))

    def joined(self, executions: int, next_seq: int) -> None:
        """The host has taken the lane over as `welcome` gave it."""
        self._told, self._progress = executions, next_seq
        self._has_joined = True

    def _call_again(self, told: int, _why: str) -> None:
        self.dialer.call(Call(self._token, "again" if self._has_joined else "new", told))

    @property
    def refused(self) -> str:
        return self.dialer.refused

    def tend(self) -> None:
        super().tend()
        found = self.dialer.look()
        if found is None:
            return
        connection, welcome = found
        if self._has_joined:
            self.again(connection, welcome.rest)
        else:
            self.welcome = welcome
            self.join(connection, welcome.rest, 0, welcome.next_seq)

    def hang_up(self, wait: float) -> None:
        self.drain(wait)
        self.close(farewell=True)
        self.dialer.close()
