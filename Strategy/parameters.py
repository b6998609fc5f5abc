"""One strategy's parameters in one run: what its configuration says, and what operators have changed since.

    parameters.ask(7, {"window": 50})        # by the action with this id
    if parameters.try_next():                # a version with `parameters.wanted` is tried …
        parameters.accept()                  # … and runs, or
        parameters.refuse()                  # does not: `now` is what it was

What was accepted is kept in the run's folder: a Strategy that is started again comes up with it. What came to
no end is tried again.
"""

import logging
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import msgspec

from runtime.versions import same_params

MAX_BYTES: Final = 1 << 16  # of all changes, as JSON; an action that makes it more is refused
SHOWN_BYTES: Final = 2048  # of parameters that a status has
SHOWN_VALUE: Final = 500  # bytes of one value there


class _Kept(msgspec.Struct):
    """The file: what was changed, and the id of the last action that this answers to."""

    handled: int
    changes: dict[str, Any]


class Parameters:
    """`configured` are those of the strategy's entry in the configuration."""

    def __init__(self, configured: dict[str, Any], log: logging.Logger) -> None:
        self.handled = 0  # the id of the last action that was accepted or refused
        self._configured = configured
        self._log = log
        self._file: Path | None = None
        self._changes: dict[str, Any] = {}  # accepted
        self._waiting: dict[str, Any] = {}
        self._trying: dict[str, Any] = {}
        self._waiting_id = self._trying_id = 0

    def begin(self, file: Path) -> None:
        """A run, whose `file` says what was accepted in it before."""
        self._file, self._changes, self.handled = file, {}, 0
        self.forget()
        try:
            kept = msgspec.json.decode(file.read_bytes(), type=_Kept)
        except FileNotFoundError:
            return
        except (OSError, msgspec.DecodeError) as fault:
            self._log.error("%s: %s: the parameters are those of the configuration", file, fault)
            return
        self._changes, self.handled = kept.changes, kept.handled

    @property
    def now(self) -> dict[str, Any]:
        """Those that run, or are to."""
        return {**self._configured, **self._changes}

    def ask(self, number: int, changes: Mapping[str, Any]) -> None:
        """An action wants these. Several that wait are tried as one."""
        if number <= self.handled:
            return
        waiting = {**self._waiting, **changes}
        if len(msgspec.json.encode({**self._changes, **self._trying, **waiting})) > MAX_BYTES:
            self._log.error("action %d is refused: more than %d bytes of parameters", number, MAX_BYTES)
            return
        self._waiting, self._waiting_id = waiting, number

    # ---------------------------------------------------------------------------------------- one at a time

    @property
    def trying(self) -> str:
        """What is being tried, for a person; nothing if nothing is."""
        return ", ".join(f"{name}={shown_value(value)!r}" for name, value in self._trying.items())

    @property
    def wanted(self) -> dict[str, Any] | None:
        """Those of the version to try; None where they are those of the configuration."""
        return self._unless_configured({**self.now, **self._trying})

    @property
    def accepted(self) -> dict[str, Any] | None:
        """The same without what is being tried."""
        return self._unless_configured(self.now)

    def _unless_configured(self, params: dict[str, Any]) -> dict[str, Any] | None:
        return None if same_params(params, self._configured) else params

    def try_next(self) -> bool:
        """Whether there is something to try: what waits, and would change anything."""
        if not self._waiting:
            return False
        self._trying, self._trying_id = self._waiting, self._waiting_id
        self._waiting = {}
        if same_params({**self.now, **self._trying}, self.now):
            self.accept()
        return bool(self._trying)

    def unknown(self, declared: Mapping[str, Any]) -> str:
        """The first name being tried that neither the strategy file nor its entry knows; nothing if there is none.

        A file that declares nothing may know any.
        """
        known = {*declared, *self._configured} if declared else {*self._trying}
        return next((name for name in self._trying if name not in known), "")

    def accept(self) -> None:
        """What is being tried works."""
        if self._trying:
            self._end({**self._changes, **self._trying})

    def refuse(self) -> None:
        """What is being tried does not."""
        if self._trying:
            self._end(self._changes)

    def postpone(self) -> None:
        """Something else comes first."""
        if self._trying:
            self._waiting_id = max(self._waiting_id, self._trying_id)
            self._waiting = {**self._trying, **self._waiting}
            self._trying = {}

    def forget(self) -> None:
        """Nobody tries anything any more; the next Strategy on this run will."""
        self._waiting, self._trying = {}, {}

    def _end(self, changes: dict[str, Any]) -> None:
        self._changes, self.handled = changes, self._trying_id
        self._trying = {}
        assert self._file is not None
        draft = self._file.with_name(f".{self._file.name}.{os.getpid()}")
        try:
            self._file.parent.mkdir(exist_ok=True)
            draft.write_bytes(msgspec.json.encode(_Kept(self.handled, changes)))
            draft.replace(self._file)
        except OSError as fault:
            self._log.error(
                "%s: %s: a Strategy that is started again will try anew", self._file, fault.strerror
            )


def presentable(params: Mapping[Any, Any]) -> dict[str, Any]:
    """Parameters as a person can be shown them and a message can hold them: those there is room for."""
    shown: dict[str, Any] = {}
    room = SHOWN_BYTES
    for name, value in params.items():
        if isinstance(name, str) and name.isprintable():
            shown[name] = shown_value(value)
            room -= len(name) + len(msgspec.json.encode(shown[name])) + 4
            if room < 0:
                del shown[name]
                break
    return shown


def shown_value(value: object) -> Any:
    """A parameter's value as JSON can say it, if that is not long; whatever a strategy file has made of it."""
    try:
        text = msgspec.json.encode(value, enc_hook=lambda other: f"<{type(other).__name__}>")
    except (TypeError, ValueError, OverflowError, RecursionError):
        text = b""
    return msgspec.json.decode(text) if 0 < len(text) <= SHOWN_VALUE else "…"
