"""The operator's actions as the lanes read them from a run's folder."""

from pathlib import Path

import pytest

from trading_lib.control import Cancel, Costs, KillSwitch, PlaceOrder, read_actions
from trading_lib.models import Side

KILL = b'{"id": 1, "action": "kill_switch", "ts": "5"}\n'
CANCEL = b'{"id": 2, "action": "cancel", "strategy": "s", "client_order_id": "417.0"}\n'
COSTS = b'{"id": 3, "action": "costs", "strategy": "s", "slippage_bps": 2.5, "latency_ms": 100}\n'
ORDER = b'{"id": 4, "action": "order", "symbol": "A.B", "side": "SELL", "qty": 2, "type": "limit", "price": 1.5}\n'


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "control.jsonl"


def test_a_run_without_a_file_has_no_actions(file: Path) -> None:
    assert read_actions(file) == {}


def test_actions_are_found_by_their_id_and_foreign_fields_do_no_harm(file: Path) -> None:
    file.write_bytes(KILL + CANCEL + COSTS + ORDER)
    assert read_actions(file) == {
        1: KillSwitch(),
        2: Cancel(strategy="s", client_order_id="417.0"),
        3: Costs(strategy="s", slippage_bps=2.5, latency_ms=100.0),
        4: PlaceOrder(symbol="A.B", side=Side.SELL, qty=2.0, type="limit", price=1.5),
    }


def test_what_follows_the_last_newline_is_not_there_yet(file: Path) -> None:
    for cut in range(len(CANCEL)):
        file.write_bytes(KILL + CANCEL[:cut])
        assert read_actions(file) == {1: KillSwitch()}


@pytest.mark.parametrize(
    "line",
    [
        b'{"id": 9, "action": "pause"}',
        b'{"id": 9, "action": "resume"}',
        b'{"id": 9, "action": "speed", "speed": 10}',
        b'{"id": 9, "action": "reset", "seed": 7}',
        b'{"id": 9, "action": "model", "changes": {"kappa": 2}}',
        b'{"id": 9, "action": "drop_feed"}',
        b'{"id": 9, "action": "somebody_elses", "strategy": "s"}',
        b'{"action": "kill_switch"}',
        b'{"id": "nine", "action": "kill_switch"}',
        b'{"id": 9, "action": "cancel"}',
        b'{"id": 9, "action": "costs", "slippage_bps": "many"}',
        b'{"id": 9, "action": "costs", "slippage_bps": -1}',
        b'{"id": 9, "action": "costs", "latency_ms": -50}',
        b'{"id": 9, "action": "costs", "commission_bps": 1e400}',
        b'{"id": 9, "action": "order", "symbol": "A", "side": "BUY", "qty": 1, "type": "limit"}',
        b'{"id": 9, "acti',
        b"[]",
        b"",
        b"\xff\xfe",
        b"\x00" * 40,
    ],
)
def test_a_line_that_is_no_action_of_the_lanes_is_passed_over(file: Path, line: bytes) -> None:
    file.write_bytes(KILL + line + b"\n" + CANCEL)
    assert list(read_actions(file)) == [1, 2]
