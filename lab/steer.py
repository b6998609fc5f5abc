"""An operator's words, as actions on a run that is going on.

send(live_run(runs), action_of("speed", ["20"]))
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Final, get_args

import msgspec

from config import ConfigError, parse_config
from lab.arguments import parameter
from OrderBook.control_client import Answer, ControlClient
from runtime.run_folder import read_token
from trading_lib.control import OperatorAction

POSITIONAL: Final = {
    "speed": "speed",
    "reset": "seed",
    "kill_switch": "strategy",
    "params": "strategy",
    "hot_reload": "on",
}  # what may stand without its name

TABLES: Final = {
    "model": ("changes", ()),
    "params": ("params", ("strategy",)),
}  # whose words go into a table of names, but for its own

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
        raise UnknownAction(f"{name}: {fault}") from None
    known = action.__struct_fields__
    unknown = fields.keys() - set(known)
    if unknown:
        raise UnknownAction(f"{name} knows no {min(unknown)!r}, only {', '.join(known) or 'itself'}")
    return action


def live_run(runs: Path) -> Path:
    """The folder of the newest run that is going on. Raises NoLiveRun."""
    live = [status.parent for status in runs.glob("*/status.sock")]
    if not live:
        raise NoLiveRun(f"no run is going on below {runs}: start one with `sim run`")
    return max(live, key=lambda folder: folder.stat().st_mtime)


def send(run: Path, action: OperatorAction) -> Answer:
    """Have it done. Raises ActionRefused, NoLiveRun, OSError."""
    token = read_token(run)
    try:
        port = parse_config((run / "config.json").read_bytes()).OrderBook.control_port
    except (OSError, ConfigError) as fault:
        raise NoLiveRun(f"{run}: no run's folder ({fault})") from None
    if token is None:
        raise NoLiveRun(f"{run}: it has no token")
    with ControlClient(port, token) as client:
        return client.send(action)
