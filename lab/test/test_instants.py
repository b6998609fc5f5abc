"""What stood at instants of a run: the replay's word, against what the run's files say and what can be counted."""

import json
import shutil
import subprocess
import sys
from collections import Counter
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from config import ROOT
from lab import evaluate
from lab.instants import Instants, StrategyAt, instants, main
from lab.like import evaluate_like
from lab.onlooker import WatchedEngine
from Recorder.run_files import load_run
from Recorder.tape_file import HEADER_BYTES, RECORD_BYTES, TapeCursor
from trading_lib.context import REASON_CHARS
from trading_lib.models import Kind

EVERY = 10_000
DATA = "data/market_data-1.csv"
TALKER = """
def init(ctx):
    ctx.mean = [ctx.indicator.SMA(n) for n in range(2, 30)]

def on_tick(ctx, tick):
    print("hello", tick.seq)
    for mean in ctx.mean:
        mean.update(tick.price)
    if tick.seq % 100 == 0:
        ctx.place_market_order("BUY", 1)
    elif tick.seq % 10 == 0:
        ctx.no_trade(f"{'x' * 300}")
"""


def at(found: Instants, number: int, strategy: str) -> StrategyAt:
    seen = found.instants[number].strategies[found.strategies.index(strategy)]
    assert seen is not None
    return seen


@pytest.fixture(scope="module")
def whole(live_run: Path) -> Instants:
    """Every record of a run."""
    return instants(live_run, EVERY)


def test_every_record_of_a_run_is_exact(whole: Instants, live_run: Path) -> None:
    known = load_run(live_run).manifest
    assert whole.note == ""
    assert whole.records == known["records"] == len(whole.instants)
    assert [instant.seq for instant in whole.instants] == list(range(whole.records))
    assert whole.strategies == ["crossover", "kinds", "news"]
    assert all(seen is not None and seen.exact for instant in whole.instants for seen in instant.strategies)
    assert whole.instants[-1].ts == known["last_ts"]


def test_positions_are_the_fills_so_far(whole: Instants, live_run: Path) -> None:
    trades = load_run(live_run).trades
    assert len(trades) > 50
    for name in whole.strategies:
        own = trades[trades["strategy_id"] == name].sort_values("ts")
        fills = list(zip(own["ts"].tolist(), own["symbol"], own["side"], own["qty"].tolist(), strict=True))
        times = {ts for ts, *_ in fills}
        held: Counter[str] = Counter()
        for number, instant in enumerate(whole.instants):
            ts = int(instant.ts)
            while fills and fills[0][0] < ts:
                _, symbol, side, qty = fills.pop(0)
                held[symbol] += qty if side == "BUY" else -qty
            if ts not in times:  # which of the records of that time a fill came before is not in the file
                assert at(whole, number, name).positions == {symbol: q for symbol, q in held.items() if q}


def test_the_last_money_is_the_last_row_of_the_account(whole: Instants, live_run: Path) -> None:
    for name, own in load_run(live_run).equity.groupby("strategy_id"):
        seen = at(whole, -1, str(name))
        assert (seen.cash, seen.equity) == (own["cash"].iloc[-1], own["equity"].iloc[-1])


def test_indicators_are_those_of_the_ticks_so_far(whole: Instants, live_run: Path) -> None:
    tape = TapeCursor(live_run)
    records = tape.take(EVERY)
    tape.close()
    symbol = whole.symbols[0]
    slot = load_run(live_run).manifest["symbols"].index(symbol)
    mine = (records["kind"] == Kind.TICK) & (records["slot"] == slot)
    for seq in (200, 500, len(records) - 1):
        prices = records["value"][: seq + 1][mine[: seq + 1]]
        assert at(whole, seq, "crossover").indicators[f"{symbol} SMA(10)"] == pytest.approx(
            prices[-10:].mean()
        )
        assert whole.instants[seq].prices[0] == prices[-1]


def test_an_evaluation_of_it_stands_where_the_run_stood(
    whole: Instants, live_run: Path, tmp_path: Path
) -> None:
    evaluate_like(live_run, out=tmp_path / "out", report=False)
    found = instants(tmp_path / "out", EVERY)
    assert found.note == ""
    assert found.strategies == whole.strategies
    assert [i.prices for i in found.instants] == [i.prices for i in whole.instants]
    assert found.instants == whole.instants


def copied(run: Path, folder: Path) -> Path:
    return Path(shutil.copytree(run, folder / "copy", ignore=shutil.ignore_patterns("*.sock")))


def test_without_a_journal_the_accounts_are_the_files(
    whole: Instants, live_run: Path, tmp_path: Path
) -> None:
    copy = copied(live_run, tmp_path)
    (copy / "journal.bin").unlink()
    found = instants(copy, 50)
    assert "no journal.bin" in found.note
    assert "from record 0 on strategies are as equity.csv has them" in found.note
    assert found.instants[-1].prices == whole.instants[-1].prices
    for name in found.strategies:
        last = at(found, -1, name)
        assert not last.exact
        assert (last.cash, last.equity, last.positions) == (
            at(whole, -1, name).cash,
            at(whole, -1, name).equity,
            at(whole, -1, name).positions,
        )


def test_a_run_that_differs_is_exact_up_to_there(live_run: Path, tmp_path: Path) -> None:
    copy = copied(live_run, tmp_path)
    for path in (copy / "strategies").glob("*.py"):
        path.write_text(path.read_text().replace("randint(1, 50)", "randint(1, 51)"))
    found = instants(copy, 200)
    assert "a replay differs from the run: kinds at record" in found.note
    exact = [at(found, number, "news").exact for number in range(1, len(found.instants))]
    assert exact == sorted(exact, reverse=True)
    assert not exact[-1]


def test_a_hole_in_the_tape_is_said(live_run: Path, tmp_path: Path) -> None:
    copy = copied(live_run, tmp_path)
    tape = (copy / "tape.bin").read_bytes()
    cut = HEADER_BYTES + 700 * RECORD_BYTES
    (copy / "tape.bin").write_bytes(tape[:cut] + tape[cut + RECORD_BYTES :])
    found = instants(copy, EVERY)
    assert "not replayable: from seq 700 (records are missing)" in found.note
    assert [instant.seq for instant in found.instants[699:702]] == [699, 701, 702]
    assert [at(found, number, "news").exact for number in (699, 700)] == [True, False]


def test_what_is_not_reached_in_time_is_said(live_run: Path) -> None:
    found = instants(live_run, 20, limit_s=0.0)
    assert "not all of it was done within 0 s" in found.note
    assert len(found.instants) == 20
    assert not at(found, -1, "news").exact


@pytest.mark.parametrize("lost", ["tape.bin", "manifest.json", "strategies", "config.json", "equity.csv"])
def test_a_folder_that_lacks_something_says_so(live_run: Path, tmp_path: Path, lost: str) -> None:
    copy = copied(live_run, tmp_path)
    path = copy / lost
    shutil.rmtree(path) if path.is_dir() else path.unlink()
    found = instants(copy, 10)
    assert bool(found.note) is (lost != "equity.csv")
    assert bool(found.instants) is (lost != "tape.bin")


@pytest.fixture(scope="module")
def talker(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An evaluation of a strategy with many indicators, many words, and output of its own."""
    folder = tmp_path_factory.mktemp("talker")
    (folder / "strategy.py").write_text(TALKER)
    evaluate(folder / "strategy.py", DATA, out=folder / "out", report=False)
    return folder / "out"


def test_the_command_prints_json_alone_whatever_strategies_print(talker: Path) -> None:
    command = [sys.executable, "-m", "lab.instants", str(talker), "--instants", "3"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, check=True, timeout=60)
    found: dict[str, Any] = json.loads(done.stdout)
    assert b"hello" in done.stderr
    assert f"records {found['records']} of {found['records']}".encode() in done.stderr
    assert [type(instant["ts"]) for instant in found["instants"]] == [str] * 3


def test_what_a_strategy_says_is_bounded_and_has_its_record(
    talker: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    found = instants(talker, 500)
    seen = [at(found, number, found.strategies[0]) for number in range(500)]
    assert {len(one.why) for one in seen[100:]} == {REASON_CHARS}
    assert all(len(one.indicators) == 16 for one in seen[1:])
    for instant, one in zip(found.instants[100:], seen[100:], strict=True):
        assert 0 <= instant.seq - one.why_seq < 200
        assert one.why_seq % 10 == 0
        assert one.order_seq % 100 == 0
    capfd.readouterr()


def test_an_evaluation_whose_file_has_changed_is_not_made_again(talker: Path) -> None:
    file = talker.parent / "strategy.py"
    file.write_text(file.read_text() + "\n# another one\n")
    try:
        found = instants(talker, 5)
    finally:
        file.write_text(TALKER)
    assert "is not what it was then" in found.note
    assert not at(found, -1, found.strategies[0]).exact


def test_what_is_no_run_is_refused(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert main([str(tmp_path)]) == 65
    assert "not a run" in capfd.readouterr().err


def test_the_last_reason_is_the_one_that_was_given_last() -> None:
    said = iter(["a", "b", "a", None, "b"])
    strategy = ModuleType("any")
    strategy.on_tick = lambda ctx, _: (reason := next(said)) and ctx.no_trade(reason)  # type: ignore[attr-defined]
    engine = WatchedEngine("any", strategy, {}, ["A"].__getitem__, print)
    found = []
    for seq in range(5):
        engine.consume([(seq, 1000 + seq, 2.0, 0, 0, 0, int(Kind.TICK))])
        found.append((engine.said.last, engine.said.seq))
    assert found == [("a", 0), ("b", 1), ("a", 2), ("a", 2), ("b", 4)]
    assert engine.why_no_trade() == {"a": 2, "b": 2}
