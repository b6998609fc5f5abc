"""Every example runs as its docstring says, as a process of its own."""

import ast
import re
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from testing.harness import (
    ROOT,
    Process,
    free_port,
    running,
    segment_name,
    system_config,
    wait_until,
    write_config,
)

EXAMPLES = sorted((ROOT / "examples").glob("*.py"))


class System(NamedTuple):
    """A running system."""

    tree: dict[str, Any]
    folder: Path
    process: Process

    @property
    def segment(self) -> str:
        """The name of its shared memory."""
        return str(self.tree["OrderBook"]["shared_memory_name"])


@pytest.fixture(scope="module")
def system(tmp_path_factory: pytest.TempPathFactory) -> Iterator[System]:
    """`python main.py` with ticks flowing."""
    folder = tmp_path_factory.mktemp("system")
    tree = system_config(folder)
    with running(["main.py", str(write_config(folder, tree))], folder) as process:
        wait_until(lambda: re.search(r"ticks [1-9]", process.output) or not process.alive, "the first ticks")
        assert process.alive, process.output
        yield System(tree, folder, process)
        assert process.stop() == 0, process.output


def printed_by(name: str, folder: Path, *arguments: str, exit_code: int = 0) -> str:
    """Run an example to its end."""
    with running([f"examples/{name}.py", *arguments], folder) as process:
        assert process.popen.wait(30) == exit_code, process.output
        return process.output


def test_every_example_says_how_to_run_it_and_has_a_test() -> None:
    tests = Path(__file__).read_text()
    for path in EXAMPLES:
        docstring = ast.get_docstring(ast.parse(path.read_text())) or ""
        assert f"python examples/{path.name}" in docstring, path.name
        assert f'"{path.stem}"' in tests or f"examples/{path.name}" in tests, path.name


def test_ten_lines_find_the_crossovers(tmp_path: Path) -> None:
    lines = printed_by("ten_line_strategy", tmp_path).splitlines()
    assert lines[0] == "2001-05-16 BUY 10 MSFT @ 23.0196"
    assert lines[-1] == "crossovers: AAPL 12, GOOG 10, IBM 19, MSFT 26"
    assert len(lines) == 12 + 10 + 19 + 26 + 1


def test_the_order_manager_example_shows_what_arrives(tmp_path: Path) -> None:
    assert printed_by("order_manager_example", tmp_path).splitlines() == [
        "Received Order 1: BUY 10 AAPL @ 173.20",
        "Received Order 2: SELL 2.5 MSFT @ 402.15",
        "Rejected: bad quantity: '0'",
        "Received Order 3: SELL 4 GOOG @ 168.00",
        "Received Order 4: SELL 10 AAPL @ 173.25",
        "4 orders received, 1 rejected",
    ]


def test_the_plain_client_prints_ticks_and_its_order_arrives(system: System, tmp_path: Path) -> None:
    ports = [
        *("--md-port", str(system.tree["Gateway"]["md_port"])),
        *("--order-port", str(system.tree["OrderManager"]["port"])),
    ]
    *ticks, sent = printed_by("plain_client", tmp_path, *ports, "--ticks", "5").splitlines()
    assert len(ticks) == 5
    assert all(re.fullmatch(r"(AAPL|GOOG|IBM|MSFT),\d+\.\d+", tick) for tick in ticks), ticks
    symbol, price = ticks[-1].split(",")
    assert re.fullmatch(rf"sent \d+\.\d{{3}},BUY,1,{symbol},{price}\*", sent)
    log = system.folder / "logs" / "order_manager.log"
    wait_until(lambda: f"BUY 1 {symbol} @ {price}" in log.read_text(), "the order in the log")


def test_the_plain_client_says_when_nobody_is_there(tmp_path: Path) -> None:
    printed = printed_by("plain_client", tmp_path, "--md-port", str(free_port()), exit_code=1)
    assert printed.startswith("no running system at 127.0.0.1") and "make run" in printed


def test_the_price_book_reader_shows_moving_prices(system: System, tmp_path: Path) -> None:
    first, *lines = printed_by("price_book_reader", tmp_path, system.segment, "--seconds", "1.5").splitlines()
    assert first.startswith(f"{system.segment}: 4 symbols, ")
    assert len(lines) == 2
    for line in lines:
        assert re.fullmatch(r"[A-Z]+ \d+\.\d+ \(\+\d+\)(   [A-Z]+ \d+\.\d+ \(\+\d+\)){2,3}", line), line
        assert any(int(changes) > 0 for changes in re.findall(r"\(\+(\d+)\)", line)), line


def test_the_price_book_reader_ends_at_ctrl_c(system: System, tmp_path: Path) -> None:
    with running(["examples/price_book_reader.py", system.segment], tmp_path) as process:
        process.wait_for("AAPL")
        assert process.stop(signal.SIGINT) == 0, process.output


def test_the_price_book_reader_says_when_there_is_no_book(tmp_path: Path) -> None:
    printed = printed_by("price_book_reader", tmp_path, segment_name(), exit_code=1)
    assert "no shared memory segment" in printed and "make run" in printed


def test_the_price_book_reader_notices_that_the_system_has_stopped(tmp_path: Path) -> None:
    tree = system_config(tmp_path)
    name = tree["OrderBook"]["shared_memory_name"]
    with running(["OrderBook/run.py", str(write_config(tmp_path, tree))], tmp_path) as order_book:
        order_book.wait_for("ready")
        with running(["examples/price_book_reader.py", name], tmp_path) as reader:
            reader.wait_for("no price yet")
            assert order_book.stop() == 0
            assert reader.popen.wait(30) == 0, reader.output
            assert "the OrderBook has stopped" in reader.output
