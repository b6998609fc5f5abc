"""The Recorder as a process: beside a market of the test's own, and inside a whole system, killed and out of room."""

import contextlib
import csv
import json
import random
import re
import resource
import shutil
import signal
import socket
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from config import load_config
from Recorder.journal_feed import JournalFeed
from Recorder.make_report import finish, make_report
from Recorder.run_files import load_run
from Recorder.tape_file import HEADER_BYTES
from runtime.reporting import write_report
from shared_memory_utils import RECORD, Entry, SharedPriceBook, TapeWriter
from testing.harness import Process, part_of, running, system_config, wait_for_part, wait_until, write_config
from trading_lib.models import Kind, Report
from trading_lib.portfolio import Portfolio

SYMBOLS = ("AAPL", "GOOG", "IBM", "MSFT")
TABLES = ("trades.csv", "matched_trades.csv", "equity.csv", "prices.csv", "inputs.jsonl", "events.jsonl")
EAGER = """
def init(ctx):
    ctx.seen = 0

def on_tick(ctx, tick):
    ctx.seen += 1
    if ctx.seen % 10 == 0:
        ctx.place_market_order("BUY" if ctx.seen % 20 else "SELL", 1, tag="eager")
"""


# ------------------------------------------------------------------------------- a market of the test's own


class Market:
    """A tape and its book, and the run's folder beside them."""

    def __init__(self, folder: Path, room: int = 4096, **recorder: Any) -> None:
        tree = system_config(folder, Recorder={"enabled": True, "min_free_mb": 0, **recorder})
        self.folder = folder
        self.name = tree["OrderBook"]["shared_memory_name"]
        self.config = write_config(folder, tree)
        self.tape = TapeWriter.open(self.name, room, "a-run")
        self.book = SharedPriceBook(SYMBOLS, name=self.name, create=True, run_id="a-run")
        self.run = folder / "runs" / "a-run"

    def write(self, count: int) -> None:
        """So many more ticks."""
        for seq in range(self.tape.tail, self.tape.tail + count):
            self.tape.append([Entry(seq * 1000, 100.0, 0, seq % self.book.count, Kind.TICK)])
        self.tape.ring()

    @contextlib.contextmanager
    def recorder(self) -> Iterator[Process]:
        with running(["Recorder/run.py", str(self.config)], self.folder) as process:
            process.wait_for("recorder ready")
            yield process

    def manifest(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads((self.run / "manifest.json").read_text())
        return found

    def recorded(self) -> list[int]:
        """The seqs in tape.bin."""
        path = self.run / "tape.bin"
        data = path.read_bytes()[HEADER_BYTES:] if path.exists() else b""
        whole = len(data) // RECORD.size * RECORD.size
        return [record[0] for record in RECORD.iter_unpack(data[:whole])]

    def wait_for_records(self, count: int) -> None:
        wait_until(lambda: len(self.recorded()) >= count, f"{count} records in tape.bin")

    def close(self) -> None:
        self.tape.close()
        self.book.unlink()
        self.book.close()


@contextlib.contextmanager
def market(folder: Path, room: int = 4096, **recorder: Any) -> Iterator[Market]:
    made = Market(folder, room, **recorder)
    try:
        yield made
    finally:
        made.close()


def test_a_recorder_alone_takes_what_is_on_the_tape_already_and_ends_with_it(tmp_path: Path) -> None:
    with market(tmp_path) as place:
        place.write(100)
        with place.recorder():
            place.wait_for_records(100)
            place.write(50)
            place.tape.close()
            wait_until(lambda: place.manifest()["ended"], "the end in the manifest")
            assert place.recorded() == list(range(150))
            manifest = place.manifest()
            assert (manifest["records"], manifest["tape"]) == (150, "complete")
            place.tape = TapeWriter.open(place.name, 4096, "b-run")


def test_what_waited_while_much_came_in_is_made_when_it_is_quiet(tmp_path: Path) -> None:
    burst = 1 << 15
    with market(tmp_path, burst) as place:
        place.write(burst)  # for a Recorder one burst: it is there when it starts
        with place.recorder():
            wait_until(lambda: (place.run / "prices.csv").exists(), "a first piece")
            wait_until(
                lambda: len((place.run / "prices.csv").read_text().splitlines()) == 1 + burst, "the rest"
            )
            assert place.manifest()["ended"] is None


def test_a_killed_recorder_goes_on_where_its_tape_ends(tmp_path: Path) -> None:
    with market(tmp_path) as place:
        for total in (500, 1500, 3000):
            with place.recorder() as process:
                place.write(500)
                place.wait_for_records(place.tape.tail - 400)
                process.kill()
            place.write(total - place.tape.tail)
        with place.recorder() as process:
            place.wait_for_records(3000)
            assert process.stop() == 0
        assert place.recorded() == list(range(3000))
        manifest = place.manifest()
        assert (manifest["missed"], manifest["ended"]) == (0, None)


def test_what_was_overwritten_while_nobody_recorded_is_counted_and_named(tmp_path: Path) -> None:
    with market(tmp_path) as place:
        with place.recorder() as process:
            place.write(100)
            place.wait_for_records(100)
            process.kill()
        place.write(8000)
        with place.recorder() as process:
            wait_until(lambda: place.recorded()[-1] == 8099, "the last record")
            process.stop()
        manifest = place.manifest()
        assert manifest["missed"] == 8100 - len(place.recorded()) > 0
        assert manifest["tape"].startswith("not replayable: from seq 100 ")
        assert manifest["comparable"] is False


def test_a_symbol_that_comes_later_has_its_name_in_the_manifest(tmp_path: Path) -> None:
    with market(tmp_path) as place, place.recorder():
        place.write(10)
        place.wait_for_records(10)
        place.book.add("NEW")
        place.write(10)
        place.wait_for_records(20)
        assert place.manifest()["symbols"] == [*SYMBOLS, "NEW"]
        place.tape.close()
        wait_until(lambda: place.manifest()["ended"], "the end in the manifest")
        assert {row.split(",")[2] for row in (place.run / "prices.csv").read_text().splitlines()[1:]} == {
            *SYMBOLS,
            "NEW",
        }
        place.tape = TapeWriter.open(place.name, 4096, "b-run")


def test_too_little_room_on_the_disk_stops_recording_loudly_and_nothing_else(tmp_path: Path) -> None:
    with market(tmp_path, min_free_mb=1 << 24) as place, place.recorder() as process:
        process.wait_for("RECORDING STOPPED, trading goes on")
        assert "Recorder.min_free_mb is 16777216" in process.output
        place.write(100)
        assert process.stop() == 0


def test_a_full_disk_stops_recording_loudly_and_the_manifest_says_so(tmp_path: Path) -> None:
    with market(tmp_path) as place, place.recorder() as process:
        place.write(100)
        place.wait_for_records(100)
        resource.prlimit(process.pid, resource.RLIMIT_FSIZE, (20_000, 20_000))
        place.write(1000)
        process.wait_for("RECORDING STOPPED, trading goes on")
        assert "File too large" in process.output
        assert process.alive
        wait_until(lambda: "File too large" in place.manifest()["stopped"], "the reason in the manifest")
        assert process.stop() == 0


def test_files_roll_and_the_oldest_are_deleted(tmp_path: Path) -> None:
    with market(tmp_path, rotate_mb=1, keep_files=2) as place, place.recorder() as process:
        while len(list(place.run.glob("tape.*.bin"))) < 1 or not (place.run / "tape.000001.bin").exists():
            place.write(2000)
            wait_until(lambda: place.recorded()[-1:] == [place.tape.tail - 1], "the last record")
        assert not (place.run / "tape.000000.bin").exists()
        process.stop()
        wait_until(lambda: "were deleted to make room" in place.manifest()["tape"], "it is said")


# ------------------------------------------------------------------------------------------ a whole system


class System:
    """A running main.py."""

    def __init__(self, process: Process, folder: Path, order_port: int) -> None:
        self.process = process
        self.order_port = order_port
        process.wait_for("starting, logs in")
        found = re.search(r"run (\S+): starting", process.output)
        assert found is not None
        self.run = folder / "runs" / found[1]

    def manifest(self) -> dict[str, Any]:
        """As it is now; {} before there is one."""
        try:
            found: dict[str, Any] = json.loads((self.run / "manifest.json").read_text())
        except FileNotFoundError:
            found = {}
        return found

    def wait_for_fills(self, count: int) -> None:
        wait_until(lambda: self.manifest().get("fills", 0) >= count, f"{count} fills recorded", 60)

    def kill(self, part: str) -> None:
        """SIGKILL a part, once it runs."""
        wait_for_part(self.process, part).kill()


@contextlib.contextmanager
def system(folder: Path, rate: float = 1000.0, **changes: Any) -> Iterator[System]:
    strategy = folder / "eager.py"
    strategy.write_text(EAGER)
    settings: dict[str, Any] = {
        "Recorder": {"enabled": True, "min_free_mb": 0},
        "Gateway": {"provider": "random_walk", "pace": {"ticks_per_s": rate}},
        "Strategy": {"strategies": [{"id": "eager", "path": str(strategy)}]},
        **changes,
    }
    tree = system_config(folder, **settings)
    with running(["main.py", str(write_config(folder, tree))], folder) as process:
        yield System(process, folder, tree["OrderManager"]["port"])


def journal_fills(run: Path) -> list[Report]:
    """Every fill in a run's journal."""
    feed = JournalFeed(run / "journal.bin")
    found: list[Report] = []
    while (facts := feed.take()) is not None:
        found += [f.record for f in facts if isinstance(f.record, Report) and f.record.last_qty]
    feed.close()
    return found


def rows(path: Path) -> list[dict[str, str]]:
    return list(csv.DictReader(path.read_text().splitlines()))


def test_a_live_run_leaves_its_fills_its_money_and_a_report(tmp_path: Path) -> None:
    with system(tmp_path) as live:
        live.wait_for_fills(20)
        assert live.process.stop(signal.SIGINT) == 0
        assert f"report: {live.run}/report.html" in live.process.output
    fills = journal_fills(live.run)
    order = sorted(fills, key=lambda f: (f.epoch, f.ts, *map(int, f.client_order_id.split("."))))
    kept = rows(live.run / "trades.csv")
    assert [(row["client_order_id"], row["price"], row["qty"]) for row in kept] == [
        (f.client_order_id, repr(f.last_px), repr(f.last_qty)) for f in order
    ]
    assert {row["tag"] for row in kept} == {"eager"}
    assert {row["slippage_bps"] for row in kept} == {"1.0"}
    assert {row["latency_ms"] for row in kept} == {"50.0"}
    loaded = load_run(live.run)
    portfolio = Portfolio(100_000.0)
    for fill in fills:
        portfolio.apply(fill.fill)  # type: ignore[arg-type]
    last = loaded.equity[loaded.equity.strategy_id == "eager"].iloc[-1]
    assert (last.realized, last.commission) == (portfolio.realized, portfolio.commission)
    assert {symbol: last[f"position_{symbol}"] for symbol in SYMBOLS} == {
        symbol: portfolio.position(symbol) for symbol in SYMBOLS
    }
    assert loaded.manifest["tape"] == "complete"
    assert loaded.manifest["comparable"] is True, loaded.manifest["why_not"]
    assert len(list((live.run / "strategies").iterdir())) == 1


@pytest.mark.parametrize("seed", [1, 2])
def test_kills_of_recorder_and_order_manager_leave_the_files_of_a_run_without(
    tmp_path: Path, seed: int
) -> None:
    rng = random.Random(seed)
    with system(tmp_path) as live:
        live.wait_for_fills(1)
        for part in ("Recorder", "OrderManager", "Recorder", "Recorder"):
            time.sleep(rng.uniform(0.0, 0.4))  # at any instant, not after some
            live.kill(part)
        before = live.manifest()["fills"]
        live.wait_for_fills(before + 5)
        live.process.stop(signal.SIGINT)
    again = tmp_path / "again" / live.run.name
    again.mkdir(parents=True)
    for name in ("tape.bin", "journal.bin", "config.json"):
        shutil.copy(live.run / name, again / name)
    shutil.copy(live.run / "manifest.json", again / "manifest.json")  # the symbols' names
    finish(again, load_config(again / "config.json"))
    for name in TABLES:
        assert (live.run / name).read_bytes() == (again / name).read_bytes(), name
    assert live.manifest()["tape"] == "complete"
    assert "restarts of the OrderManager: 1" in live.manifest()["why_not"]
    reasons = json.loads((again / "manifest.json").read_bytes())["why_not"]
    assert "no last status of main.py: 1" in reasons, "nobody knows what strategies had come to"


def test_a_recorder_that_keeps_dying_is_done_without_and_the_run_goes_on(tmp_path: Path) -> None:
    with system(tmp_path) as live:
        live.wait_for_fills(1)

        def kill_again() -> bool:
            if recorder := part_of(live.process, "Recorder"):
                with contextlib.suppress(psutil.NoSuchProcess):
                    recorder.kill()
            return "the run goes on WITHOUT IT" in live.process.output

        wait_until(kill_again, "the supervisor gives up", 60)
        fills = len(journal_fills(live.run))
        wait_until(lambda: len(journal_fills(live.run)) > fills, "trading goes on")
        assert live.process.stop(signal.SIGINT) == 0
    assert len(rows(live.run / "trades.csv")) == len(
        journal_fills(live.run)
    )  # the report's process made them
    assert live.manifest()["comparable"] is False


def test_an_order_by_hand_keeps_a_run_from_being_comparable(tmp_path: Path) -> None:
    with system(tmp_path) as live:
        live.wait_for_fills(1)
        with socket.create_connection(("127.0.0.1", live.order_port)) as plain:
            plain.sendall(b"1700000000.0,BUY,1,AAPL,100.0*")
            wait_until(
                lambda: any("manual orders: 1" in why for why in live.manifest()["why_not"]), "it is noted"
            )
        live.process.stop(signal.SIGINT)
    assert live.manifest()["comparable"] is False


def test_without_a_report_none_is_written(tmp_path: Path) -> None:
    with system(tmp_path, Recorder={"enabled": True, "min_free_mb": 0, "report": False}) as live:
        live.wait_for_fills(1)
        live.process.stop(signal.SIGINT)
    assert not (live.run / "report.html").exists()
    assert live.manifest()["ended"]


# -------------------------------------------------------------------------------------------- the report


def test_an_interrupted_report_is_skipped_and_says_how_to_make_it_later(tmp_path: Path) -> None:
    said: list[str] = []
    write_report(tmp_path, {}, lambda: True, said.append)
    assert said[-1] == f"report skipped; later: python -m Recorder.make_report {tmp_path}"


def test_a_report_that_cannot_be_made_says_why(tmp_path: Path) -> None:
    said: list[str] = []
    write_report(tmp_path, {}, lambda: False, said.append)
    assert said[-1].startswith("no report: config.json") or "cannot be read" in said[-1]


def test_a_report_is_made_again_of_a_run_that_has_one(tmp_path: Path) -> None:
    with system(tmp_path) as live:
        live.wait_for_fills(5)
        live.process.stop(signal.SIGINT)
    before = {name: (live.run / name).read_bytes() for name in TABLES}
    page = make_report(live.run)
    assert page == live.run / "report.html"
    assert {name: (live.run / name).read_bytes() for name in TABLES} == before
