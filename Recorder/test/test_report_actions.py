"""What an operator changed while a run ran stands beside what is configured."""

import json
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from OrderBook.control_log import ControlLog
from Recorder.report import reproduce, write_report
from Recorder.report_actions import LISTED, LONGEST, operator_actions
from Recorder.run_files import load_run
from Recorder.tape_file import TapeFile
from Recorder.test.synthetic import START, write_run
from shared_memory_utils import RECORD_DTYPE
from trading_lib.control import (
    AllowTrading,
    Cancel,
    Costs,
    DropFeed,
    HotReload,
    KillSwitch,
    Model,
    OperatorAction,
    Params,
    Pause,
    PlaceOrder,
    Reset,
    Resume,
    Schedule,
    Speed,
)
from trading_lib.models import Kind, Side

MARKS_BEGIN = 3120


class Facts(HTMLParser):
    """The Assumptions, by name, and whether each warns; a new line for `<br>`."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.texts: dict[str, str] = {}
        self.warns: dict[str, bool] = {}
        self._in, self._name = "", ""
        self.feed(page[page.index("<h2>Assumptions") : page.index("<h2>Prices and fills")])

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag == "br":
            self.texts[self._name] += "\n"
        elif tag in ("dt", "dd"):
            self._in = tag
            if tag == "dt":
                self._name = ""
                self._warns = dict(attrs).get("class") == "warns"

    def handle_endtag(self, tag: str) -> None:
        if tag == "dt":
            self.texts[self._name], self.warns[self._name] = "", self._warns
        if tag in ("dt", "dd"):
            self._in = ""

    def handle_data(self, data: str) -> None:
        if self._in == "dt":
            self._name += data
        elif self._in == "dd":
            self.texts[self._name] += data


def steered_run(
    folder: Path, *actions: OperatorAction, refused: tuple[int, ...] = (), **manifest: Any
) -> Path:
    """A run with these actions: their lines, and a record each but for those refused, from MARKS_BEGIN on."""
    write_run(folder, ticks=60, **manifest)
    log = ControlLog(folder / "control.jsonl")
    numbers = [log.append(action) for action in actions]
    log.close()
    marked = [number for number in numbers if number not in refused]
    records = np.zeros(MARKS_BEGIN + len(marked), RECORD_DTYPE)
    records["seq"] = np.arange(len(records))
    records["ts"] = START
    records["kind"] = Kind.TICK
    records["value"] = 100.0
    records["kind"][MARKS_BEGIN:] = Kind.CONTROL
    records["value"][MARKS_BEGIN:] = marked
    tape = TapeFile(folder, "20250102-143000-1", 1 << 20, 16)
    tape.write(records.tobytes())
    tape.close()
    return folder


def facts(folder: Path) -> Facts:
    return Facts(write_report(folder).read_text(encoding="utf-8"))


def test_costs_that_an_operator_changed_stand_beside_the_configured_ones(tmp_path: Path) -> None:
    of_all = Costs(slippage_bps=5, latency_ms=200)
    of_one = Costs(strategy="sma", latency_ms=500, commission_bps=2, commission_fixed=1.5)
    told = facts(steered_run(tmp_path, of_all, of_one))
    assert told.texts["Slippage"] == (
        "1 bps, always to the worse side. As configured; changed while it ran: "
        "5 bps from record 3,120 on (all strategies)."
    )
    assert told.texts["Latency"].startswith("50 ms, event time")
    assert told.texts["Latency"].endswith(
        "As configured; changed while it ran: 200 ms from record 3,120 on (all strategies), "
        "500 ms from record 3,121 on (sma)."
    )
    assert told.texts["Commission"].endswith(
        "changed while it ran: 2 bps from record 3,121 on (sma), "
        "with an order's first fill 1.5 USD from record 3,121 on (sma)."
    )
    assert all(told.warns[name] for name in ("Slippage", "Latency", "Commission"))


def test_a_reset_with_a_seed_is_a_seed_of_the_run(tmp_path: Path) -> None:
    told = facts(steered_run(tmp_path, Reset(), Reset(seed=7)))
    assert told.texts["Seeds"] == (
        "run 42. As configured; changed while it ran: the market's 7 from record 3,121 on."
    )


@pytest.mark.parametrize("action", [Model(changes={"sigma": 0.4}), Schedule(mode="poisson", dt_ms=150)])
def test_a_market_that_was_changed_is_not_the_configured_one(tmp_path: Path, action: OperatorAction) -> None:
    told = facts(steered_run(tmp_path, action))
    assert told.texts["Data"].endswith("As configured; changed while it ran, see Changed while it ran.")


def test_every_action_is_said_in_words_in_its_order(tmp_path: Path) -> None:
    actions: dict[OperatorAction, str] = {
        Costs(slippage_bps=5, latency_ms=200): "costs of all strategies: slippage 5 bps, latency 200 ms",
        KillSwitch(strategy="sma", flatten=True): "kill switch of sma, positions closed",
        KillSwitch(): "kill switch of all strategies",
        AllowTrading(): "trading allowed again, all strategies",
        Cancel(strategy="sma", client_order_id="12.0"): "order 12.0 of sma cancelled",
        PlaceOrder(symbol="AAPL", side=Side.BUY, qty=10, type="limit", price=173.2): (
            "order by hand: BUY 10 AAPL, limit 173.2"
        ),
        PlaceOrder(symbol="AAPL", side=Side.SELL, qty=1, type="market"): (
            "order by hand: SELL 1 AAPL, at the market"
        ),
        Pause(): "market held",
        Resume(): "market let go on",
        Speed(speed=20): "speed 20",
        Reset(seed=7): "market reset, seed 7",
        Reset(): "market reset, the seed it had",
        Schedule(mode="fixed", dt_ms=150): "market begun anew, a tick every 150 ms",
        HotReload(on=False): "hot reload off",
        DropFeed(): "connection to the Gateway hung up",
    }
    last = (Model(changes={"sigma": 0.4, "theta": 0.1}), Params(strategy="sma", params={"fast": 8}))
    words = [
        *actions.values(),
        "model: sigma = 0.4, theta = 0.1",
        "other parameters asked for, sma: fast = 8",
    ]
    told = facts(steered_run(tmp_path, *actions, *last)).texts["Changed while it ran"]
    assert told.split("\n") == [f"record {MARKS_BEGIN + k:,}: {text}" for k, text in enumerate(words)]


def test_ticks_that_are_rare_by_the_configured_latency_say_that_it_was_changed(tmp_path: Path) -> None:
    told = facts(steered_run(tmp_path, Costs(latency_ms=9000), median_gap_ns={"AAPL": 10**9}))
    assert told.texts["Rare ticks"].endswith(
        "By the latency as configured; changed while it ran, see Latency."
    )


def test_an_action_that_was_refused_changed_nothing(tmp_path: Path) -> None:
    folder = steered_run(tmp_path, Costs(slippage_bps=5), Reset(seed=7), refused=(1, 2))
    told = facts(folder)
    assert told.texts["Slippage"] == "1 bps, always to the worse side."
    assert told.texts["Seeds"] == "run 42."
    assert told.texts["Changed while it ran"].split("\n") == [
        "never done, no record of it is on the tape: costs of all strategies: slippage 5 bps",
        "never done, no record of it is on the tape: market reset, seed 7",
    ]
    run = load_run(folder)
    assert "sim replay" not in reproduce(run, operator_actions(run))


@pytest.mark.parametrize("left", [{"tape": "not replayable: from seq 9"}, {"ended": None}])
def test_without_the_whole_tape_an_action_counts_though_its_record_is_not_known(
    tmp_path: Path, left: dict[str, Any]
) -> None:
    folder = steered_run(tmp_path, Costs(slippage_bps=5), **left)
    (folder / "tape.bin").unlink()
    told = facts(folder)
    assert "5 bps from a record that is not known on (all strategies)" in told.texts["Slippage"]
    assert told.texts["Changed while it ran"].startswith("record not known: costs of all strategies")


def test_many_actions_are_counted_and_a_long_one_is_cut(tmp_path: Path) -> None:
    long = Params(strategy="sma", params={"words": "<b>" * 1000})
    told = facts(steered_run(tmp_path, long, *[Costs(slippage_bps=k) for k in range(30)]))
    lines = told.texts["Changed while it ran"].split("\n")
    assert len(lines) == LISTED + 1
    assert lines[-1] == "and 11 more: see control.jsonl."
    assert len(lines[0]) < LONGEST + 30
    assert '"<b><b>' in lines[0]
    assert told.texts["Slippage"].endswith("5 bps from record 3,126 on (all strategies) and 24 more.")


@pytest.mark.parametrize("content", [None, b"", b'{"id":1,"ts_wall":"1","action":"costs","slippage_'])
def test_a_run_without_actions_says_nothing_of_them(tmp_path: Path, content: bytes | None) -> None:
    folder = write_run(tmp_path, ticks=60)
    if content is not None:
        (folder / "control.jsonl").write_bytes(content)
    page = write_report(folder).read_text(encoding="utf-8")
    assert "hanged while it ran" not in page
    assert "sim replay" not in page
    assert "operator" not in page


def test_doing_it_again_says_what_repeats_the_operators_actions(tmp_path: Path) -> None:
    folder = steered_run(tmp_path, Costs(slippage_bps=5), Reset(seed=7))
    run = load_run(folder)
    first, *_, last = reproduce(run, operator_actions(run)).splitlines()
    assert first == f"python main.py {folder / 'config.json'}"
    assert last == f"sim replay {folder}"
    assert (
        "leaves out what an operator did (2 actions), and so does sim run" in write_report(folder).read_text()
    )


@pytest.mark.parametrize(
    ("action", "said"),
    [
        (Costs(latency_ms=200), "as configured throughout, which is not the run as it was."),
        (Pause(), "across. In colour: the run as it was."),
    ],
)
def test_what_reality_cost_says_what_it_compares_with(
    tmp_path: Path, action: OperatorAction, said: str
) -> None:
    curve = {"latency_ms": 50, "cost_factor": 1, "ts": [START, START + 1], "equity": [1.0, 2.0]}
    page = write_report(steered_run(tmp_path, action), {"curves": [curve]}).read_text()
    caption = re.search(r"<caption>(Final equity.*?)</caption>", page)
    assert caption is not None
    assert said in caption[1]


def test_a_line_of_another_version_is_left_out(tmp_path: Path) -> None:
    folder = write_run(tmp_path, ticks=60)
    lines = [{"id": 1, "action": "something_new"}, {"id": 2, "ts_wall": "1", "action": "pause"}]
    (folder / "control.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    assert [each.action for each in operator_actions(load_run(folder))] == [Pause()]
