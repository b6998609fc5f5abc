"""Other parameters for a strategy that runs: they take over as another version does, and outlive a crash."""

import contextlib
import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from OrderBook.control_log import ControlLog
from runtime.part import EXIT_OK
from runtime.versions import kept_params, kept_version
from Strategy.test.stage import Market, Stage, stage
from testing.harness import running
from trading_lib.control import HotReload, Params

ORDERS = """
    PARAMS = {"size": 1, "unit": 1}
    def init(ctx):
        if ctx.get_param("size") < 0:
            raise ValueError("size below 0")
    def on_tick(ctx, tick): ctx.place_market_order("BUY", ctx.get_param("size") * tick.price)
    def on_stop(ctx): ctx.place_market_order("SELL", 0.5)
"""


class Operator:
    """Writes the actions of run-1, as the control port does."""

    def __init__(self, s: Stage) -> None:
        self._log = ControlLog(s.run / "control.jsonl")

    def sets(self, strategy: str = "mine", **params: Any) -> int:
        return self._log.append(Params(strategy=strategy, params=params))

    def has_files_followed(self, on: bool) -> int:
        return self._log.append(HotReload(on=on))

    def close(self) -> None:
        self._log.close()


@contextlib.contextmanager
def at_work(
    folder: Path, source: str = ORDERS, *arguments: str, **settings: Any
) -> Iterator[tuple[Stage, Market, Operator]]:
    with (
        stage(folder, source, *arguments, **settings) as s,
        s.market() as m,
        contextlib.closing(Operator(s)) as operator,
    ):
        s.until_ready()
        yield s, m, operator


def from_record(s: Stage, seq: int) -> None:
    s.until(lambda: f"from record {seq} on" in s.log)


def test_other_parameters_take_over_at_a_boundary_and_no_tick_is_lost(tmp_path: Path) -> None:
    with at_work(tmp_path) as (s, m, operator):
        m.put(1.0, 2.0)
        s.until(lambda: s.quantities == [1.0, 2.0])
        operator.sets(size=10)
        from_record(s, 2)
        m.put(3.0)
        s.until(lambda: s.quantities == [1.0, 2.0, 0.5, 30.0])
        before, after = s.hellos
        assert (after.mode, after.number, after.reload) == ("new", 2, True)
        assert after.version.startswith(f"{before.version}-")
        assert kept_params(s.run, after.version, {}) == {"size": 10}
        assert kept_version(s.run, after.version).read_text() == s.path.read_text()
        assert s.stop() == EXIT_OK


def test_the_status_says_which_parameters_there_are_and_which_run(tmp_path: Path) -> None:
    with at_work(tmp_path, ORDERS, "-vv", params={"unit": 2}) as (s, _, operator):
        s.until(lambda: "'params': {'size': 1, 'unit': 2}" in s.process.output)
        assert "'params_known': {'size': 1, 'unit': 1}" in s.process.output
        assert f"'path': '{s.path}'" in s.process.output
        operator.sets(size=3)
        s.until(
            lambda: (
                "'params': {'size': 3, 'unit': 2}, 'params_known': {'size': 1, 'unit': 1}, 'params_action': 1"
                in s.process.output
            )
        )
        assert s.stop() == EXIT_OK


def test_parameters_that_break_it_leave_the_old_ones_and_show_the_error(tmp_path: Path) -> None:
    with at_work(tmp_path, ORDERS, "-vv") as (s, m, operator):
        operator.sets(size=-1)
        s.until(lambda: "the old one goes on: with size=-1: init: line 5: ValueError" in s.log)
        m.put(1.0)
        s.until(lambda: s.quantities == [1.0])
        operator.sets(sise=4)
        s.until(lambda: "with sise=4: it has no parameter sise, only size, unit" in s.log)
        s.until(lambda: "'params_action': 2, 'error': 'with sise=4" in s.process.output)
        operator.sets(unit=7)
        from_record(s, 1)
        m.put(2.0)
        s.until(lambda: s.quantities == [1.0, 0.5, 2.0])
        assert s.stop() == EXIT_OK


def test_parameters_mend_a_strategy_that_they_have_broken(tmp_path: Path) -> None:
    with (
        stage(tmp_path, ORDERS, params={"size": -1}) as s,
        s.market() as m,
        contextlib.closing(Operator(s)) as operator,
    ):
        s.until(lambda: "mine cannot run: init: line 5" in s.log)
        operator.sets(size=2)
        s.until(lambda: s.client)
        s.until(lambda: "from record 0" in s.log)
        m.put(1.0)
        s.until(lambda: s.quantities == [2.0])
        assert s.stop() == EXIT_OK


def test_a_worker_that_dies_while_parameters_are_tried_that_break_it_comes_back_with_its_old_ones(
    tmp_path: Path,
) -> None:
    slow = ORDERS.replace("raise", "time.sleep(0.3)\n            raise")
    with at_work(tmp_path, "    import time\n" + slow) as (s, m, operator):
        (pid,) = s.workers
        operator.sets(size=-1)
        s.until(lambda: len(s.workers) == 2 or "with size=-1" in s.log)
        os.kill(pid, signal.SIGKILL)
        s.until(lambda: "with size=-1" in s.log)
        s.until(lambda: "mine started again, from record 0" in s.log)
        m.put(1.0)
        s.until(lambda: s.quantities == [1.0])
        assert s.hellos[-1].version == s.hellos[0].version
        assert s.stop() == EXIT_OK


def test_a_file_saved_later_runs_with_the_changed_parameters(tmp_path: Path) -> None:
    with at_work(tmp_path) as (s, m, operator):
        operator.sets(size=10)
        from_record(s, 0)
        s.save(ORDERS.replace("* tick.price", "+ tick.price"))
        s.until(lambda: len(s.hellos) == 3)
        s.until(lambda: s.log.count("from record 0 on") == 2)
        m.put(1.0)
        s.until(lambda: s.quantities[-1:] == [11.0])
        assert s.stop() == EXIT_OK


def test_a_broken_file_on_the_disk_does_not_keep_the_running_one_from_other_parameters(
    tmp_path: Path,
) -> None:
    with at_work(tmp_path) as (s, m, operator):
        s.save("def on_tick(ctx, tick:")
        s.until(lambda: "the old one goes on" in s.log)
        operator.sets(size=10)
        from_record(s, 0)
        m.put(1.0)
        s.until(lambda: s.quantities[-1:] == [10.0])
        assert s.stop() == EXIT_OK


def test_a_worker_that_is_killed_comes_back_with_the_changed_parameters(tmp_path: Path) -> None:
    with at_work(tmp_path) as (s, m, operator):
        operator.sets(size=10)
        from_record(s, 0)
        (pid,) = s.workers
        os.kill(pid, signal.SIGKILL)
        s.until(lambda: "mine started again, from record 0" in s.log)
        m.put(1.0)
        s.until(lambda: s.quantities[-1:] == [10.0])
        assert s.hellos[-1].version == s.hellos[-2].version
        assert s.stop() == EXIT_OK


def test_a_strategy_that_is_killed_comes_back_with_what_was_accepted_and_tries_what_was_not(
    tmp_path: Path,
) -> None:
    with at_work(tmp_path) as (s, m, operator):
        operator.sets(size=10)
        operator.has_files_followed(False)
        from_record(s, 0)
        operator.sets(size=-1)
        s.until(lambda: "with size=-1" in s.log)
        s.process.popen.kill()
        s.process.popen.wait()
        said = s.log.count("with size=-1")
        operator.sets(unit=3)
        with running(["Strategy/run.py", str(tmp_path / "config.json")], tmp_path) as again:
            s.process = again
            s.until(lambda: s.hellos[-1].reload and len(s.hellos) == 4)
            assert s.hellos[2].version == s.hellos[1].version
            assert kept_params(s.run, s.hellos[3].version, {}) == {"size": 10, "unit": 3}
            s.until(lambda: s.log.count("from record 0 on") == 2)
            m.put(1.0)
            s.until(lambda: s.quantities[-1:] == [10.0])
            s.save(ORDERS.replace("* tick.price", "+ tick.price"))
            operator.sets(unit=4)
            s.until(lambda: len(s.hellos) == 5)
            assert s.hellos[4].version.split("-")[0] == s.hellos[0].version, "files are not followed"
            assert s.stop() == EXIT_OK
        assert s.log.count("with size=-1") == said


def test_following_files_can_be_switched_off_and_on_again(tmp_path: Path) -> None:
    with at_work(tmp_path, ORDERS, "-vv") as (s, m, operator):
        operator.has_files_followed(False)
        s.until(lambda: "'hot_reload': False" in s.process.output)
        s.save(ORDERS.replace("* tick.price", "+ tick.price"))
        operator.sets(size=10)
        from_record(s, 0)
        m.put(3.0)
        s.until(lambda: s.quantities[-1:] == [30.0])
        operator.has_files_followed(True)
        from_record(s, 1)
        m.put(3.0)
        s.until(lambda: s.quantities[-1:] == [13.0])
        assert s.stop() == EXIT_OK


def test_a_module_saved_beside_the_file_comes_along_with_other_parameters(tmp_path: Path) -> None:
    source = "import rules\nPARAMS = {'size': 1}\n" + (
        "def on_tick(ctx, tick): ctx.place_market_order('BUY', ctx.get_param('size') * rules.UNIT)"
    )
    beside = {"rules.py": "UNIT = 1"}
    with at_work(tmp_path, source, section={"hot_reload": False}, beside=beside) as (s, m, operator):
        (s.path.parent / "rules.py").write_text("UNIT = 100")
        operator.sets(size=2)
        from_record(s, 0)
        m.put(1.0)
        s.until(lambda: s.quantities == [200.0])
        kept = kept_version(s.run, s.hellos[-1].version)
        assert (kept.parent / "rules.py").read_text() == "UNIT = 100"
        assert s.stop() == EXIT_OK


def test_what_is_asked_of_another_strategy_is_said_and_changes_nothing(tmp_path: Path) -> None:
    with at_work(tmp_path) as (s, m, operator):
        operator.sets("yours", size=10)
        s.until(lambda: "action 1: no strategy 'yours' here" in s.log)
        m.put(1.0)
        s.until(lambda: s.quantities == [1.0])
        assert s.stop() == EXIT_OK
