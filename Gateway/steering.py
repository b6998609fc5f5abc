"""What an operator does to a running market: hold it, hurry it, begin it anew, change its model.

The OrderBook hands an action on by its feed session (`trading_lib.control_wire`). It waits here until it is
between two bursts, is applied, and its mark leaves before anything it has changed.
"""

from collections import Counter, deque
from typing import Final, NamedTuple

from Gateway.pacing import Pacer
from Gateway.stream import Client
from trading_lib import wire
from trading_lib.control import MarketAction, Model, Pause, Reset, Resume, Schedule, Speed
from trading_lib.control_wire import parse_action, parse_request

MAX_WAITING: Final = 64  # actions at once; the control port has 16 clients with one each


class Refused(Exception):
    """An action that is not applied; the message says why."""


class Request(NamedTuple):
    """An action, and what to answer to."""

    client: Client
    number: int
    action: MarketAction


class Steering:
    """Applies actions to a pacer, which it does not own."""

    def __init__(self, pacer: Pacer) -> None:
        self._pacer = pacer
        self._paused_at: int | None = None
        self.waiting: deque[Request] = deque()
        self.counters: Counter[str] = Counter()

    @property
    def paused(self) -> bool:
        """Whether nothing may leave."""
        return self._paused_at is not None

    def hear(self, client: Client, frame: bytes, *, allowed: bool) -> tuple[int, str] | None:
        """Put a session's request where `waiting` are; (id, why) when it is refused at once."""
        try:
            number, body = parse_request(frame)
        except wire.Rejected as fault:
            self.counters[f"rejected: {fault.reason}"] += 1
            return None
        try:
            if not allowed:
                raise Refused(
                    "another session has the control of this Gateway, or this one did not ask for it"
                )
            if len(self.waiting) >= MAX_WAITING:
                raise Refused(f"{MAX_WAITING} actions are waiting already")
            self.waiting.append(Request(client, number, parse_action(body)))
        except (Refused, wire.Rejected) as fault:
            return number, self.refused(fault)
        return None

    def refused(self, fault: Exception) -> str:
        """Count a refusal; returns its reason."""
        self.counters["control refused"] += 1
        return str(fault)

    def apply(self, action: MarketAction, now: int) -> None:
        """Do it at `now` on the pacer's clock, between two bursts. Raises Refused; then nothing has changed."""
        if self._pacer.ended and not isinstance(action, Reset | Schedule):
            raise Refused("the source has ended")
        stands_at = now if self._paused_at is None else self._paused_at  # the schedule, which a pause stops
        try:
            match action:
                case Pause():
                    self._paused_at = stands_at
                case Resume():
                    self._pacer.delay(now - stands_at)
                    self._paused_at = None
                case Speed():
                    self._pacer.set_speed(action.speed, stands_at)
                case Reset():
                    self._pacer.records.restart(action.seed)
                    self._pacer.start(stands_at)
                case Schedule():
                    self._pacer.records.set_schedule(action.dt_ms, random_arrivals=action.mode == "poisson")
                    self._pacer.start(stands_at)
                case Model():
                    self._pacer.records.set_model(action.changes)
        except ValueError as fault:
            raise Refused(str(fault)) from None
        self.counters["control applied"] += 1
