"""`sim`: every command, its exit codes, and what a person is told."""

import importlib
import json
import re
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from typer.main import get_command
from typer.testing import CliRunner

import cli
from config import ROOT
from lab import scaffold
from testing.harness import segments, system_config, write_config

DATA = str(ROOT / "data" / "market_data-1.csv")
SCRIPT = Path(sys.executable).with_name("sim")
STRATEGY = str(ROOT / "strategies" / "sma_crossover")


def sim(*arguments: object) -> Any:
    return CliRunner().invoke(cli.app, [str(argument) for argument in arguments], env={"COLUMNS": "200"})


def commands(group: Any, path: tuple[str, ...] = ()) -> list[tuple[tuple[str, ...], Any]]:
    """Every command below a group, with what is typed for it."""
    found: list[tuple[tuple[str, ...], Any]] = []
    for name, command in group.commands.items():
        below = (*path, name)
        found += commands(command, below) if hasattr(command, "commands") else [(below, command)]
    return found


COMMANDS = commands(get_command(cli.app))


# ------------------------------------------------------------------------------------------------- help


@pytest.mark.parametrize(("path", "command"), COMMANDS, ids=[" ".join(path) for path, _ in COMMANDS])
def test_every_command_has_help_with_an_example_of_itself(path: tuple[str, ...], command: Any) -> None:
    assert command.epilog.startswith(f"Example:  sim {' '.join(path)}")
    shown = sim(*path, "--help")
    assert shown.exit_code == 0
    assert command.epilog in shown.output
    undocumented = [p.name for p in command.params if p.name != "help" and not getattr(p, "help", None)]
    assert undocumented == []


@pytest.mark.parametrize(
    "arguments", [["--help"], ["sweep", "--help"], ["data", "inspect"], ["run", "--fast"]]
)
def test_help_and_usage_do_not_load_what_only_commands_need(arguments: list[str]) -> None:
    code = (
        "import sys, cli\n"
        f"try: cli.app({arguments})\n"
        "except SystemExit: pass\n"
        "print(sorted({'pandas', 'numba', 'rich.progress', 'main', 'psutil'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"


def test_the_script_that_is_installed_is_the_command_line() -> None:
    pyproject = (ROOT / "pyproject.toml").read_text()
    assert 'sim = "cli:main"' in pyproject and callable(cli.main)


@pytest.mark.parametrize("arguments", [("fly",), ("run", "--fast"), ("eval", "--seed", "-1"), ("data",)])
def test_what_is_typed_wrongly_is_usage(arguments: tuple[str, ...]) -> None:
    assert sim(*arguments).exit_code == 2


@pytest.mark.parametrize(
    "arguments", [("run", "--duration", "3 weeks"), ("eval", "--duration", "x"), ("eval", "--param", "x")]
)
def test_a_value_that_cannot_be_is_usage_with_an_example_of_one_that_can(arguments: tuple[str, ...]) -> None:
    done = sim(*arguments)
    assert done.exit_code == 2
    assert "is like" in done.output


def test_a_speed_where_event_time_does_not_pace_is_usage(tmp_path: Path) -> None:
    done = sim("run", "--config", write_config(tmp_path, system_config(tmp_path)), "--speed", 10)
    assert done.exit_code == 2
    assert "Gateway.pace.mode is ticks_per_s" in done.output
    assert not (tmp_path / "runs").exists()


@pytest.mark.skipif(not SCRIPT.exists(), reason="`sim` is installed by make run and make test, not here")
def test_the_script_that_is_installed_works_from_anywhere(tmp_path: Path) -> None:
    done = subprocess.run([SCRIPT, "--help"], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert "new-strategy" in done.stdout


# -------------------------------------------------------------------------------------------- exit codes


def test_a_bad_configuration_is_78_with_key_and_value(tmp_path: Path) -> None:
    path = write_config(tmp_path, {"symbols": ["A"], "run": {"seed": "x"}})
    for command in (("run", "--config"), ("eval", "--config")):
        done = sim(*command, path)
        assert done.exit_code == 78
        assert "sim: config.json: run.seed = 'x': expected a whole number" in done.output


def test_a_strategy_file_that_cannot_be_used_is_78(tmp_path: Path) -> None:
    (tmp_path / "strategy.py").write_text("def on_tick(ctx, tick) pass")
    done = sim("eval", "--strategy", tmp_path, "--data", DATA)
    assert done.exit_code == 78
    assert "line 1: SyntaxError" in done.output


def test_a_run_of_a_strategy_file_that_cannot_be_loaded_is_78_and_never_begins(tmp_path: Path) -> None:
    (tmp_path / "strategy.py").write_text("def on_tock(ctx, tick): pass")
    config = write_config(tmp_path, system_config(tmp_path))
    done = sim("run", "--config", config, "--headless", "--strategies", tmp_path)
    assert done.exit_code == 78
    assert f"sim: {tmp_path}/strategy.py: a strategy has a function on_tick(ctx, tick)" in done.output
    assert not (tmp_path / "runs").exists()


def test_bad_data_is_65(tmp_path: Path) -> None:
    bad = tmp_path / "bad.csv"
    bad.write_text("timestamp,symbol,price\nx,A,1\n")
    for command in (("data", "inspect"), ("data", "import"), ("eval", "--data")):
        done = sim(*command, bad)
        assert done.exit_code == 65, command
        assert "line 2: bad timestamp" in done.output
    assert sim("report", tmp_path).exit_code in (65, 78)
    assert sim("compare", tmp_path).exit_code == 65
    assert not (ROOT / "data" / "bad.csv").exists()


def test_every_fault_with_an_exit_code_exists() -> None:
    for module, name in cli.FAULTS:
        assert issubclass(getattr(importlib.import_module(module), name), Exception)


def test_a_fault_of_our_own_is_not_dressed_up(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(_: Path) -> str:
        raise AssertionError("a bug")

    monkeypatch.setattr("lab.data_files.inspect", broken)
    assert isinstance(sim("data", "inspect", DATA).exception, AssertionError)


# ------------------------------------------------------------------------------------------------- eval


def test_an_evaluation_prints_its_table_and_writes_its_files(tmp_path: Path) -> None:
    out = tmp_path / "first"
    done = sim("eval", "--strategy", STRATEGY, "--data", DATA, "--out", out, "--param", "quantity=5")
    assert done.exit_code == 0, done.output
    assert "Market                   11,958 ticks" in done.output
    assert {"trades.csv", "equity.csv", "events.jsonl", "manifest.json", "report.html"} <= {
        path.name for path in out.iterdir()
    }
    config = json.loads((out / "manifest.json").read_text())["config"]
    assert config["Strategy"]["strategies"][0]["params"] == {"quantity": 5}


def test_an_evaluation_of_a_strategy_that_raises_has_failed(tmp_path: Path) -> None:
    (tmp_path / "strategy.py").write_text("def on_tick(ctx, tick): 1 / 0")
    done = sim("eval", "--strategy", tmp_path, "--data", DATA)
    assert done.exit_code == 1
    assert "ZeroDivisionError" in done.output


def test_evaluations_are_compared_in_one_table(tmp_path: Path) -> None:
    for name, quantity in (("small", 1), ("large", 10)):
        sim(
            "eval",
            "--strategy",
            STRATEGY,
            "--data",
            DATA,
            "--out",
            tmp_path / name,
            "--param",
            f"quantity={quantity}",
        )
    done = sim("compare", tmp_path / "small", tmp_path / "large")
    assert done.exit_code == 0
    lines = done.output.splitlines()
    assert lines[0].split() == ["small", "large"]
    fills = next(line for line in lines if line.startswith("Fills")).split()
    assert fills[1] == fills[2]
    commission = next(line for line in lines if line.startswith("Commission")).split()
    assert float(commission[2]) == pytest.approx(10 * float(commission[1]), rel=0.01)
    assert "not the same" not in done.output
    sim("eval", "--strategy", STRATEGY, "--data", DATA, "--out", tmp_path / "other", "--seed", "7")
    assert (
        "not the same in all of them: the seed"
        in sim("compare", tmp_path / "small", tmp_path / "other").output
    )


# ------------------------------------------------------------------------------------------------ sweep


def test_a_sweep_prints_its_table_and_what_the_best_is_worth() -> None:
    done = sim(
        "sweep", "--strategy", STRATEGY, "--data", DATA, "--param", "fast=5:10:5", "--param", "slow=20,40"
    )
    assert done.exit_code == 0, done.output
    assert "4 combinations were tried" in done.output
    assert "Deflated Sharpe ratio of the best" in done.output
    alone = sim("sweep", "--strategy", STRATEGY, "--data", DATA, "--param", "fast=5", "--no-baseline")
    assert "The probability that its true Sharpe ratio is above 0: " in alone.output
    assert "at random" not in alone.output


@pytest.mark.parametrize(
    ("options", "text"),
    [
        (("--param", "fats=5:10:5"), "did you mean fast?"),
        (("--param", "fast=5:10:5", "--where", "fast < slow"), "slow is no parameter that is varied"),
        (("--param", "fast=5:10:5", "--where", "fast > 99"), "leaves none of 2 combinations"),
        (("--param", "fast=5:10:5", "--where", "exit()"), "only names, numbers"),
        (("--param", "fast=x:y:z"), "a range is from:to:step"),
        ((), "Missing option"),
    ],
)
def test_a_sweep_that_makes_no_sense_is_usage(options: tuple[str, ...], text: str) -> None:
    done = sim("sweep", "--strategy", STRATEGY, "--data", DATA, *options)
    assert done.exit_code == 2
    assert text in done.output


def test_a_parameter_that_no_strategy_knows_is_usage() -> None:
    done = sim("eval", "--strategy", STRATEGY, "--data", DATA, "--param", "quantty=5")
    assert done.exit_code == 2
    assert "no strategy here has a parameter quantty: did you mean quantity?" in done.output


# ----------------------------------------------------------------------------------------- new-strategy


@pytest.fixture
def strategies(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "strategies"
    monkeypatch.setattr(scaffold.new_strategy, "__defaults__", (folder,))
    return folder


def test_a_new_strategy_is_short_passes_doctor_and_trades(strategies: Path) -> None:
    done = sim("new-strategy", "my_first")
    assert done.exit_code == 0, done.output
    file = strategies / "my_first" / "strategy.py"
    assert len(file.read_text().splitlines()) < 25
    assert str(file) in done.output
    assert sim("doctor", file).exit_code == 0
    evaluated = sim("eval", "--strategy", file, "--data", DATA)
    assert evaluated.exit_code == 0
    assert int(re.search(r"Fills +([\d,]+)", evaluated.output)[1].replace(",", "")) > 100  # type: ignore[index]


@pytest.mark.parametrize(
    "name", ["../evil", "a/b", "/abs", "..", "", "1st", "class", "a b", "a.py", "é", "x" * 25, "-x", "."]
)
def test_a_name_that_leaves_the_folder_or_is_no_identifier_is_refused(strategies: Path, name: str) -> None:
    done = sim("new-strategy", "--", name)
    assert done.exit_code == 2
    assert not strategies.exists()


def test_what_is_there_already_is_never_written_over(strategies: Path) -> None:
    sim("new-strategy", "mine")
    file = strategies / "mine" / "strategy.py"
    file.write_text("precious")
    done = sim("new-strategy", "mine")
    assert done.exit_code == 2 and "is there already" in done.output
    assert file.read_text() == "precious"
    (strategies / "link").symlink_to(strategies.parent / "elsewhere")
    assert sim("new-strategy", "link").exit_code == 2
    assert not (strategies.parent / "elsewhere").exists()


# ----------------------------------------------------------------------------------------------- doctor


def test_doctor_exits_3_and_names_what_is_wrong_and_what_was_meant(tmp_path: Path) -> None:
    file = tmp_path / "strategy.py"
    file.write_text("def on_tick(ctx, tick):\n    if ctx.postion():\n        pass\n")
    done = sim("doctor", file)
    assert done.exit_code == 3
    assert f"{file}:2: ctx has no postion" in done.output
    assert "did you mean position?" in done.output
    assert "20,000 exceptions" in done.output


def test_doctor_speaks_json_to_tools(tmp_path: Path) -> None:
    file = tmp_path / "mine.py"
    file.write_text("def on_tick(ctx, tick): pass\n")
    done = sim("doctor", "--json", file)
    assert done.exit_code == 0
    answer = json.loads(done.output)
    assert answer["ok"] is True
    own = [finding for finding in answer["findings"] if finding["where"] != "sandbox"]
    assert [finding["level"] for finding in own] == ["warning"]
    assert "why no trade" in own[0]["hint"]


def test_doctor_of_a_configuration_knows_ports_segments_data_and_strategies(tmp_path: Path) -> None:
    tree = system_config(tmp_path)
    name = tree["OrderBook"]["shared_memory_name"]
    path = write_config(tmp_path, tree)
    healthy = sim("doctor", path)
    assert healthy.exit_code == 0, healthy.output
    assert "ports: " in healthy.output and "11,958 rows of market_data-1.csv" in healthy.output
    assert "sma_news" in healthy.output and "libraries: msgspec" in healthy.output
    with socket.create_server(("127.0.0.1", tree["OrderManager"]["port"])):
        taken = sim("doctor", path)
    assert taken.exit_code == 3
    assert (
        f"OrderManager.port: 127.0.0.1:{tree['OrderManager']['port']}: Address already in use" in taken.output
    )
    assert segments(name) == []


def test_to_doctor_a_busy_port_of_the_dashboard_is_a_warning_for_the_run_goes_on(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        tree = system_config(tmp_path, Dashboard={"enabled": True, "port": port})
        found = sim("doctor", write_config(tmp_path, tree))
    assert found.exit_code == 0, found.output
    assert f"Dashboard.port: 127.0.0.1:{port}: Address already in use" in found.output


def test_doctor_of_a_configuration_whose_parts_would_not_meet_names_both_keys(tmp_path: Path) -> None:
    tree = system_config(tmp_path, OrderManager={"shared_memory_name": "elsewhere"})
    done = sim("doctor", write_config(tmp_path, tree))
    assert done.exit_code == 3
    name = tree["OrderBook"]["shared_memory_name"]
    said = f"OrderManager.shared_memory_name (elsewhere) must be OrderBook.shared_memory_name ({name})"
    assert said in done.output


def test_doctor_of_a_bad_configuration_says_what_load_says(tmp_path: Path) -> None:
    done = sim("doctor", write_config(tmp_path, {"symbols": []}))
    assert done.exit_code == 3
    assert "symbols = []" in done.output


def test_doctor_of_missing_data_and_strategies_names_the_keys(tmp_path: Path) -> None:
    strategy = {"id": "none", "path": str(tmp_path / "none.py")}
    tree = system_config(tmp_path, Gateway={"data_path": "none.csv"}, Strategy={"strategies": [strategy]})
    done = sim("doctor", write_config(tmp_path, tree))
    assert done.exit_code == 3
    assert "Gateway.data_path: " in done.output
    assert "none (" in done.output and "cannot be read: No such file" in done.output


def test_doctor_of_an_evaluation_says_what_can_be_done_with_it(tmp_path: Path) -> None:
    sim("eval", "--strategy", STRATEGY, "--data", DATA, "--out", tmp_path / "e")
    done = sim("doctor", tmp_path / "e")
    assert done.exit_code == 0
    assert "288 fills of sma_crossover" in done.output and "an evaluation is not replayed" in done.output


def test_doctor_of_nothing_it_knows_is_usage(tmp_path: Path) -> None:
    (tmp_path / "x.txt").write_text("")
    assert sim("doctor", tmp_path / "x.txt").exit_code == 2
    assert sim("doctor", tmp_path / "none").exit_code == 2
    assert sim("doctor", tmp_path).exit_code == 3  # a folder that is no run


# ------------------------------------------------------------------------------------------------- data


def test_an_import_says_where_and_refuses_to_write_over_it(tmp_path: Path) -> None:
    out = tmp_path / "out.csv"
    done = sim("data", "import", DATA, "--out", out)
    assert done.exit_code == 0 and f"wrote 11,958 rows to {out}" in done.output
    again = sim("data", "import", DATA, "--out", out)
    assert again.exit_code == 2 and "is there already" in again.output
    assert "4,0" not in sim("data", "inspect", out).output
