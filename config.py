"""The one configuration: typed, checked once, errors by path and value.

    config = load_config("config.json")
    config.Strategy.short_window

Its keys are in `configuration/sections.py`, the rules between them in `configuration/rules.py`, where
the parts meet in `configuration/meeting.py`. Paths inside a configuration are relative to the project's root, so
that a copy kept in `runs/<id>/` means the same thing.
"""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import msgspec

from configuration.market import DEFAULT_MODEL
from configuration.meeting import missed_meetings, with_meetings
from configuration.rules import broken_rules
from configuration.sections import (
    Config,
    DashboardSection,
    Execution,
    GatewaySection,
    Instrument,
    OrderBookSection,
    OrderManagerSection,
    RecorderSection,
    Risk,
    Run,
    StrategyEntry,
    StrategySection,
)
from configuration.wording import explain

__all__ = [
    "DEFAULT_CONFIG",
    "ENVIRONMENT",
    "ROOT",
    "ConfigError",
    "load_config",
    "read_tree",
    "parse_config",
    "check_config",
    "missed_meetings",
    "is_override",
    "resolve",
    "to_json",
    "Config",
    "Instrument",
    "Run",
    "GatewaySection",
    "OrderBookSection",
    "StrategySection",
    "StrategyEntry",
    "OrderManagerSection",
    "Execution",
    "Risk",
    "RecorderSection",
    "DashboardSection",
]

ROOT: Final = Path(__file__).resolve().parent
DEFAULT_CONFIG: Final = ROOT / "config.json"

ENVIRONMENT: Final = "ALGOSIM_"  # ALGOSIM_Gateway__pace__ticks_per_s=1000 overrides one key


class ConfigError(Exception):
    """A configuration that cannot be used; the message names file, key, value and what is allowed."""


def resolve(path: str) -> Path:
    """A path of a configuration: absolute, or relative to the project's root."""
    return ROOT / path


def load_config(path: str | Path = DEFAULT_CONFIG, environment: Mapping[str, str] = os.environ) -> Config:
    """Read and check a configuration, JSON or YAML by its name. Raises ConfigError.

    Environment variables override single keys: `ALGOSIM_Gateway__pace__ticks_per_s=1000`, the value as JSON,
    or else as text.
    """
    path = Path(path)
    tree = read_tree(path)
    source = path.name
    for name in sorted(filter(is_override, environment)):
        _override(tree, name.removeprefix(ENVIRONMENT).split("__"), environment[name], name)
        source = f"{path.name} with {ENVIRONMENT}…"
    return check_config(tree, source)


def is_override(name: str) -> bool:
    """Whether an environment variable overrides a key."""
    return name.startswith(ENVIRONMENT) and "__" in name.removeprefix(ENVIRONMENT)


def read_tree(path: Path) -> Any:
    """A configuration file as plain values, not checked yet. Raises ConfigError."""
    try:
        raw = path.read_bytes()
    except OSError as fault:
        raise ConfigError(f"{path}: cannot be read: {fault.strerror}") from None
    if path.suffix in (".yaml", ".yml"):
        import yaml  # 20 ms, and most configurations are JSON

        try:
            return yaml.safe_load(raw)
        except yaml.YAMLError as fault:
            raise ConfigError(f"{path.name}: not YAML: {' '.join(str(fault).split())}") from None
    return _parse_json(raw, path.name)


def _parse_json(raw: bytes, source: str) -> Any:
    try:
        return msgspec.json.decode(raw)
    except msgspec.DecodeError as fault:
        raise ConfigError(f"{source}: not JSON: {fault}") from None


def _override(tree: Any, keys: list[str], text: str, name: str) -> None:
    """Set one key of a configuration that is not checked yet."""
    for key in keys[:-1]:
        if isinstance(tree, dict):
            tree = tree.setdefault(key, {})
    if not isinstance(tree, dict):
        raise ConfigError(f"{name}: {'.'.join(keys)} is not below an object")
    try:
        tree[keys[-1]] = msgspec.json.decode(text)
    except msgspec.DecodeError:
        tree[keys[-1]] = text


def parse_config(raw: bytes, source: str = "config.json") -> Config:
    """Check a configuration given as JSON text; `source` is what errors call it. Raises ConfigError."""
    return check_config(_parse_json(raw, source), source)


def check_config(tree: Any, source: str = "config.json") -> Config:
    """Check a configuration given as plain values; `source` is what errors call it. Raises ConfigError."""
    try:
        config = msgspec.convert(tree, Config)
    except msgspec.ValidationError as fault:
        raise ConfigError(explain(source, tree, str(fault))) from None
    config = with_meetings(config, tree)
    for broken in broken_rules(config):
        raise ConfigError(f"{source}: {broken}")
    return _with_model_written_out(config)


def _with_model_written_out(config: Config) -> Config:
    """With every parameter of a simulated market, so that a run says what it was though defaults change."""
    gateway = config.Gateway
    if gateway.provider != "simulated":
        return config
    name = (gateway.model or {}).get("type", DEFAULT_MODEL)
    model = {"type": name, **msgspec.to_builtins(gateway.market)}
    return msgspec.structs.replace(config, Gateway=msgspec.structs.replace(gateway, model=model))


def to_json(config: Config) -> bytes:
    """The effective configuration, every default written out, as indented JSON."""
    return msgspec.json.format(msgspec.json.encode(config), indent=2) + b"\n"
