"""What the Strategy, its zygote and its workers say to each other. What comes from a worker may be forged.

zygote   ← Fork                                    → Forked, Exited
worker   ← Join, Session, Leave                    → Locked, Declared, Loaded, Failed, Started, Lost, Lines,
                                                     Status, Traced, Left
"""

from typing import Annotated, Any, Final

import msgspec
from msgspec import Meta

TRACED: Final = 16  # numbers, of the first indicators that a strategy makes
TRACED_CHARS: Final = 80  # of one's name
TRACED_SAMPLES: Final = 64  # of one strategy between two statuses

Place = Annotated[int, Meta(ge=0, le=(1 << 63) - 1)]  # of a record on the tape, or of a report

Sample = tuple[  # event time, ns, and the values; None: not warm
    Annotated[str, Meta(pattern=r"^[0-9]{1,19}\Z")], Annotated[list[float | None], Meta(max_length=TRACED)]
]


class Message(msgspec.Struct, frozen=True, tag=True, forbid_unknown_fields=True):
    """Base: the tag is the class's name."""


# ------------------------------------------------------------------------------------ to and from the zygote


class Fork(Message, frozen=True):
    """A worker is wanted. Descriptors: its channel, its output, the doorbell's segment, its pulse."""

    number: int
    config: bytes  # the effective configuration, JSON
    entry: str  # the strategy's id in it
    path: str  # of the strategy file, absolute
    source: bytes  # the file's content
    params: dict[str, Any]
    tape: str  # the name of the price book
    bell: int  # its page
    actions: str  # path of control.jsonl


class Forked(Message, frozen=True):
    """It lives."""

    number: int
    pid: int


class Exited(Message, frozen=True):
    """It does not any more; `status` as of `os.waitstatus_to_exitcode`."""

    number: int
    status: int


# ---------------------------------------------------------------------------------------------- to a worker


class Join(Message, frozen=True):
    """Begin at `next_seq` with the ledger's lane (JSON). Descriptor: the session's socket."""

    next_seq: int
    lane: bytes
    rest: bytes  # what came in behind the welcome and is not read yet


class Session(Message, frozen=True):
    """A session that was lost stands again. Descriptor: its socket."""

    rest: bytes


class Leave(Message, frozen=True):
    """Go, at the next tape boundary, or `drain` what is on the tape first; the strategy's `on_stop` is called."""

    drain: bool


ToWorker = Join | Session | Leave

# -------------------------------------------------------------------------------------------- from a worker


class Locked(Message, frozen=True):
    """Every right that is not needed has been given up; `missing` says what this kernel could not enforce.

    Descriptor, if `counted`: where denied system calls are noticed.
    """

    counted: bool
    missing: tuple[str, ...]


class Declared(Message, frozen=True):
    """The parameters that the file knows, with their defaults, as far as they can be shown."""

    params: dict[str, Any]


class Loaded(Message, frozen=True):
    """The file is a strategy, and its `init` runs."""


class Failed(Message, frozen=True):
    """It is not, or does not; the worker ends."""

    error: str


class Started(Message, frozen=True):
    """The first record it will see."""

    next_seq: Place


class Lost(Message, frozen=True):
    """The session is gone; `told` is the last report that this host and the ledger agree on."""

    told: Place
    why: str


class Lines(Message, frozen=True):
    """Lines for the log."""

    level: int
    lines: list[str]


class Status(Message, frozen=True):
    """Counts since the worker began, and where it is."""

    cursor: int = 0
    ticks: int = 0
    news: int = 0
    epochs: int = 0
    orders: int = 0
    fills: int = 0
    denied: int = 0
    missed: int = 0
    errors: int = 0
    last_error: str = ""
    kept: int = 0
    not_drained: int = 0
    diverged: str = ""
    over_budget: int = 0  # records that took longer than Strategy.budget_ms
    slowest_ms: float = 0.0  # of one record
    counters: dict[str, int] = {}
    why: dict[str, int] = {}  # why no trade
    indicators: dict[str, Any] = {}


class Traced(Message, frozen=True):
    """Values of its indicators since the last one, each sample with those of the first `names` there were."""

    names: Annotated[list[Annotated[str, Meta(max_length=TRACED_CHARS)]], Meta(max_length=TRACED)]
    samples: Annotated[list[Sample], Meta(max_length=TRACED_SAMPLES)]
    dropped: Annotated[int, Meta(ge=0)]  # samples that were too many


class Left(Message, frozen=True):
    """It has seen every record before `next_seq`; the ledger has not acknowledged so many of its requests."""

    next_seq: Place
    unheard: Annotated[int, Meta(ge=0)] = 0


FromWorker = Locked | Declared | Loaded | Failed | Started | Lost | Lines | Status | Traced | Left
FromZygote = Forked | Exited

MAX_MESSAGE: Final = 16 << 20  # bytes; a lane with 10,000 open orders is 2 MB
