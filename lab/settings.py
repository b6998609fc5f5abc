"""The effective configuration of a command: a file, the environment, and what was typed."""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import msgspec
import typer

from config import Config, check_config, load_config
from lab.arguments import in_project, strategy_id
from lab.params import unknown_params

Tree = dict[str, Any]


def configured(path: Path, *changes: Mapping[str, Any]) -> Config:
    """A configuration file with some keys changed: `{"run": {"seed": 7}}`. Raises ConfigError."""
    config = load_config(path)
    if not any(changes):
        return config
    tree: Tree = msgspec.to_builtins(config)
    for change in changes:
        _merge(tree, change)
    return check_config(tree, f"{path.name} with the command line")


def _merge(tree: Tree, changes: Mapping[str, Any]) -> None:
    for key, value in changes.items():
        if isinstance(value, Mapping) and isinstance(tree.get(key), dict):
            _merge(tree[key], value)
        else:
            tree[key] = value


def run_changes(
    *,
    seed: int | None = None,
    hide_seed: bool = False,
    duration_s: float | None = None,
    speed: float | None = None,
) -> Tree:
    """What is said of a run; what was not typed changes nothing."""
    run = {"seed": seed, "hide_seed": hide_seed or None, "duration_s": duration_s}
    tree: Tree = {"run": {key: value for key, value in run.items() if value is not None}}
    if speed is not None:
        tree["Gateway"] = {"schedule": {"speed": speed}}
    return tree


def strategies_change(config: Config, files: Iterable[Path], params: Mapping[str, Any] | None = None) -> Tree:
    """Run these files, each with the parameters that the configuration has for it, and `params` over them."""
    configured_params = {entry.path: entry.params for entry in config.Strategy.entries}
    entries = []
    for file in files:
        path = in_project(file)
        entries.append(
            {
                "id": strategy_id(file),
                "path": path,
                "params": configured_params.get(path, {}) | dict(params or {}),
            }
        )
    return {"Strategy": {"strategies": entries}}


def check_params(config: Config, names: Iterable[str]) -> None:
    """Refuse parameters that none of the strategies knows: see `unknown_params`. Raises BadParameter."""
    if text := unknown_params(config.Strategy.entries, names):
        raise typer.BadParameter(text)
