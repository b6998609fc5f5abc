"""The Gateway's process: a provider, its pace, and two ports."""

import logging
import secrets
import time
from collections.abc import Mapping
from typing import Any, Final, NamedTuple

from config import Config
from Gateway.encoder import Encoder
from Gateway.pacing import BURST_NS, Burst, EventTime, Pacer, TicksPerSecond, Unpaced
from Gateway.providers import Batch, DataError, Provider
from Gateway.source import make_provider
from Gateway.steering import Refused, Request, Steering
from Gateway.stream import Client, StreamServer
from runtime.loop import EventLoop
from runtime.part import CannotStart, Part
from runtime.scheduling import precise_timers, short_turns
from trading_lib import wire
from trading_lib.control_wire import encode_refusal
from trading_lib.histogram import Histogram
from trading_lib.models import NS_PER_S, Kind

IDLE_S: Final = 0.25  # how often a Gateway with nothing to do looks round
GREETING_S: Final = 0.02  # how often silence is looked at while a client is new
FAREWELL_S: Final = 0.4  # how long a stopping Gateway lets its sessions take the rest
PREPARE_NS: Final = 400_000  # so long before its instant a burst is encoded: just after the last one the
# processor is needed by those who work on it
GIVE_WAY_S: Final = (
    0.0002  # after a burst that left in time: those who work on it may be waiting for the core
)
SPIN_NS: Final = 60_000  # a sleep ends some 25 µs late here; the last stretch to an instant is spun


def make_pacer(config: Config, source: Provider) -> Pacer:
    """The configured pace over a source."""
    pace = config.Gateway.pace
    if pace.mode == "event":
        return EventTime(source, config.Gateway.schedule.speed)
    return TicksPerSecond(source, pace.ticks_per_s) if pace.ticks_per_s else Unpaced(source)


class Prepared(NamedTuple):
    """A burst and its frames for those who will get it."""

    burst: Burst
    session: bytes
    ticks: tuple[bytes, int]
    news: tuple[bytes, int]


class Gateway:
    """Streams one pacer's records on two ports. One process is one feed session."""

    def __init__(self, config: Config, source: Provider, loop: EventLoop) -> None:
        gateway = config.Gateway
        self._loop = loop
        self._source = source
        self._pacer = make_pacer(config, source)
        self._steering = Steering(self._pacer)
        self._encoder = Encoder(source.symbols, source.decimals)
        self._session = secrets.randbits(62) | 1
        self._next_seq = 0
        self._last_ts = config.run.start_ns
        session_on_slow = gateway.session_on_slow
        if session_on_slow == "auto":
            session_on_slow = "drop" if self._pacer.paced else "wait"
        self.ticks = StreamServer(
            loop,
            gateway.host,
            gateway.md_port,
            "Gateway.md_port",
            limit=gateway.client_buffer_bytes,
            on_slow=gateway.on_slow,
            session_on_slow=session_on_slow,
            max_clients=gateway.max_clients,
            hello=lambda: wire.encode_control("OK", self._session, self._next_seq),
            on_request=self._on_request,
        )
        self.news = StreamServer(
            loop,
            gateway.host,
            gateway.news_port,
            "Gateway.news_port",
            limit=gateway.client_buffer_bytes,
            on_slow=gateway.on_slow,
            session_on_slow="drop",
            max_clients=gateway.max_clients,
            hello=None,
        )
        self._started = False
        self._prepared: Prepared | None = None
        self._sent: tuple[Batch, int] | None = None  # the last burst and its delay in ns, not yet counted
        self.ticks_sent = self.news_sent = self.passes = 0
        self.due_to_sent = Histogram()

    @property
    def ended(self) -> bool:
        """Whether the source has no more, and everything of it was sent."""
        return self._pacer.ended and self._prepared is None

    def step(self) -> None:
        """Look after the clients until the next burst is due (for a quarter of a second at most), and send it."""
        if self.ticks.greeting or self.news.greeting:
            limit = GREETING_S
            self.ticks.settle(time.monotonic())
            self.news.settle(time.monotonic())
        else:
            limit = IDLE_S
        if not self._started and self.ticks.clients + self.news.clients:
            self._started = True
            self._pacer.start(time.monotonic_ns())
        if self._steering.waiting and self._prepared is None and (self._next_seq or self.ended):
            self._obey()
        if not self._flowing:
            self._loop.run_once(limit)
            return
        if self._prepared is None:
            if not self._sleep_until(self._pacer.next_due() - PREPARE_NS, limit):
                return
            self._prepared = self._prepare(time.monotonic_ns())
        due = self._prepared.burst.due
        if self._sleep_until(due - SPIN_NS, limit):
            while time.monotonic_ns() < due:
                pass
            self._send(self._prepared)
            self._prepared = None
            if self._pacer.spaced and time.monotonic_ns() - due < BURST_NS // 2:
                time.sleep(GIVE_WAY_S)

    @property
    def _flowing(self) -> bool:
        if not self._started or self._steering.paused or self.ended or self.ticks.blocked:
            return False
        return self._pacer.paced or self.ticks.clients + self.news.clients > 0

    def _sleep_until(self, instant: int, limit: float) -> bool:
        """Serve clients until `instant`, at most `limit` seconds; whether it has come."""
        # The poll counts whole milliseconds; what is left of the last one is slept, and then clients looked at.
        rest = (instant - time.monotonic_ns()) / NS_PER_S
        if rest >= 0.001:
            self._loop.run_once(min(limit, rest))
            rest = (instant - time.monotonic_ns()) / NS_PER_S
            if rest >= 0.001:
                return False
        if rest > 0:
            time.sleep(rest)
        self._loop.run_once(0)
        return True

    def _prepare(self, now: int) -> "Prepared":
        """Take and encode the next burst, so that only the sending is left for its instant."""
        self._account()
        burst = self._pacer.take(now)
        return Prepared(
            burst,
            self._session_piece(burst) if self.ticks.sessions else b"",
            self._encoder.plain_ticks(burst.batch) if self.ticks.plain else (b"", 0),
            self._encoder.plain_news(burst.batch) if self.news.plain else (b"", 0),
        )

    def _session_piece(self, burst: Burst) -> bytes:
        due_wall = time.time_ns() + burst.due - time.monotonic_ns()
        return wire.encode_control("S", self._next_seq, due_wall) + self._encoder.session(burst.batch)

    def _send(self, prepared: "Prepared") -> None:
        """Only what must be done now: on a busy machine the receiver may have to wait until we sleep again."""
        batch, due = prepared.burst
        self._sent = (
            batch,
            time.monotonic_ns() - due,
        )  # the kernel delivers within the call: stamp before it
        if self.ticks.sessions:
            # A session that has joined since the burst was prepared gets it, too.
            self.ticks.send_sessions(prepared.session or self._session_piece(prepared.burst), batch.size)
        self.ticks.send_plain(*prepared.ticks)
        self.news.send_plain(*prepared.news)
        self._next_seq += batch.size

    def _on_request(self, client: Client, frame: bytes) -> None:
        refused = self._steering.hear(client, frame, allowed=client is self.ticks.controller)
        if refused is not None:
            self.ticks.send_session(client, encode_refusal(*refused), 0)

    def _obey(self) -> None:
        """Apply what the operator wants, each action with its mark in front of all that it changes."""
        self._account()
        while self._steering.waiting:
            request = self._steering.waiting.popleft()
            try:
                self._steering.apply(request.action, time.monotonic_ns())
            except Refused as fault:
                reason = self._steering.refused(fault)
                self.ticks.send_session(request.client, encode_refusal(request.number, reason), 0)
            else:
                self._send_mark(request)

    def _send_mark(self, request: Request) -> None:
        """Only who has asked knows what the number stands for: to the others it is 0."""
        head = wire.encode_control("S", self._next_seq, time.time_ns())
        for client in tuple(self.ticks.sessions):
            number = request.number if client is request.client else 0
            self.ticks.send_session(client, head + wire.encode_control("C", number, self._last_ts), 1)
        self._next_seq += 1

    def _account(self) -> None:
        """Count the last burst, now that there is time to."""
        if self._sent is None:
            return
        (batch, late), self._sent = self._sent, None
        if self._pacer.paced:
            self.due_to_sent.record(late)
        if batch.size == 1:
            kind = batch.kinds[0]
            ticks, news, epochs = kind == Kind.TICK, kind == Kind.NEWS, kind == Kind.EPOCH
        else:
            ticks, news, epochs = ((batch.kinds == k).sum() for k in (Kind.TICK, Kind.NEWS, Kind.EPOCH))
        self.ticks_sent += int(ticks)
        self.news_sent += int(news)
        self.passes += int(epochs)
        self._last_ts = int(batch.times[-1])

    def say_goodbye(self) -> None:
        """Tell the sessions that this is the end (unless the source said so), and let them take it."""
        self._account()
        if not self.ended and self.ticks.sessions:
            head = wire.encode_control("S", self._next_seq, time.time_ns())
            self.ticks.send_sessions(head + wire.encode_control("X", self._last_ts), 1)
            self._next_seq += 1
        deadline = time.monotonic() + FAREWELL_S
        while self.ticks.unsent and time.monotonic() < deadline:
            self._loop.run_once(0.01)

    @property
    def next_seq(self) -> int:
        """The feed number the next record will get: how many were numbered so far."""
        return self._next_seq

    def status(self) -> Mapping[str, Any]:
        """Counts since the start, for the supervisor."""
        self._account()
        counters = self.ticks.counters + self.news.counters + self._steering.counters
        return {
            "ticks": self.ticks_sent,
            "news": self.news_sent,
            "passes": self.passes,
            "ended": self.ended,
            "paused": self._steering.paused,
            "speed": self._pacer.speed,
            "market": self._pacer.records.settings(),
            "clients": self.ticks.clients + self.news.clients,
            "sessions": len(self.ticks.sessions),
            "unsent": self.ticks.unsent,
            "dropped": self.ticks.dropped + self.news.dropped,
            "resyncs": self._pacer.resyncs,
            "counters": dict(counters),
            "latency_us": {"due→sent": self.due_to_sent.summary_us()},
            "histograms": {"due→sent": self.due_to_sent.to_dict()},
        }

    def close(self) -> None:
        """Close ports and source."""
        self.ticks.close()
        self.news.close()
        self._source.close()


def serve(part: Part, config: Config) -> None:
    """Run the Gateway until it is told to stop."""
    precise_timers()
    short_turns(part.name)
    try:
        source, file = make_provider(config)
    except DataError as fault:
        raise CannotStart(f"Gateway.data_path: {fault}") from None
    except ValueError as fault:  # a tick size or a time that this provider cannot use
        raise CannotStart(f"Gateway.provider = {config.Gateway.provider!r}: {fault}") from None
    rejected = file.rejected if file is not None else {}
    if file is not None:
        part.log.log(logging.WARNING if rejected else logging.INFO, "%s", file.report())
    loop = EventLoop()
    part.watch(loop)
    Encoder.warm(part.log.warning)
    gateway = Gateway(config, source, loop)
    part.ready(
        f"ticks on {config.Gateway.host}:{config.Gateway.md_port}, news on :{config.Gateway.news_port}"
    )
    try:
        said_end = False
        while not part.stopping:
            gateway.step()
            if part.status_due():
                part.report({**gateway.status(), "rows_rejected": rejected})
            if gateway.ended and not said_end:
                part.log.info("the source has ended after %d ticks", gateway.ticks_sent)
            said_end = gateway.ended
        gateway.say_goodbye()
        part.report({**gateway.status(), "rows_rejected": rejected})
        part.log.info("stopped after feed numbers: %d", gateway.next_seq)
    finally:
        gateway.close()
        loop.close()
