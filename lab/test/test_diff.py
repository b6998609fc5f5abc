"""Where two runs part."""

import shutil
from pathlib import Path

import pytest

from lab import evaluate
from lab.diff import diff
from lab.test.live import KINDS
from Recorder.tables import NotARun

KEYS = {
    "symbols": ["AAPL", "MSFT"],
    "Gateway": {"provider": "random_walk", "pace": {"mode": "event"}},
}


def evaluation(folder: Path, **changes: object) -> Path:
    evaluate(KINDS["path"], config={**KEYS, **changes}, duration_s=120, out=folder, report=False)
    return folder


def test_a_live_run_and_its_evaluation_are_the_same(live_run: Path, tmp_path: Path) -> None:
    evaluate(config=live_run / "config.json", out=tmp_path / "out", report=False)
    assert diff(live_run, tmp_path / "out") is None


def test_another_seed_is_another_tape_from_its_first_price_that_differs(tmp_path: Path) -> None:
    one = evaluation(tmp_path / "one")
    found = diff(one, evaluation(tmp_path / "two", run={"seed": 43}))
    assert found is not None
    assert (found.what, found.seq) == ("the tape", 8)  # after an epoch, two first prices, five time marks
    assert found.a != found.b
    assert found.a.startswith("TICK AAPL ")
    assert "at record 8, 2025-01-02 14:30:00.2 UTC" in str(found)


def test_other_costs_differ_at_the_first_fill(tmp_path: Path) -> None:
    one = evaluation(tmp_path / "one")
    found = diff(one, evaluation(tmp_path / "two", OrderManager={"execution": {"slippage_bps": 2}}))
    assert found is not None
    assert found.what == "the ledger"
    assert "last_px" in found.a
    assert "last_px" in found.b
    assert "commission" in str(found)


def test_a_ledger_that_says_less_is_a_difference(tmp_path: Path) -> None:
    one = evaluation(tmp_path / "one")
    two = Path(shutil.copytree(one, tmp_path / "two"))
    lines = (two / "events.jsonl").read_bytes().splitlines(keepends=True)
    last = max(number for number, line in enumerate(lines) if b'"type":"report"' in line)
    (two / "events.jsonl").write_bytes(b"".join(lines[:last] + lines[last + 1 :]))
    found = diff(one, two)
    assert found is not None
    assert found.seq is not None
    assert diff(two, one) is not None


def test_without_events_the_rows_are_compared(tmp_path: Path) -> None:
    one = evaluation(tmp_path / "one")
    two = Path(shutil.copytree(one, tmp_path / "two"))
    (two / "events.jsonl").unlink()
    assert diff(one, two) is None
    rows = (two / "equity.csv").read_text().splitlines()
    (two / "equity.csv").write_text("\n".join([*rows[:3], rows[3] + "1", *rows[4:]]) + "\n")
    found = diff(one, two)
    assert found is not None
    assert found.what == "equity.csv, line 4"


def test_what_is_no_run_is_refused(tmp_path: Path) -> None:
    with pytest.raises(NotARun):
        diff(tmp_path, tmp_path)
