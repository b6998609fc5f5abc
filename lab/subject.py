"""What is to be evaluated: any way of saying it, as a configuration and the strategies' modules."""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any, Final, NamedTuple

import msgspec

from config import Config, ConfigError, StrategyEntry, check_config, load_config, resolve
from Gateway.providers import CsvProvider
from lab.params import unknown_params
from Recorder.manifest import Known
from trading_lib.strategy_file import StrategyError, load_strategy, version_files, version_of

Named = str | Path | ModuleType | StrategyEntry
Strategies = Named | Sequence[Named] | None
Configured = Config | str | Path | Mapping[str, Any] | None
LONGEST_ID: Final = 24


class Subject(NamedTuple):
    """A market, strategies and terms; `given` are the modules that were handed over instead of files.

    `known` are the versions of those given that have one.
    """

    config: Config
    given: Mapping[str, ModuleType]
    known: Sequence[Known] = ()

    def modules(self) -> dict[str, ModuleType]:
        """The strategies by id, files imported anew. Raises StrategyError."""
        return {
            entry.id: self.given.get(entry.id) or load_strategy(resolve(entry.path))
            for entry in self.config.Strategy.entries
        }

    def versions(self) -> list[Known]:
        """What the strategy files are now; a module that was handed over has a version only if it is known."""
        return [
            *self.known,
            *(
                Known(entry.id, entry.path, _version(resolve(entry.path)))
                for entry in self.config.Strategy.entries
                if entry.id not in self.given
            ),
        ]


def subject_of(
    strategy: Strategies,
    data: str | Path | None,
    config: Configured,
    params: Mapping[str, Any] | None,
    seed: int | None,
    duration_s: float | None,
) -> Subject:
    """See `lab.evaluation.evaluate`. Raises ConfigError, DataError, StrategyError."""
    found = _config(config, data)
    given: dict[str, ModuleType] = {}
    entries = list(found.Strategy.entries)
    if strategy is not None:
        wanted = [strategy] if isinstance(strategy, Named) else list(strategy)
        entries = [_entry(each, given) for each in wanted]
        if not entries:
            raise StrategyError("there is no strategy to evaluate")
    if params:
        if text := unknown_params(entries, params):
            raise ConfigError(text)
        entries = [_replace(entry, params={**entry.params, **params}) for entry in entries]
    gateway, run = found.Gateway, found.run
    if data is not None:
        gateway = _replace(gateway, provider="csv", data_path=_located(data))
    if seed is not None:
        run = _replace(run, seed=seed)
    if duration_s is not None:
        run = _replace(run, duration_s=duration_s)
    if not run.duration_s:
        if gateway.provider != "csv":
            raise ConfigError(
                f"a {gateway.provider} market never ends: say for how long, with --duration or run.duration_s"
            )
        gateway = _replace(gateway, loop=False)  # one pass: what a run without an end begins with
    section = _replace(found.Strategy, strategies=tuple(entries))
    whole = _replace(found, Gateway=gateway, run=run, Strategy=section)
    return Subject(check_config(msgspec.to_builtins(whole), "evaluation"), given)


def _config(config: Configured, data: str | Path | None) -> Config:
    """A whole configuration; without one the defaults, with the symbols of the data."""
    if isinstance(config, Config):
        return config
    if isinstance(config, str | Path):
        return load_config(config)
    if config is not None and "symbols" in config:
        return check_config(config, "config")
    if data is None:
        return load_config() if config is None else check_config({"symbols": load_config().symbols, **config})
    symbols = CsvProvider(resolve(_located(data))).symbols
    return check_config({"symbols": symbols, **(config or {})}, "config")


def _entry(strategy: Named, given: dict[str, ModuleType]) -> StrategyEntry:
    """An entry of the configuration; a second one of the same name gets a number."""
    if isinstance(strategy, StrategyEntry):
        return strategy
    if isinstance(strategy, ModuleType):
        path = str(getattr(strategy, "__file__", "") or strategy.__name__)
        entry = StrategyEntry(id=_id(str(getattr(strategy, "NAME", strategy.__name__))), path=path)
        given[entry.id] = strategy
        return entry
    path = _located(strategy)
    stem = Path(path).parent.name if Path(path).name == "strategy.py" else Path(path).stem
    return StrategyEntry(id=_id(stem), path=path)


def _id(name: str) -> str:
    """A name as a strategy's id may be written."""
    return re.sub(r"[^A-Za-z0-9._\-]", "_", name)[:LONGEST_ID] or "strategy"


def _located(path: str | Path) -> str:
    """A path as configurations have it: relative to the project if it is there, else to where we are."""
    return str(path) if resolve(str(path)).exists() else str(Path(path).absolute())


def _version(path: Path) -> str:
    try:
        return version_of(version_files(path))
    except OSError as fault:
        raise StrategyError(f"{path}: {fault.strerror}") from None


def _replace(section: Any, **changes: Any) -> Any:
    return msgspec.structs.replace(section, **changes)
