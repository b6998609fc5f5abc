"""A run's tables from its journal: complete, in their final order at every moment, the same after any kill."""

import csv
import random
from pathlib import Path

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from config import Config, parse_config
from OrderManager import records
from OrderManager.journal import Journal
from Recorder.ledger_rows import Frontier, LedgerRows, slippage_bps
from Recorder.recording import STATE, Recording, RecordingInUse
from Recorder.run_files import load_run
from Recorder.tape_file import NotATape
from Recorder.test.ledger_life import NAMES, life, make_tape
from shared_memory_utils import RECORD, RECORD_DTYPE
from trading_lib.lane import Record
from trading_lib.models import Account, Kind, OrderStatus, Report, Side
from trading_lib.money import slipped
from trading_lib.portfolio import Portfolio

MADE = ("trades.csv", "matched_trades.csv", "equity.csv", "prices.csv", "inputs.jsonl", "events.jsonl")


def config(**recorder: object) -> Config:
    """A configuration with two symbols."""
    return parse_config(msgspec.json.encode({"symbols": list(NAMES), "Recorder": recorder}))


def pack(tape: list[Record]) -> bytes:
    return b"".join(RECORD.pack(*record) for record in tape)


class Run:
    """A run's folder whose tape and journal are written by the test, a bit at a time."""

    def __init__(self, folder: Path, seed: int, count: int = 400) -> None:
        rng = random.Random(seed)
        self.folder = folder
        self.tape = make_tape(rng, count)
        self.facts = list(life(rng, self.tape))
        self.journal = Journal.create(folder / "journal.bin", "run")
        self.recording = Recording(folder, config(), "run", live=True)
        self._told = 0

    def journals(self, count: int) -> None:
        """The next records of the journal."""
        some = self.facts[self._told : self._told + count]
        self._told += len(some)
        self.journal.append_many([records.encode(record) for record in some])
        self.journal.write()

    def records(self, count: int) -> None:
        """The next records of the tape."""
        first = self.recording.tape.next_seq
        if packed := pack(self.tape[first : first + count]):
            self.recording.set_names(NAMES)
            self.recording.write_tape(packed, np.frombuffer(packed, RECORD_DTYPE))

    def kill(self) -> None:
        """The Recorder is killed and another begins."""
        self.recording.close()
        self.recording = Recording(self.folder, config(), "run", live=True)

    def finish(self) -> dict[str, bytes]:
        """The rest of everything, and the files there are then."""
        self.records(len(self.tape))
        self.journals(len(self.facts))
        self.recording.finish()
        self.close()
        return {name: (self.folder / name).read_bytes() for name in MADE}

    def close(self) -> None:
        self.recording.close()
        self.journal.close()


def amounts(report: Report) -> tuple[float, ...]:
    return report.last_qty, report.last_px, report.commission


def fills(facts: list[records.JournalRecord]) -> list[Report]:
    return [record for record in facts if isinstance(record, Report) and record.last_qty]


@settings(deadline=None, max_examples=30)
@given(st.integers(0, 10_000), st.lists(st.tuples(st.integers(0, 5), st.integers(1, 150)), max_size=25))
def test_a_recorder_killed_anywhere_leaves_the_files_of_one_that_was_not(
    tmp_path_factory: pytest.TempPathFactory, seed: int, script: list[tuple[int, int]]
) -> None:
    plain = Run(tmp_path_factory.mktemp("plain"), seed).finish()
    run = Run(tmp_path_factory.mktemp("killed"), seed)
    shown = b""
    for what, count in script:
        match what:
            case 0:
                run.kill()
            case 1:
                run.recording.checkpoint()
            case 2 | 3:
                run.records(count)
            case _:
                run.journals(count)
        run.recording.step(rest=(lambda: None) if count % 2 else None)  # small pieces, large ones
        now = (run.folder / "trades.csv").read_bytes() if (run.folder / "trades.csv").exists() else b""
        assert now.startswith(shown) or shown.startswith(now)  # a row is never moved or changed
        shown = max(now, shown, key=len)
    assert run.finish() == plain
    assert plain["trades.csv"].startswith(shown)


@settings(deadline=None, max_examples=30)
@given(st.integers(0, 10_000))
def test_the_tables_hold_every_fill_and_every_account_in_their_order(
    tmp_path_factory: pytest.TempPathFactory, seed: int
) -> None:
    run = Run(tmp_path_factory.mktemp("run"), seed)
    run.finish()
    loaded = load_run(run.folder)
    expected = sorted(
        fills(run.facts),
        key=lambda f: (f.epoch, f.ts, f.strategy_id, *map(int, f.client_order_id.split(".")), f.exec_id),
    )
    rows = trades(run.folder)
    assert [row[:4] + row[6:9] for row in rows] == [
        [str(f.epoch), str(f.ts), f.strategy_id, f.client_order_id, *map(repr, amounts(f))] for f in expected
    ]
    accounts = [record for record in run.facts if isinstance(record, Account)]
    assert len(loaded.equity) == len(accounts)
    keys = list(zip(loaded.equity.epoch, loaded.equity.ts, loaded.equity.strategy_id, strict=True))
    assert keys == sorted(keys)
    for strategy_id, own in loaded.equity.groupby("strategy_id"):
        ledger = [account for account in accounts if account.strategy_id == strategy_id]
        assert own.equity.tolist() == [account.equity for account in ledger]
        matches = loaded.matched_trades[loaded.matched_trades.strategy_id == strategy_id]
        portfolio = Portfolio(0.0)
        for fill in fills(run.facts):
            if fill.strategy_id == strategy_id and fill.fill is not None:
                portfolio.apply(fill.fill)
        assert matches.net.tolist() == [trade.net for trade in portfolio.trades]


@settings(deadline=None, max_examples=30)
@given(st.integers(0, 10_000))
def test_events_are_all_there_ordered_by_tape_seq(
    tmp_path_factory: pytest.TempPathFactory, seed: int
) -> None:
    run = Run(tmp_path_factory.mktemp("run"), seed)
    run.finish()
    events = [msgspec.json.decode(line) for line in (run.folder / "events.jsonl").read_bytes().splitlines()]
    seqs = [event["tape_seq"] for event in events]
    assert seqs == sorted(seqs)
    marks = {"tick", "epoch", "end"}
    assert [event["tape_seq"] for event in events if event["type"] in marks] == list(range(len(run.tape)))
    said = [record for record in run.facts if isinstance(record, (Report, Account, records.Taken))]
    assert len(events) == len(run.tape) + len(said)
    assert all(isinstance(event[key], str) for event in events for key in event.keys() & {"ts", "wall"})


@pytest.mark.parametrize("seed", range(2))
def test_who_is_far_behind_hears_the_ledger_out_before_the_tape_goes_on_without_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, seed: int
) -> None:
    for name in ("plain", "behind"):
        (tmp_path / name).mkdir()
    plain = Run(tmp_path / "plain", seed, 2500).finish()
    monkeypatch.setattr(
        "Recorder.event_log.HELD", 2000
    )  # more than the lanes are apart, less than all there is
    run = Run(tmp_path / "behind", seed, 2500)
    run.records(len(run.tape))
    run.journals(len(run.facts))
    while run.recording.step(rest=lambda: None):
        pass
    assert run.recording.status()["out_of_order"] == 0
    assert run.finish() == plain


def test_a_row_is_written_as_soon_as_every_lane_has_passed_its_time(tmp_path: Path) -> None:
    rows = LedgerRows(tmp_path, NAMES, {})
    rows.take(report(seq=10, ts=500))
    rows.release(12, None)
    assert trades(tmp_path) == []  # another strategy's fill at 500 may still come
    rows.release(12, Frontier(11, 0, 500))
    assert trades(tmp_path) == []
    rows.take(report(seq=11, ts=500, strategy_id="alpha"))
    rows.release(14, Frontier(13, 0, 501))
    assert [row[2] for row in trades(tmp_path)] == ["alpha", "sma"]
    rows.close()


def test_a_row_of_an_epoch_that_is_over_does_not_wait(tmp_path: Path) -> None:
    rows = LedgerRows(tmp_path, NAMES, {})
    rows.take(report(seq=10, ts=900))
    rows.release(12, Frontier(11, 10, 100))
    assert len(trades(tmp_path)) == 1
    rows.close()


def trades(folder: Path) -> list[list[str]]:
    return list(csv.reader((folder / "trades.csv").read_text().splitlines()))[1:]


def report(seq: int, ts: int, strategy_id: str = "sma", **others: object) -> Report:
    fields = {"last_qty": 1.0, "last_px": 100.01, "reference": 100.0, **others}
    status, symbol = OrderStatus.FILLED, "AAA"
    return Report(strategy_id, f"{seq - 1}.0", 1, 1, status, symbol, Side.BUY, 1.0, 1, seq, ts, **fields)  # type: ignore[arg-type]


@given(st.floats(0.01, 1e5), st.integers(0, 100_000), st.sampled_from(Side))
def test_slippage_is_the_configured_number_of_basis_points(price: float, tenths: int, side: Side) -> None:
    price, bps = round(price, 4), tenths / 100
    paid = slipped(price, bps, side.sign)
    filled = msgspec.structs.replace(report(2, 2, last_px=paid, reference=price), side=side)
    assert slippage_bps(filled) == bps


def test_a_fill_without_a_reference_has_no_slippage() -> None:
    assert slippage_bps(report(2, 2, reference=0.0)) == ""
    assert slippage_bps(report(2, 2, reference=100.01)) == 0.0


# --------------------------------------------------------------------------------- the journal's own life


def test_reports_without_a_head_behind_them_do_not_count(tmp_path: Path) -> None:
    run = Run(tmp_path, 1)
    run.facts = [report(5, 10), records.Recovered(0, "")]
    files = run.finish()
    assert files["trades.csv"].count(b"\n") == 1
    assert b'"type":"recovered"' in files["events.jsonl"]


def test_a_symbol_that_was_not_configured_gets_a_column_of_its_own(tmp_path: Path) -> None:
    run = Run(tmp_path, 3)
    heads = [record for record in run.facts if not isinstance(record, (Report, Account))]
    account = Account("alpha", 1, 3, 9, "fill", "NEW", 5.0, {"NEW": 2.0}, 1.0, 0.0, 0.0, 0.0, 1.0)
    run.facts = [msgspec.structs.replace(account, positions={}), account, *heads]
    files = run.finish()
    header, first, second, *_ = files["equity.csv"].decode().splitlines()
    assert header.split(",")[3:6] == ["position_AAA", "position_BBB", "position_NEW"]
    assert first.split(",")[3:6] == ["0.0", "0.0", "0.0"]
    assert second.split(",")[3:6] == ["0.0", "0.0", "2.0"]
    manifest = msgspec.json.decode((tmp_path / "manifest.json").read_bytes())
    assert "dropped" in manifest and not manifest["dropped"]


def test_what_the_ledger_saw_and_the_recorder_did_not_is_in_the_manifest(tmp_path: Path) -> None:
    run = Run(tmp_path, 4)
    run.records(100)
    run.journals(len(run.facts))
    run.recording.finish()
    run.close()
    manifest = msgspec.json.decode((tmp_path / "manifest.json").read_bytes())
    assert manifest["missed"] == len(run.tape) - 100
    assert manifest["tape"].startswith("not replayable: from seq 100")
    assert manifest["comparable"] is False


def test_a_run_recorded_whole_is_comparable_once_nobody_ordered_by_hand(tmp_path: Path) -> None:
    run = Run(tmp_path, 5)
    run.facts = [
        record
        for record in run.facts
        if not (isinstance(record, records.Taken) and record.strategy_id == "manual")
    ]
    run.finish()
    manifest = msgspec.json.decode((tmp_path / "manifest.json").read_bytes())
    assert (manifest["comparable"], manifest["why_not"], manifest["tape"]) == (True, [], "complete")
    assert manifest["ticks"] == sum(record[6] == Kind.TICK for record in run.tape)
    assert manifest["ended"]


def test_two_recorders_of_one_run_do_not_mix(tmp_path: Path) -> None:
    run = Run(tmp_path, 6)
    with pytest.raises(RecordingInUse):
        Recording(tmp_path, config(), "run")
    run.finish()
    Recording(tmp_path, config(), "run").close()


# ------------------------------------------------------------------------------------- of another version


def test_a_checkpoint_of_another_version_costs_nothing(tmp_path: Path) -> None:
    (tmp_path / "plain").mkdir()
    plain = Run(tmp_path / "plain", 5).finish()
    (tmp_path / "run").mkdir()
    run = Run(tmp_path / "run", 5)
    run.records(100)
    run.recording.step()
    run.recording.close()
    (run.folder / STATE).write_bytes(b"something else")
    run.recording = Recording(run.folder, config(), "run", live=True)
    assert run.finish() == plain


def test_a_journal_of_another_version_is_a_reason_not_a_crash(tmp_path: Path) -> None:
    run = Run(tmp_path, 5)
    run.journals(3)
    run.journal.append(b'["future",1]')
    run.journal.write()
    while run.recording.step():
        pass
    assert "record 3 is of another version" in run.recording.journal_fault
    run.close()


def test_a_recording_that_cannot_begin_leaves_the_run_to_others(tmp_path: Path) -> None:
    (tmp_path / "tape.bin").write_bytes(b"not a tape" * 100)
    for _ in range(2):  # the second is not told that somebody is at work
        with pytest.raises(NotATape):
            Recording(tmp_path, config(), "run")
