"""A run with everything that happens to one: reloads, kills, an operator. It replays, or says where it differs."""

import json
import shutil
import signal
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import psutil
import pytest

from lab import evaluate
from lab.history import read_histories
from lab.instants import instants
from lab.replay import Replay, replay
from lab.test.live import CROSSOVER, KINDS, PATIENCE_S, Live, living, market
from Recorder.tables import NotARun
from Recorder.tape_file import HEADER_BYTES, RECORD_BYTES
from runtime.versions import PARAMS, kept_params
from shared_memory_utils import MarketView
from testing.harness import ROOT, wait_until


def hard_life(folder: Path, live_through: Callable[[Live, Path], None]) -> Path:
    """A run without an end of its own, in which things happen; its folder."""
    file = folder / "mine" / "strategy.py"
    file.parent.mkdir()
    file.write_text((ROOT / KINDS["path"]).read_text())
    settings = market(
        4,
        run={"duration_s": 0},
        Gateway={"schedule": {"speed": 20}},
        Strategy={"strategies": [{**KINDS, "path": str(file)}, CROSSOVER]},
    )
    with living(folder, **settings) as live:
        live.trades_on()
        live_through(live, file)
        live.trades_on()
        live.let_everybody_catch_up()
        assert live.process.stop(signal.SIGINT, PATIENCE_S) == 0, live.process.output
        return live.run


def everything(live: Live, file: Path) -> None:
    file.write_text(file.read_text().replace("randint(1, 50)", "randint(1, 40)"))
    wait_until(lambda: live.strategy("kinds").get("reloads") == 1, "a reload")
    live.trades_on()
    live.act(action="params", strategy="kinds", params={"rate": 0.1})
    wait_until(lambda: live.strategy("kinds").get("reloads") == 2, "other parameters")
    live.trades_on()
    live.act(action="costs", strategy="kinds", slippage_bps=5, latency_ms=20)
    live.trades_on()
    live.part("OrderManager").kill()
    wait_until(lambda: live.parts()["order_manager"]["restarts"] == 1, "the OrderManager again")
    live.trades_on()
    psutil.Process(live.strategy("kinds")["pid"]).kill()
    wait_until(lambda: live.strategy("kinds").get("restarts") == 1, "the worker again")
    live.trades_on()
    assert live.strategy("kinds")["params"] == {"rate": 0.1}


def and_the_whole_strategy(live: Live, file: Path) -> None:
    everything(live, file)
    live.part("Strategy").kill()
    wait_until(lambda: live.parts()["strategy"]["restarts"] == 1, "the Strategy again")
    wait_until(lambda: live.strategy("kinds").get("params") == {"rate": 0.1}, "its parameters again")


@pytest.fixture(scope="module")
def hard_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return hard_life(tmp_path_factory.mktemp("hard"), everything)


def test_a_run_with_a_reload_kills_and_an_operator_replays_to_the_same_orders(hard_run: Path) -> None:
    whats = {json.loads(line)["what"] for line in (hard_run / "inputs.jsonl").read_text().splitlines()}
    assert {"started", "reload", "restart"} <= whats
    result = replay(hard_run)
    assert result.same, str(result)
    assert result.orders["kinds"] > 100


def test_the_parameters_of_each_version_are_those_it_ran_with(hard_run: Path, tmp_path: Path) -> None:
    inputs = [json.loads(line) for line in (hard_run / "inputs.jsonl").read_text().splitlines()]
    changed = next(each["detail"] for each in inputs if "-" in each["detail"] and each["what"] == "reload")
    assert kept_params(hard_run, changed, {}) == {"rate": 0.1}
    copy = copied(hard_run, tmp_path)
    (copy / "strategies" / changed / PARAMS).unlink()
    assert not replay(copy).same


def test_a_strategy_that_did_not_come_back_live_holds_no_replay_up(tmp_path: Path) -> None:
    file = tmp_path / "strategy.py"
    file.write_text(
        "def on_tick(ctx, tick):\n"
        "    while 900 < tick.seq < 1000: pass\n"
        "    if tick.seq % 20 == 0: ctx.place_market_order('BUY' if tick.seq % 40 else 'SELL', 1)\n"
    )
    settings = market(
        4,
        run={"duration_s": 0},
        Gateway={"schedule": {"speed": 20}},
        Strategy={"strategies": [{"id": "stuck", "path": str(file)}], "hang_s": 0.3},
    )
    with living(tmp_path, **settings) as live:
        wait_until(lambda: live.strategy("stuck").get("restarts") == 1, "it is killed and started again")
        live.trades_on()
        live.let_everybody_catch_up()
        assert live.process.stop(signal.SIGINT, PATIENCE_S) == 0, live.process.output
    result = replay(live.run)
    assert result.same, str(result)
    assert result.orders["stuck"] > 50


def test_records_that_come_behind_a_strategys_end_are_said_and_expected_of_nobody(tmp_path: Path) -> None:
    settings = market(4, run={"duration_s": 0}, Gateway={"schedule": {"speed": 20}})
    with living(tmp_path, **settings) as live:
        live.trades_on()
        book, strategy = live.part("OrderBook"), live.part("Strategy")
        order_manager = live.part("OrderManager")
        with closing(MarketView(live.tree["OrderBook"]["shared_memory_name"])) as source:
            book.suspend()
            sent = live.parts()["gateway"]["ticks"]
            wait_until(lambda: live.parts()["gateway"]["ticks"] > sent + 100, "ticks on their way")
            order_manager.suspend()  # who is waited for
            live.process.popen.send_signal(signal.SIGINT)
            wait_until(lambda: not strategy.is_running(), "the Strategy's end")
            tail = source.tape.tail
            book.resume()
            wait_until(lambda: source.tape.tail > tail, "records behind it")
            order_manager.resume()
            assert live.process.popen.wait(PATIENCE_S) == 0, live.process.output
    result = replay(live.run)
    assert result.same, str(result)
    reasons = json.loads((live.run / "manifest.json").read_text())["why_not"]
    assert any("records that strategies had not taken at the end" in reason for reason in reasons), reasons


@pytest.mark.chaos
def test_so_does_one_whose_strategy_process_was_killed(tmp_path: Path) -> None:
    result = replay(hard_life(tmp_path, and_the_whole_strategy))
    assert result.same, str(result)


def copied(run: Path, folder: Path) -> Path:
    return Path(shutil.copytree(run, folder / "copy", ignore=shutil.ignore_patterns("*.sock")))


def test_the_first_request_that_differs_is_named(live_run: Path, tmp_path: Path) -> None:
    copy = copied(live_run, tmp_path)
    for path in (copy / "strategies").glob("*.py"):
        text = path.read_text()
        if "randint(1, 50)" in text:
            path.write_text(text.replace("randint(1, 50)", "randint(1, 51)"))
    result = replay(copy)
    difference = result.difference
    assert difference is not None
    assert difference.strategy_id == "kinds"
    assert difference.recorded is not None
    assert difference.made is not None
    assert difference.recorded.client_order_id == difference.made.client_order_id
    assert (
        str(result).splitlines()[-1].startswith(f"the first difference: kinds at record {difference.seq}: ")
    )


def test_steps_come_in_the_order_of_the_tape_up_to_the_first_difference(live_run: Path) -> None:
    steps = list(Replay(live_run))
    assert [step.seq for step in steps] == sorted(step.seq for step in steps)
    assert {step.strategy_id for step in steps} == {"kinds", "crossover", "news"}
    assert len(steps) == sum(replay(live_run).orders.values())


def test_a_torn_tape_is_replayed_as_far_as_it_goes_and_says_so(live_run: Path, tmp_path: Path) -> None:
    copy = copied(live_run, tmp_path)
    with (copy / "tape.bin").open("r+b") as tape:
        tape.truncate(HEADER_BYTES + 3000 * RECORD_BYTES + 7)
    result = replay(copy)
    assert result.difference is None
    assert result.not_replayable.startswith("not replayable: from seq 3000 ")
    assert 0 < sum(result.orders.values()) < sum(replay(live_run).orders.values())


def test_a_tape_that_begins_late_is_not_replayable_from_the_first_record(
    live_run: Path, tmp_path: Path
) -> None:
    copy = copied(live_run, tmp_path)
    tape = (copy / "tape.bin").read_bytes()
    (copy / "tape.bin").write_bytes(tape[:HEADER_BYTES] + tape[HEADER_BYTES + RECORD_BYTES :])
    assert replay(copy).not_replayable.startswith("not replayable: from seq 0 ")


def test_where_a_killed_order_manager_had_come_to_is_said(live_run: Path, tmp_path: Path) -> None:
    assert replay(live_run).unsettled == ""
    copy = copied(live_run, tmp_path)
    journal = (copy / "journal.bin").read_bytes()
    (copy / "journal.bin").write_bytes(journal[: len(journal) // 2])
    status = json.loads((copy / "status.json").read_bytes())
    status["parts"]["strategy"]["counters"]["lost at the end"] = 7
    (copy / "status.json").write_text(json.dumps(status))
    result = replay(copy)
    assert result.same, "the requests are"
    horizon = read_histories(copy).horizon
    assert 0 < horizon < result.records
    assert f"from seq {horizon} on the ledger had made nothing of it" in str(result)
    assert result.unsettled in instants(copy, 10).note


def test_an_evaluation_is_not_replayed(tmp_path: Path) -> None:
    evaluate(CROSSOVER["path"], "data/market_data-1.csv", out=tmp_path / "out", report=False)
    with pytest.raises(NotARun, match="no journal"):
        replay(tmp_path / "out")
