"""What the parent has of a worker: a handle with its channel, its output, its pulse and its denied calls.

worker.send(Leave(drain=True))
worker.read_channel()                       # then `messages` is what it has said, `status` its newest
"""

import contextlib
import os
import re
import select
import signal
from collections import deque
from pathlib import Path
from typing import Final

from Strategy.bounds import bounded_message
from Strategy.channel import Channel, ChannelClosed
from Strategy.messages import Declared, Failed, Locked, Lost, Message, Status
from Strategy.pulse import Pulse
from Strategy.sandbox import DenialCounter

OUTPUT_AT_ONCE: Final = 1 << 14  # bytes of a worker's output read in a round: who prints more is slowed down
LAST_READS: Final = 65  # of so much, when it has ended: more than a pipe holds
OUTPUT_LINE: Final = 1000  # characters of a line that are shown
TRACE_HEAD: Final = "Stack (most recent call first):"  # of faulthandler
TRACE_LINES: Final = 40  # of a stack trace that are looked at for the strategy's own
_FRAME: Final = re.compile(r'  File "(.+)", line (\d+) in (.+)')


class WorkerHandle:
    """One worker: its channel, its output, its pulse. `messages` is what it has said and nobody has taken."""

    def __init__(self, number: int, path: str, channel: Channel, output: int, pulse: Pulse) -> None:
        self.number = number
        self.path = path  # of the strategy file
        self.channel = channel
        self.pulse = pulse
        self.pid: int | None = None
        self.exit_status: int | None = None
        self.gone = ""  # why it can say nothing more
        self.messages: deque[Message] = deque()
        self.status = Status()
        self.status_cut = 0  # what of it was too much
        self.heard = 0  # how often it has said something
        self.printed: list[str] = []
        self.trace = ""  # where the strategy's code was when it was last asked
        self.denials: DenialCounter | None = None
        self.denied_this_round = 0
        self.missing: tuple[str, ...] = ()
        self._output = output
        self._rest = b""
        self._tracing = 0  # lines of a trace that may still come

    @property
    def alive(self) -> bool:
        """Whether its process has not ended."""
        return self.exit_status is None

    @property
    def output(self) -> int:
        """The reading end of what it prints."""
        return self._output

    def send(self, message: Message, descriptors: tuple[int, ...] = ()) -> None:
        """Say something; who does not hear it has ended, and that is noticed elsewhere."""
        try:
            self.channel.send(message, descriptors)
        except OSError as fault:  # ChannelClosed, or no room for a copy of a descriptor
            self.gone = self.gone or str(fault)

    def read_channel(self) -> None:
        """Take what it says."""
        try:
            found = self.channel.receive()
        except ChannelClosed as fault:
            self.gone = self.gone or str(fault)
            return
        self.heard += len(found)
        for message, descriptors in found:
            if isinstance(message, Locked):
                self._lock(message, descriptors)
            elif isinstance(message, Status):
                self.status, self.status_cut = bounded_message(message)  # conflated: the newest counts
            elif isinstance(message, Declared | Failed | Lost):
                self.messages.append(bounded_message(message)[0])
            else:
                self.messages.append(message)

    def _lock(self, message: Locked, descriptors: list[int]) -> None:
        if not self.channel.descriptors:
            self.gone = self.gone or "it says twice that it is locked in"
            return
        self.channel.descriptors = False  # from here on user code may be who speaks
        self.missing = message.missing
        if message.counted:
            self.denials = DenialCounter(descriptors[0])

    def read_output(self) -> bool:
        """Take what it prints; False at its end."""
        try:
            data = os.read(self._output, OUTPUT_AT_ONCE)
        except BlockingIOError:
            return True
        lines = (self._rest + data).split(b"\n")
        self._rest = lines.pop()
        if len(self._rest) > OUTPUT_AT_ONCE:
            lines.append(self._rest)
            self._rest = b""
        for line in lines:
            self._take_line(line)
        return bool(data)

    def read_last_output(self) -> None:
        """Take what it has printed and nobody has read: it is to print no more."""
        waits = select.poll()
        waits.register(self._output, select.POLLIN)
        more = all(waits.poll(0) and self.read_output() for _ in range(LAST_READS))
        if self._rest:
            self._take_line(self._rest)
            self._rest = b""
        if more:
            self.printed.append("… and more, which is not read")

    def _take_line(self, data: bytes) -> None:
        line = data.decode(errors="replace")
        if line == TRACE_HEAD:
            self._tracing = TRACE_LINES
        elif self._tracing and (frame := _FRAME.fullmatch(line)) is not None:
            self._tracing -= 1
            if not self.trace and Path(frame[1]).parent == Path(self.path).parent:
                self.trace = f"{Path(frame[1]).name} line {frame[2]} in {frame[3]}"
        else:
            self._tracing = 0
            self.printed.append(line if len(line) <= OUTPUT_LINE else f"{line[:OUTPUT_LINE]}…")

    def ask_where(self) -> None:
        """Have it say where the strategy's code is, also from within C; `trace` is the answer, soon."""
        self.trace = ""
        if self.pid is not None and self.alive:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, signal.SIGUSR1)

    def kill(self) -> None:
        """SIGKILL."""
        if self.pid is not None and self.alive:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, signal.SIGKILL)

    def close(self) -> None:
        """Let go of everything."""
        self.channel.close()
        os.close(self._output)
        self.pulse.close()
        if self.denials is not None:
            self.denials.close()
