"""What main.py refuses to start, and what a start that failed leaves: real processes."""

from pathlib import Path
from typing import Any

import pytest

from runtime.status_socket import ask
from testing.harness import free_port, running, segment_name, segments, system_config, write_config


@pytest.mark.parametrize(
    ("section", "key", "wanted"),
    [
        ("OrderManager", "shared_memory_name", "OrderBook.shared_memory_name"),
        ("Strategy", "shared_memory_name", "OrderBook.shared_memory_name"),
        ("Strategy", "order_manager_port", "OrderManager.port"),
        ("OrderBook", "md_port", "Gateway.md_port"),
        ("OrderBook", "news_port", "Gateway.news_port"),
    ],
)
def test_parts_that_would_not_meet_are_refused_with_both_keys_and_values(
    tmp_path: Path, section: str, key: str, wanted: str
) -> None:
    other = segment_name() if key == "shared_memory_name" else free_port()
    tree = system_config(tmp_path, **{section: {key: other}})
    owner, known = wanted.split(".")
    with running(["main.py", str(write_config(tmp_path, tree))], tmp_path) as process:
        assert process.popen.wait(30) == 78
        assert f"{section}.{key} ({other}) must be {wanted} ({tree[owner][known]}): " in process.output
    assert not (tmp_path / "runs").exists()


def test_a_part_that_runs_alone_may_look_for_those_of_another_configuration(tmp_path: Path) -> None:
    tree = system_config(tmp_path, Strategy={"order_manager_port": free_port()})
    with running(["OrderManager/run.py", str(write_config(tmp_path, tree))], tmp_path) as process:
        process.wait_for(f":{tree['OrderManager']['port']}")
        assert process.alive


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"Gateway": {"data_path": "none.csv"}}, "Gateway.data_path: "),
        ({"Strategy": {"strategies": [{"id": "a", "path": "none.py"}]}}, "no such strategy file"),
    ],
)
def test_a_start_that_fails_leaves_no_run(tmp_path: Path, changes: dict[str, Any], said: str) -> None:
    tree = system_config(tmp_path, Recorder={"enabled": True}, **changes)
    with running(["main.py", str(write_config(tmp_path, tree))], tmp_path) as process:
        assert process.popen.wait(30) == 78
        assert said in process.output
    assert list((tmp_path / "runs").iterdir()) == []
    assert segments(tree["OrderBook"]["shared_memory_name"]) == []


def test_a_run_that_has_played_is_kept_when_a_part_cannot_start_again(tmp_path: Path) -> None:
    data = tmp_path / "data.csv"
    data.write_text("timestamp,symbol,price\n2025-01-02T14:30:00Z,AAPL,100\n2025-01-02T14:31:00Z,AAPL,101\n")
    tree = system_config(tmp_path, Gateway={"data_path": str(data)}, Recorder={"enabled": True})
    with running(["main.py", str(write_config(tmp_path, tree))], tmp_path) as process:
        process.wait_for("(200/s)")
        (run,) = (tmp_path / "runs").iterdir()
        data.unlink()
        ask(run / "status.sock", {"kill": "gateway"})
        assert process.popen.wait(30) == 78
        assert "gateway cannot start" in process.output
    assert (run / "tape.bin").stat().st_size > 0
