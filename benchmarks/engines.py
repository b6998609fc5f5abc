"""Evaluation beside other backtesting engines: the same ticks, the same moving averages, market orders.

    python benchmarks/engines.py [--ticks 500000] [--rounds 3] [--peers PYTHON]

Every engine runs in a process of its own, in interleaved rounds; the medians are printed with the machine's
load. `--peers` is an interpreter that has nautilus_trader, backtesting or hftbacktest installed (they are no
dependencies of ours); one that is missing is skipped, and the table says why.

A row's time is from a market in memory to the result, without imports: ours is `lab.evaluate` whole, which
makes the market, runs the strategy, its orders and its books and writes the tables.
"""

import argparse
import json
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

ROOT: Final = Path(__file__).resolve().parents[1]
SEED: Final = 42
WINDOWS: Final = {"10/50": (10, 50), "50/200": (50, 200)}
QUANTITY: Final = 10


# ------------------------------------------------------------------------------------------------ the ticks


def market(ticks: int) -> dict[str, Any]:
    """One symbol in whole cents, a tick every 200 ms."""
    return {
        "symbols": ["AAPL"],
        "instruments": {"AAPL": {"tick_size": 0.01}},
        "run": {"seed": SEED, "duration_s": ticks / 1000},
        "Gateway": {
            "provider": "random_walk",
            "news": {"every_ticks": 0},
            "pace": {"mode": "ticks_per_s", "ticks_per_s": 1000},
        },
    }


def save_ticks(ticks: int, path: Path) -> None:
    """The market's prices in cents and times in ns, for the others."""
    import numpy as np

    from config import check_config
    from lab.market import Market
    from trading_lib.models import Kind

    source = Market(check_config(market(ticks)))
    chunks = []
    while len(chunk := source.read(1 << 16)):
        chunks.append(chunk[chunk["kind"] == Kind.TICK])
    source.close()
    found = np.concatenate(chunks)
    np.save(path, np.stack([np.rint(found["value"] * 100).astype(np.int64), found["ts"]]))


# ---------------------------------------------------------------------------------------------- the engines


def ours(_: Path, ticks: int, fast: int, slow: int) -> tuple[float, int]:
    """`lab.evaluate` with the shipped strategy file."""
    from lab import evaluate

    began = time.perf_counter()
    params = {"fast": fast, "slow": slow, "quantity": QUANTITY}
    result = evaluate(ROOT / "strategies/sma_crossover/strategy.py", config=market(ticks), params=params)
    return time.perf_counter() - began, result.outcomes[0].orders


def nautilus(path: Path, _: int, fast: int, slow: int) -> tuple[float, int]:
    """nautilus_trader's BacktestEngine, fed with trade ticks."""
    from benchmarks import engines_nautilus

    return engines_nautilus.run(path, fast, slow, QUANTITY)


def backtesting_py(path: Path, _: int, fast: int, slow: int) -> tuple[float, int]:
    """backtesting.py, a bar a tick; its averages are computed beforehand, all at once."""
    from benchmarks import engines_backtesting

    return engines_backtesting.run(path, fast, slow, QUANTITY)


ENGINES: Final[dict[str, tuple[str, Callable[[Path, int, int, int], tuple[float, int]]]]] = {
    "algosim": ("", ours),
    "nautilus_trader": ("nautilus_trader", nautilus),
    "backtesting.py": ("backtesting", backtesting_py),
}
NOT_MEASURED: Final = {
    "hftbacktest": "its strategies are compiled loops over order books, not called tick by tick",
}


def one(name: str, path: Path, ticks: int, fast: int, slow: int) -> None:
    """Run one engine here and print its seconds and orders, as JSON."""
    took, orders = ENGINES[name][1](path, ticks, fast, slow)
    print(json.dumps({"seconds": took, "orders": orders}))


# ------------------------------------------------------------------------------------------------- the table


def measured(python: str, name: str, path: Path, ticks: int, windows: str) -> dict[str, Any] | str:
    """One engine in a process of its own: seconds and orders, or why there are none."""
    command = [python, str(Path(__file__).resolve()), "--one", name, "--ticks", str(ticks)]
    ran = subprocess.run(
        [*command, "--windows", windows, "--file", str(path)], cwd=ROOT, capture_output=True, text=True
    )
    if ran.returncode:
        return ran.stderr.strip().splitlines()[-1] if ran.stderr.strip() else f"exit code {ran.returncode}"
    found: dict[str, Any] = json.loads(ran.stdout.splitlines()[-1])
    return found


def installed(python: str, package: str) -> bool:
    """Whether an interpreter can import a package."""
    return (
        not package or not subprocess.run([python, "-c", f"import {package}"], capture_output=True).returncode
    )


def compare(ticks: int, rounds: int, peers: str, folder: Path) -> list[str]:
    """The table's lines."""
    from benchmarks.machine import describe_machine, load

    path = folder / "ticks.npy"
    save_ticks(ticks, path)
    machine, before = describe_machine(), load()
    lines = [
        f"{ticks:,} ticks of one symbol; {machine['cpu']}, {machine['cores']} cores, Python {machine['python']}"
    ]
    for windows in WINDOWS:
        found: dict[str, list[dict[str, Any] | str]] = {name: [] for name in ENGINES}
        for _ in range(rounds):
            for name, (package, _) in ENGINES.items():
                python = peers if package else sys.executable
                missing = f"{package} is not installed (--peers)"
                known = installed(python, package)
                found[name].append(measured(python, name, path, ticks, windows) if known else missing)
        lines += ["", f"moving averages {windows}", *_rows(ticks, found)]
    lines += ["", *(f"{name}: not measured, {why}" for name, why in NOT_MEASURED.items())]
    return [*lines, f"load before {before}, after {load()}"]


def _rows(ticks: int, found: dict[str, list[dict[str, Any] | str]]) -> list[str]:
    rates: dict[str, float] = {}
    rows = []
    for name, results in found.items():
        good = [result for result in results if isinstance(result, dict)]
        if not good:
            rows.append(f"  {name:<16} skipped: {results[0]}")
            continue
        rates[name] = ticks / statistics.median(result["seconds"] for result in good)
        times = rates["algosim"] / rates[name] if "algosim" in rates else 0.0
        rows.append(
            f"  {name:<16} {rates[name]:>11,.0f} ticks/s  {good[0]['orders']:>7,} orders  1/{times:.1f} of algosim"
            if name != "algosim"
            else f"  {name:<16} {rates[name]:>11,.0f} ticks/s  {good[0]['orders']:>7,} orders"
        )
    return rows


def main() -> None:
    """Measure and print; `--one` is what the table starts for each row."""
    parser = argparse.ArgumentParser(prog="engines.py", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--ticks", type=int, default=500_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--peers", default=sys.executable, help="an interpreter that has the other engines")
    parser.add_argument("--one", choices=ENGINES, help=argparse.SUPPRESS)
    parser.add_argument("--windows", choices=WINDOWS, default="10/50", help=argparse.SUPPRESS)
    parser.add_argument("--file", type=Path, default=Path("ticks.npy"), help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.one:
        one(arguments.one, arguments.file, arguments.ticks, *WINDOWS[arguments.windows])
        return
    import tempfile

    with tempfile.TemporaryDirectory(prefix="engines-") as folder:
        for line in compare(arguments.ticks, arguments.rounds, arguments.peers, Path(folder)):
            print(line)


if __name__ == "__main__":
    sys.path.insert(0, str(ROOT))
    main()
