"""`sim run`, and what can be done with the run it leaves: one live run, looked at from every side."""

import json
import os
import re
import shutil
import stat
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

import cli
from config import load_config
from testing.harness import running, segments, system_config, write_config

PATIENCE_S = 60.0
LATE_BUYER = """
def on_tick(ctx, tick):
    if tick.seq % 40 == 0:
        ctx.place_market_order("SELL" if ctx.position() > 0 else "BUY", ctx.get_param("quantity", 10))
"""


def sim(*arguments: object) -> Result:
    return CliRunner().invoke(cli.app, [str(argument) for argument in arguments])


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where `sim run` was called: `config.json`, `output`, and the run's folder below `runs`."""
    folder = tmp_path_factory.mktemp("live")
    for name in ("early", "late"):
        (folder / "class" / name).mkdir(parents=True)
        quantity = "10" if name == "early" else "5"
        (folder / "class" / name / "strategy.py").write_text(LATE_BUYER.replace("10)", f"{quantity})"))
    tree = system_config(
        folder,
        run={"seed": 1},
        Gateway={"provider": "random_walk", "pace": {"mode": "event"}, "schedule": {"dt_fixed_ms": 50}},
        Recorder={"enabled": True},
    )
    path = write_config(folder, tree)
    options = ("--headless", "--duration", "30s", "--speed", "30", "--seed", "7", "--hide-seed")
    arguments = ["cli.py", "run", "--config", str(path), *options, "--strategies", f"{folder}/class/*"]
    env = {"ALGOSIM_run__seed": "3", "ALGOSIM_Gateway__news__every_ticks": "20"}
    with running(arguments, folder, env) as process:
        assert process.popen.wait(PATIENCE_S) == 0, process.output
        (folder / "output").write_text(process.output)
    assert segments(tree["OrderBook"]["shared_memory_name"]) == []
    return folder


@pytest.fixture
def run(folder: Path) -> Path:
    (found,) = (folder / "runs").iterdir()
    return found


def test_what_was_typed_comes_before_the_environment_and_that_before_the_file(run: Path) -> None:
    config = load_config(run / "config.json", {})
    assert (config.run.seed, config.run.duration_s, config.Gateway.schedule.speed) == (7, 30.0, 30.0)
    assert config.Gateway.news.every_ticks == 20
    assert [entry.id for entry in config.Strategy.strategies] == ["early", "late"]
    manifest = json.loads((run / "manifest.json").read_bytes())
    assert manifest["seeds"] == {"run": 7}
    assert manifest["comparable"] is True, manifest["why_not"]


def test_a_hidden_seed_is_shown_to_nobody(folder: Path, run: Path) -> None:
    assert stat.S_IMODE(run.stat().st_mode) == 0o700
    assert "seed" not in (folder / "output").read_text()


def test_a_headless_run_says_a_line_a_second_and_ranks_who_competes(folder: Path) -> None:
    output = (folder / "output").read_text()
    lines = [line for line in output.splitlines() if re.match(r" +\d+\.\d s  ", line)]
    assert len(lines) > 2
    assert "ticks 2,400" in lines[-1] and re.search(
        r"equity [\d,.]+  1 (early|late) [\d,.]+ \([+-]", lines[-1]
    )
    assert re.search(r"^  1 (early|late) +[+-]0\.\d+ %", output, re.MULTILINE)
    assert re.search(r"^report: .*/report\.html$", output, re.MULTILINE)
    assert "\x1b" not in output


def test_its_evaluation_and_its_replay_are_the_same(run: Path, tmp_path: Path) -> None:
    evaluated = sim("eval", "--like", run, "--out", tmp_path / "like", "--no-ticks")
    assert evaluated.exit_code == 0, evaluated.output
    for name in ("trades.csv", "equity.csv"):
        assert (tmp_path / "like" / name).read_bytes() == (run / name).read_bytes()
    same = sim("diff", run, tmp_path / "like")
    assert (same.exit_code, same.output) == (0, "the same: every record, every order, every row\n")
    again = sim("replay", run, "--step", "--speed", "1e6")
    assert again.exit_code == 0, again.output
    orders = re.findall(
        r"^2025-01-02 14:30:[\d.]+  record +\d+  (?:early|late): .* BUY ", again.output, re.MULTILINE
    )
    assert len(orders) > 10
    assert "requests are the same" in again.output


def test_an_evaluation_that_is_another_one_differs_at_a_named_event(run: Path, tmp_path: Path) -> None:
    options = (
        "--config",
        run / "config.json",
        "--param",
        "quantity=6",
        "--out",
        tmp_path / "other",
        "--no-ticks",
    )
    assert sim("eval", *options).exit_code == 0
    done = sim("diff", run, tmp_path / "other")
    assert done.exit_code == 3
    assert "the first difference is at record 40" in done.output


def test_a_strategy_that_is_not_what_it_was_does_not_replay(run: Path) -> None:
    kept = {path: path.read_text() for path in (run / "strategies").glob("*.py")}
    try:
        for path, text in kept.items():
            path.write_text(text.replace("% 40", "% 41"))
        done = sim("replay", run)
    finally:
        for path, text in kept.items():
            path.write_text(text)
    assert done.exit_code == 3
    assert "the first difference: " in done.output and "at record 40" in done.output


def test_doctor_and_report_know_the_run(run: Path) -> None:
    healthy = sim("doctor", run)
    assert healthy.exit_code == 0
    assert "an evaluation of it gives the same files" in healthy.output
    assert "the tape is complete" in healthy.output
    (run / "report.html").unlink()
    done = sim("report", run)
    assert done.exit_code == 0 and done.output.strip() == str(run / "report.html")


def test_what_is_left_of_a_damaged_run_is_said_and_not_guessed(run: Path, tmp_path: Path) -> None:
    damaged = tmp_path / "damaged"
    shutil.copytree(run, damaged, ignore=shutil.ignore_patterns("status.sock"))
    os.truncate(damaged / "tape.bin", 480)
    assert sim("replay", damaged).exit_code in (3, 65)
    (damaged / "manifest.json").unlink()
    done = sim("doctor", damaged)
    assert done.exit_code == 3
    assert "there is none that can be read" in done.output


def test_a_run_says_all_of_it_so_like_takes_nothing_else(run: Path) -> None:
    assert sim("eval", "--like", run, "--seed", 5).exit_code == 2
