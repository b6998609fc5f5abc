"""`sim doctor`: what is wrong with a strategy file, a configuration, or a run's folder.

for finding in diagnose(Path("strategies/mine")):
    print(finding)
"""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from config import ConfigError, load_config, missed_meetings, resolve
from lab.dry_run import DryRun, dry_run
from lab.findings import Finding, error, ok, warning
from lab.run_checks import check_run
from lab.static_checks import check_source
from lab.system_checks import check_system

CONFIGURATIONS = (".json", ".yaml", ".yml")


class NothingToCheck(Exception):
    """A path that is no strategy file, configuration or run; the message says what was expected."""


def diagnose(path: Path, params: Mapping[str, Any] | None = None) -> Iterator[Finding]:
    """Everything found, as it is found. `params` are those of a strategy's dry run. Raises NothingToCheck."""
    file = path / "strategy.py" if (path / "strategy.py").is_file() else path
    if not file.exists():
        raise NothingToCheck(f"{path}: no such file or folder")
    if file.is_dir():
        return check_run(file)
    if file.suffix == ".py":
        return check_strategy(file, params or {})
    if file.suffix in CONFIGURATIONS:
        return check_config_file(file)
    raise NothingToCheck(
        f"{path}: expected a strategy (.py), a configuration ({', '.join(CONFIGURATIONS)}) or a run"
    )


def check_strategy(file: Path, params: Mapping[str, Any], name: str = "") -> Iterator[Finding]:
    """A strategy file: first its text, then, unless that is hopeless, a dry run. `name` is what it is called."""
    name = name or str(file)
    try:
        source = file.read_bytes()
    except OSError as fault:
        yield error(name, f"cannot be read: {fault.strerror}")
        return
    found = check_source(source, name)
    yield from found
    yield from _after_dry_run(dry_run(file, params), name)


def _after_dry_run(result: DryRun, name: str) -> Iterator[Finding]:
    where, outcome = f"{name}: dry run", result.outcome
    if outcome is None:
        yield error(where, result.fault)
        return
    for text in result.unenforced:
        yield warning("sandbox", text, "what a strategy must not do is not enforced here")
    if outcome.errors:
        yield error(where, f"{outcome.errors:,} exceptions, the last one {outcome.last_error}")
    if result.denied_calls:
        denied = ", ".join(f"{call} {count:,}" for call, count in sorted(result.denied_calls.items()))
        yield error(where, f"the sandbox denied {denied}")
    did = (
        f"{outcome.ticks:,} ticks, {outcome.orders:,} orders, {outcome.fills:,} fills, "
        f"{outcome.denied:,} denied, {result.us_per_tick:.1f} µs a tick"
    )
    if outcome.orders or outcome.errors:
        yield ok(where, did)
    else:
        reasons = ", ".join(f"{reason} {count:,}" for reason, count in outcome.why_no_trade.items())
        yield warning(where, did, f"why no trade: {reasons or 'the strategy does not say (ctx.no_trade)'}")


def check_config_file(file: Path) -> Iterator[Finding]:
    """A configuration: its keys, its data, its strategies, and whether this machine can run it now."""
    try:
        config = load_config(file)
    except ConfigError as fault:
        yield error(str(file), str(fault))
        return
    yield ok(str(file), f"symbols {len(config.symbols)}, strategies {len(config.Strategy.entries)}")
    for missed in missed_meetings(config):
        yield error(str(file), missed, "only parts that run alone may look elsewhere")
    yield from check_system(config)
    for entry in config.Strategy.entries:
        yield from check_strategy(resolve(entry.path), entry.params, f"{entry.id} ({entry.path})")
