"""An operator's words, as actions on a run that is going on.

send(live_run(runs), action_of("speed", ["20"]))
"""

from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Final, get_args

import msgspec

from config import ConfigError, parse_config
from configuration.wording import explain
from lab.arguments import parameter
from OrderBook.control_client import ActionRefused, Answer, ControlClient
from runtime.run_folder import read_token
from runtime.status_socket import STATUS_SOCKET, ask, connect, goes_on
from trading_lib.control import Action, OperatorAction

POSITIONAL: Final = {
    "speed": "speed",
    "reset": "seed",
    "kill_switch": "strategy",
    "allow_trading": "strategy",
    "params": "strategy",
    "hot_reload": "on",
}  # what may stand without its name

TABLES: Final = {
    "model": ("changes", ()),
    "params": ("params", ("strategy",)),
}  # whose words go into a table of names, but for its own

STATUS_S: Final = 3.0  # a status comes every second
STATUSES: Final = 3  # one may be a second old, and have been told a second before

WRONG_TOKEN: Final = "wrong token"  # what the OrderBook of another run says

KINDS: Final = tuple(str(kind.__struct_config__.tag) for kind in get_args(OperatorAction))


TEXTS: Final = ("strategy", "client_order_id", "symbol")  # also when they look like numbers


class UnknownAction(ValueError):
    """Words that are no action; the message says why."""


class NoLiveRun(OSError):
    """There is no run to steer; the message says where was looked."""


def action_of(name: str, words: Sequence[str]) -> OperatorAction:
    """`speed 20`, `model sigma=0.5`, `costs slippage_bps=3`, `kill-switch sma_news flatten=true` … as an action.

    Raises UnknownAction.
    """
    kind = name.replace("-", "_")
    if kind not in KINDS:
        raise UnknownAction(f"{name!r}: no such action, only {', '.join(KINDS).replace('_', '-')}")
    fields: dict[str, object] = {}
    for word in words:
        if "=" in word:
            key, value = parameter(word)
            fields[key] = word.partition("=")[2] if key in TEXTS else value
        elif kind in POSITIONAL:
            fields[POSITIONAL[kind]] = parameter(f"x={word}")[1]
        else:
            raise UnknownAction(f"{word!r}: expected NAME=VALUE")
    if kind in TABLES:
        table, own = TABLES[kind]
        named = {key: fields.pop(key) for key in own if key in fields}
        fields = {**named, table: fields}
    tree = {"action": kind, **fields}
    try:
        action: OperatorAction = msgspec.convert(tree, OperatorAction)
    except msgspec.ValidationError as fault:
        raise UnknownAction(explain(name, tree, str(fault), OperatorAction)) from None
    known = action.__struct_fields__
    unknown = fields.keys() - set(known)
    if unknown:
        raise UnknownAction(f"{name} knows no {min(unknown)!r}, only {', '.join(known) or 'itself'}")
    return action


def live_run(runs: Path) -> Path:
    """The folder of the run that began last of those that are going on. Raises NoLiveRun."""
    folders = [status.parent for status in runs.glob(f"*/{STATUS_SOCKET}")]
    for folder in sorted(folders, reverse=True):  # a run's id begins with the UTC time of its beginning
        if goes_on(folder):
            return folder
    raise NoLiveRun(f"no run is going on below {runs}: start one with `sim run`")


class _Lane(msgspec.Struct):
    strategy_id: str


class _Part(msgspec.Struct):
    lanes: list[_Lane] = []


class _Status(msgspec.Struct):
    parts: dict[str, _Part] = {}


def lanes(run: Path) -> Iterator[set[str]]:
    """The strategies that have a lane, as the run's statuses say it, a second apart; nothing where none comes."""
    try:
        with connect(run / STATUS_SOCKET) as link, link.makefile("rb") as lines:
            link.settimeout(STATUS_S)
            while (line := lines.readline()).endswith(b"\n"):
                ledger = msgspec.json.decode(line, type=_Status).parts.get("order_manager", _Part())
                yield {lane.strategy_id for lane in ledger.lanes}
    except OSError:
        return


def _check_lane(run: Path, strategy: str) -> None:
    """Refuse what nobody would do; where nobody knows it is sent. A lane may be younger than a status."""
    known: set[str] = set()
    for known in islice(lanes(run), STATUSES):
        if not known or strategy in known:
            return
    if known:
        raise ActionRefused(f"there is no strategy {strategy!r}, only {', '.join(sorted(known))}")


def send(run: Path, action: OperatorAction) -> Answer:
    """Have it done. Raises ActionRefused, NoLiveRun, OSError."""
    token = read_token(run)
    try:
        port = parse_config((run / "config.json").read_bytes()).OrderBook.control_port
    except (OSError, ConfigError) as fault:
        raise NoLiveRun(f"{run}: no run's folder ({fault})") from None
    if token is None:
        raise NoLiveRun(f"{run}: it has no token")
    if isinstance(action, Action) and action.strategy is not None:
        _check_lane(run, action.strategy)
    try:
        with ControlClient(port, token) as client:
            return client.send(action)
    except ConnectionRefusedError:
        why = f"nobody listens at its control port {port}"
    except ActionRefused as fault:
        if str(fault) != WRONG_TOKEN:
            raise
        why = f"its control port {port} is another run's now"
    raise NoLiveRun(f"{run}: {why}" if goes_on(run) else f"{run}: this run is not going on: {why}")


def command(run: Path, verb: str, part: str) -> None:
    """Have main.py `kill` or `start` a part. Raises status_socket.Refused, NoLiveRun, OSError."""
    if not goes_on(run):
        raise NoLiveRun(f"{run}: this run is not going on: no main.py answers for it")
    ask(run / STATUS_SOCKET, {verb: part})
