"""The list of runs: what it says is what the runs' files say, and no folder can stop it."""

import json
import shutil
import socket
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from unittest.mock import patch

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner

import cli
from lab import evaluate
from lab.account_tail import LastMoney, last_money
from lab.run_list import list_runs, summary
from lab.summary import measured
from Recorder.run_files import load_run
from Recorder.tables import NotARun

DATA = "data/market_data-1.csv"
CROSSOVER = "strategies/sma_crossover/strategy.py"
HEADER = "epoch,ts,strategy_id,position_A,cash,last_price,unrealized,realized,commission,equity\n"


@pytest.fixture(scope="module")
def evaluation(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("evaluated") / "first"
    evaluate(CROSSOVER, DATA, out=folder)
    return folder


def test_a_run_in_a_line_is_what_its_files_say(live_run: Path) -> None:
    (found,) = list_runs(live_run.parent)
    run = load_run(live_run)
    metrics = measured(run)
    assert (found.id, found.state, found.problem) == (live_run.name, "ended", "")
    assert (found.started, found.ended) == (run.manifest["started"], run.manifest["ended"])
    assert (found.records, found.fills) == (run.manifest["records"], len(run.trades))
    assert sorted(found.strategies) == run.strategies
    assert found.equity == metrics["final"]
    assert found.gain == pytest.approx(metrics["return"])
    assert (found.comparable, found.why_not, found.tape) == (True, [], "complete")
    assert not found.report
    assert found.duration_s == pytest.approx(60, abs=1)
    kept = [path for path in live_run.rglob("*") if path.is_file() and not path.is_socket()]
    assert found.size_bytes == sum(path.stat().st_size for path in kept)


def test_an_evaluation_stands_among_them(evaluation: Path) -> None:
    (found,) = list_runs(evaluation.parent)
    assert (found.state, found.report, found.problem) == ("evaluation", True, "")
    assert found.equity == measured(load_run(evaluation))["final"]


def test_the_newest_stands_first(tmp_path: Path) -> None:
    for day in (3, 1, 2):
        folder = tmp_path / f"run-{day}"
        folder.mkdir()
        (folder / "manifest.json").write_text(json.dumps({"started": f"2026-01-0{day}T00:00:00.000+00:00"}))
    (tmp_path / "notes").mkdir()
    (tmp_path / "notes" / "read.me").touch()
    (tmp_path / "file").touch()
    assert [run.id for run in list_runs(tmp_path)] == ["run-3", "run-2", "run-1"]
    assert list_runs(tmp_path / "nowhere") == []


def test_a_run_that_answers_is_live_and_a_name_that_was_left_is_not(tmp_path: Path) -> None:
    run = tmp_path / "run"
    run.mkdir()
    (run / "config.json").write_text("{}")
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(run / "status.sock"))
        server.listen()
        assert summary(run).state == "live"
    assert summary(run).state == "unfinished"


BROKEN: dict[str, dict[str, bytes]] = {
    "manifest.json": {
        "nothing": b"",
        "half": b'{"run_id": "a", "rec',
        "a list": b"[]",
        "another type": b'{"records": "many"}',
        "no text": b"\xff\xfe",
        "deep": b"[" * 100_000,
    },
    "equity.csv": {
        "no text": b"\xff\xfe\n\xff\n",
        "no numbers": HEADER.encode() + b"1,2,a,0.0,x,1.0,0.0,0.0,0.0,y\n",
        "a cell too few": HEADER.encode() + b"1,2,a\n",
        "not finite": HEADER.encode() + b"1,2,a,0.0,1.0,1.0,0.0,0.0,nan,1.0\n",
        "other columns": b"a,b\n1,2\n",
        "an open quote": HEADER.encode() + b'1,2,"a,0.0,1.0,1.0,0.0,0.0,0.0,1.0\n',
    },
    "tape.bin": {"another file": b"x" * 200},
}


@pytest.mark.parametrize(("name", "what"), [(name, what) for name in BROKEN for what in BROKEN[name]])
def test_a_broken_file_is_a_problem_and_the_rest_is_there(
    evaluation: Path, tmp_path: Path, name: str, what: str
) -> None:
    folder = Path(shutil.copytree(evaluation, tmp_path / "copy"))
    (folder / name).write_bytes(BROKEN[name][what])
    (found,) = list_runs(tmp_path)
    assert name in found.problem
    assert found.report
    assert (found.equity is None) is (name == "equity.csv")
    assert (found.records is None) is (name == "manifest.json")


@pytest.mark.parametrize("name", ["manifest.json", "equity.csv", "tape.bin"])
def test_a_folder_in_the_place_of_a_file_is_a_problem(evaluation: Path, tmp_path: Path, name: str) -> None:
    folder = Path(shutil.copytree(evaluation, tmp_path / "copy"))
    (folder / name).unlink()
    (folder / name).mkdir()
    assert name in summary(folder).problem


def test_a_run_that_was_only_begun_says_what_is_not_there(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("{}")
    found = summary(tmp_path)
    assert (found.state, found.problem) == ("unfinished", "there is no manifest.json")
    assert found.started.startswith("20")


# ---------------------------------------------------------------------------------------- the last money

ROWS = st.lists(st.tuples(st.sampled_from(["a", "b", "manual"]), st.integers(-9999, 9999)), max_size=40)


@settings(max_examples=200, deadline=None)
@given(ROWS, st.integers(100, 3000), st.booleans(), st.sampled_from([[], ["a"], ["a", "b"]]))
def test_the_last_money_is_the_sum_of_the_last_rows_or_nothing(
    rows: list[tuple[str, int]], tail: int, torn: bool, wanted: list[str]
) -> None:
    lines = [
        f"1,{at},{name},0.0,0.0,1.0,{gain},0.0,0.0,{1000 + gain}\n" for at, (name, gain) in enumerate(rows)
    ]
    text = HEADER + "".join(lines) + ("1,99,a,0" if torn else "")
    with TemporaryDirectory() as folder, patch("lab.account_tail.TAILS", (tail, 2 * tail)):
        path = Path(folder, "equity.csv")
        path.write_text(text)
        found = last_money(path, wanted)
    begins = [len(HEADER) + sum(map(len, lines[:at])) for at in range(len(rows))]
    for reach in (tail, 2 * tail):
        last = dict(row for row, begin in zip(rows, begins, strict=True) if begin >= len(text) - reach)
        if last.keys() >= set(wanted) or len(text) <= reach:
            sums = LastMoney(1000 * len(last), sum(1000 + gain for gain in last.values()))
            assert found == (sums if last else None)
            return
    assert found is None


def test_without_the_file_there_is_no_money(tmp_path: Path) -> None:
    assert last_money(tmp_path / "equity.csv", ["a"]) is None
    (tmp_path / "equity.csv").write_text(HEADER)
    assert last_money(tmp_path / "equity.csv", ["a"]) is None
    (tmp_path / "equity.csv").write_text(HEADER + "1,2,a,,,,,,,\n")
    with pytest.raises(NotARun, match=r"equity\.csv"):
        last_money(tmp_path / "equity.csv", ["a"])


# ------------------------------------------------------------------------------------------ the command


def sim(*arguments: object) -> Any:
    return CliRunner().invoke(cli.app, [str(argument) for argument in arguments], env={"COLUMNS": "200"})


def test_the_command_prints_a_table_or_json(evaluation: Path, tmp_path: Path) -> None:
    begun = evaluation.parent / "begun"
    begun.mkdir()
    (begun / "config.json").write_text("{}")
    try:
        lines = sim("runs", evaluation.parent).output.splitlines()
        found = json.loads(sim("runs", evaluation.parent, "--json").output)
    finally:
        shutil.rmtree(begun)
    assert {run["id"]: run["state"] for run in found} == {"begun": "unfinished", "first": "evaluation"}
    assert [line.split()[0] for line in lines[2:]] == ["begun", "first", "begun:"]
    assert f"{measured(load_run(evaluation))['final']:,.2f}" in lines[3]
    assert sim("runs", tmp_path / "nowhere").output == "no run yet: start one with `sim run`\n"
