"""Strategies in their workers: broken files, reloads, crashes, hangs, and what they print."""

import os
import re
import signal
from pathlib import Path

import msgspec
import psutil
import pytest

from runtime.part import EXIT_OK
from Strategy import landlock, seccomp
from Strategy.test.stage import BUY_ALL, Stage, stage
from testing.harness import wait_until

TENS = "def on_tick(ctx, tick): ctx.place_market_order('BUY', 10 * tick.price)"


def hellos(s: Stage) -> list[tuple[str, int, bool]]:
    """How the strategy has asked for its lane: mode, record, whether as a reload."""
    return [(hello.mode, hello.number, hello.reload) for hello in s.hellos]


# ------------------------------------------------------------------------------------------- broken files


@pytest.mark.parametrize(
    ("source", "shown"),
    [
        ("def on_tick(ctx, tick:", "line 1: SyntaxError"),
        ("x = 1", "a strategy has a function on_tick(ctx, tick)"),
        ("def on_tick(ctx, tick): pass\ndef init(ctx):\n    1 / 0\n", "init: line 3: ZeroDivisionError"),
        ("raise SystemExit(3)", "line 1: SystemExit: 3"),
        ("import os\nos._exit(3)", "exit code 3"),
    ],
)
def test_a_file_that_cannot_run_is_said_with_its_line_and_runs_once_it_is_mended(
    tmp_path: Path, source: str, shown: str
) -> None:
    with stage(tmp_path, source) as s, s.market() as m:
        s.until(lambda: shown in s.log)
        s.until(lambda: "ready" in s.process.output)
        assert "Traceback" not in s.process.output
        s.until(lambda: s.workers == [])
        s.save(BUY_ALL)
        s.until(lambda: s.client)
        s.until(lambda: "from record 0" in s.log)
        m.put(1.0)
        s.until(lambda: s.quantities == [1.0])
        assert s.stop() == EXIT_OK


def test_a_lane_that_is_more_than_a_socket_takes_at_once_arrives(tmp_path: Path) -> None:
    with stage(tmp_path) as s:
        s.prices = {f"SYMBOL{number}": 1.0 for number in range(50_000)}
        with s.market() as m:
            s.until_ready()
            m.put(1.0)
            s.until(lambda: s.quantities == [1.0])
            assert s.stop() == EXIT_OK


# ------------------------------------------------------------------------------------------------ reloads


def test_a_saved_file_takes_over_at_a_boundary_and_no_tick_is_lost(tmp_path: Path) -> None:
    with stage(tmp_path) as s, s.market() as m:
        s.until_ready()
        m.put(1.0, 2.0)
        s.until(lambda: len(s.received) == 2)
        s.save(TENS)
        sent = 3
        while max(s.quantities) < sent:  # ticks go on all the while
            m.put(float(sent))
            s.until(lambda sent=sent: s.quantities[-1] in (sent, 10 * sent))  # type: ignore[misc]
            sent += 1
        taken_over = next(i for i, quantity in enumerate(s.quantities) if quantity > i + 1)
        expected = [i + 1.0 if i < taken_over else (i + 1) * 10.0 for i in range(len(s.quantities))]
        assert s.quantities == expected
        assert hellos(s) == [("new", 0, False), ("new", taken_over, True)]
        assert s.hellos[0].version != s.hellos[1].version
        kept = {path.stem for path in (tmp_path / "runs" / "run-1" / "strategies").iterdir()}
        assert kept == {hello.version for hello in s.hellos}
        assert s.stop() == EXIT_OK


def test_a_broken_new_version_leaves_the_old_one_running_and_shows_the_error(tmp_path: Path) -> None:
    with stage(tmp_path) as s, s.market() as m:
        s.until_ready()
        s.save("def on_tick(ctx, tick): pass\ndef init(ctx): ctx.nothing()")
        s.until(
            lambda: "the new version cannot run, the old one goes on: init: line 2: AttributeError" in s.log
        )
        m.put(1.0)
        s.until(lambda: s.quantities == [1.0])
        assert hellos(s) == [("new", 0, False)]
        s.save(TENS)
        s.until(lambda: len(s.hellos) == 2)
        s.until(lambda: re.search(r"mine: version \w+ from record 1 on", s.log))
        m.put(2.0)
        s.until(lambda: s.quantities == [1.0, 20.0])
        assert s.stop() == EXIT_OK


def test_the_old_version_is_stopped_and_what_it_orders_then_still_counts(tmp_path: Path) -> None:
    source = """
        def on_tick(ctx, tick): pass
        def on_stop(ctx):
            ctx.log("goodbye")
            ctx.place_market_order("SELL", 7)
    """
    with stage(tmp_path, source) as s, s.market() as m:
        s.until_ready()
        m.put(1.0)
        s.until(lambda: s.progress and s.progress[-1].next_seq == 1)
        s.save(BUY_ALL)
        s.until(lambda: s.quantities == [7.0])
        s.until(lambda: len(s.hellos) == 2)
        assert "mine: goodbye" in s.log
        assert [received.order.client_order_id for received in s.received] == ["0.0"]
        assert s.stop() == EXIT_OK


def test_a_saved_module_beside_the_file_is_a_new_version(tmp_path: Path) -> None:
    source = "import rules\ndef on_tick(ctx, tick): ctx.place_market_order('BUY', rules.QTY)"
    with stage(tmp_path, source, beside={"rules.py": "QTY = 1\n"}) as s, s.market() as m:
        s.until_ready()
        m.put(1.0)
        s.until(lambda: s.quantities == [1.0])
        (s.path.parent / "rules.py").write_text("QTY = 20\n")
        s.until(lambda: re.search(r"mine: version \w+ from record 1 on", s.log))
        m.put(1.0)
        s.until(lambda: s.quantities == [1.0, 20.0])
        assert s.stop() == EXIT_OK


def test_saving_without_a_change_is_no_new_version(tmp_path: Path) -> None:
    with stage(tmp_path) as s, s.market() as m:
        s.until_ready()
        (before,) = s.workers
        s.save(BUY_ALL)
        s.save(TENS)
        s.until(lambda: len(s.hellos) == 2)
        s.until(lambda: before not in s.workers and len(s.workers) == 1)
        m.put(1.0)
        s.until(lambda: s.quantities == [10.0])
        assert s.stop() == EXIT_OK


def test_without_hot_reload_a_saved_file_changes_nothing(tmp_path: Path) -> None:
    with stage(tmp_path, section={"hot_reload": False}) as s, s.market() as m:
        s.until_ready()
        s.save(TENS)
        m.put(1.0, 2.0)
        s.until(lambda: s.quantities == [1.0, 2.0])
        assert len(s.hellos) == 1
        assert s.stop() == EXIT_OK


# ------------------------------------------------------------------------------------------ crashes, hangs


def test_a_worker_that_is_killed_is_started_again_at_the_head_with_the_ledgers_position(
    tmp_path: Path,
) -> None:
    source = "def on_tick(ctx, tick): ctx.place_market_order('BUY', 1 + ctx.position())"
    with stage(tmp_path, source) as s, s.market() as m:
        s.until_ready()
        m.put(1.0)
        s.until(lambda: s.quantities == [1.0])
        s.position = 5.0
        os.kill(s.workers[0], signal.SIGKILL)
        s.until(lambda: "mine started again, from record 1" in s.log)
        m.put(1.0)
        s.until(lambda: s.quantities == [1.0, 6.0])
        assert hellos(s) == [("new", 0, False), ("new", 1, False)]
        assert s.stop() == EXIT_OK


def test_a_zygote_that_is_killed_takes_its_workers_along_and_all_is_started_again(tmp_path: Path) -> None:
    with stage(tmp_path, BUY_ALL, "-vv") as s, s.market() as m:
        s.until_ready()
        zygote, worker = s.zygote, s.workers[0]
        zygote.kill()
        s.until(lambda: "mine started again, from record 0" in s.log)
        wait_until(lambda: not psutil.pid_exists(worker))
        s.until(lambda: "'zygote_restarts': 1" in s.process.output)
        m.put(1.0)
        s.until(lambda: s.quantities == [1.0])
        assert s.stop() == EXIT_OK


@pytest.mark.parametrize(
    ("loop", "line"),
    [
        ("while True: pass", "strategy.py line 4 in on_tick"),
        ("sum(iter(int, 1))", "strategy.py line 4 in on_tick"),  # which stays in C
    ],
)
def test_a_strategy_that_does_not_come_back_is_killed_with_its_line_said_and_runs_again(
    tmp_path: Path, loop: str, line: str
) -> None:
    source = f"""
        def on_tick(ctx, tick):
            if tick.price == 666:
                {loop}
            ctx.place_market_order("BUY", tick.price)
    """
    with stage(tmp_path, source, section={"hang_s": 0.3}) as s, s.market() as m:
        s.until_ready()
        m.put(1.0)
        s.until(lambda: s.quantities == [1.0])
        m.put(666.0)
        s.until(lambda: f"at {line}: killed" in s.log)
        s.until(lambda: "mine started again, from record 2" in s.log)
        m.put(3.0)
        s.until(lambda: s.quantities == [1.0, 3.0])
        assert s.stop() == EXIT_OK


def test_one_that_hangs_again_and_again_is_left_alone_until_it_is_saved(tmp_path: Path) -> None:
    source = "def on_tick(ctx, tick):\n    while True: pass\n"
    with stage(tmp_path, source, section={"hang_s": 0.1}) as s, s.market() as m:
        s.until_ready()

        def stopped() -> bool:
            if s.workers and "STOPPED until it is saved again" not in s.log:
                m.put(1.0)
            return "STOPPED until it is saved again: it keeps dying: did not come back" in s.log

        s.until(stopped)
        s.until(lambda: s.workers == [])
        s.save(BUY_ALL)
        s.until(lambda: len(s.workers) == 1 and s.client)
        s.until(lambda: "started again" in s.log.rpartition("STOPPED")[2])
        m.put(5.0)
        s.until(lambda: s.quantities == [5.0])
        assert s.stop() == EXIT_OK


def test_one_that_is_held_up_between_two_records_is_killed_too(tmp_path: Path) -> None:
    source = """
        import signal, threading
        def on_tick(ctx, tick):
            if tick.price == 666:
                thread = threading.current_thread().ident
                threading.Timer(0.05, lambda: signal.pthread_kill(thread, signal.SIGSTOP)).start()
            ctx.place_market_order("BUY", tick.price)
    """
    with stage(tmp_path, source, section={"hang_s": 0.6}) as s, s.market() as m:
        s.until_ready()
        m.put(666.0)
        s.until(lambda: re.search(r"mine did not come back for [\d.]+ s: killed", s.log))
        s.until(lambda: "mine started again, from record 1" in s.log)
        m.put(3.0)
        s.until(lambda: s.quantities == [666.0, 3.0])
        assert s.stop() == EXIT_OK


def test_an_exit_of_the_strategy_is_an_error_of_it_or_the_end_of_its_worker_alone(tmp_path: Path) -> None:
    source = """
        import os
        def on_tick(ctx, tick):
            if tick.price == 1: raise SystemExit(1)
            if tick.price == 2: os._exit(7)
            ctx.place_market_order("BUY", tick.price)
    """
    with stage(tmp_path, source) as s, s.market() as m:
        s.until_ready()
        m.put(1.0, 3.0)
        s.until(lambda: s.quantities == [3.0])
        s.until(lambda: "mine: at record 0: line 4: SystemExit: 1" in s.log)
        m.put(2.0)
        s.until(lambda: "mine died (exit code 7)" in s.log)
        s.until(lambda: "mine started again, from record 3" in s.log)
        m.put(4.0)
        s.until(lambda: s.quantities == [3.0, 4.0])
        assert s.stop() == EXIT_OK


def test_a_strategy_over_its_budget_is_counted_and_said_with_its_line(tmp_path: Path) -> None:
    source = """
        import time
        def on_tick(ctx, tick):
            time.sleep(0.3)
    """
    with stage(tmp_path, source, "-vv", section={"budget_ms": 50}) as s, s.market() as m:
        s.until_ready()
        m.put(1.0, 2.0)
        s.until(lambda: "mine is slow: over 50 ms for a record, at strategy.py line 4 in on_tick" in s.log)
        s.until(lambda: "'over_budget': 2" in s.process.output)
        assert s.stop() == EXIT_OK


def test_how_far_a_strategy_is_behind_is_said_in_records_and_in_milliseconds(tmp_path: Path) -> None:
    source = """
        import time
        def on_tick(ctx, tick):
            time.sleep(1.2)
    """
    with stage(tmp_path, source, "-vv") as s, s.market() as m:
        s.until_ready()
        s.until(lambda: "'lag': 0, 'lag_ms': 0.0" in s.process.output)
        m.put(1.0, 2.0, 3.0)
        s.until(lambda: re.search(r"'lag': 2, 'lag_ms': [12]\d{3}\.\d", s.process.output))
        s.until(lambda: s.progress and s.progress[-1].next_seq == 3)
        assert s.stop() == EXIT_OK


# ------------------------------------------------------------------------------------------------- output


def test_what_a_strategy_prints_is_in_the_log_under_its_name(tmp_path: Path) -> None:
    source = "import sys\ndef on_tick(ctx, tick):\n    print('hello', tick.price)\n    print('oh', file=sys.stderr)"
    with stage(tmp_path, source) as s, s.market() as m:
        s.until_ready()
        m.put(1.0)
        s.until(lambda: "mine: hello 1.0" in s.log and "mine: oh" in s.log)
        assert s.stop() == EXIT_OK


def test_the_last_words_of_a_worker_that_dies_are_in_the_log(tmp_path: Path) -> None:
    source = """
        import os
        def on_tick(ctx, tick):
            os.write(1, b"x" * 60000 + b"\\nhelp")
            os._exit(7)
    """
    with stage(tmp_path, source) as s, s.market() as m:
        s.until_ready()
        m.put(1.0)
        s.until(lambda: "mine: help" in s.log and "mine died (exit code 7)" in s.log)
        assert s.stop() == EXIT_OK


def test_who_prints_without_end_hurts_nobody_and_what_is_not_shown_is_counted(tmp_path: Path) -> None:
    source = """
        def on_tick(ctx, tick):
            for i in range(20000): print('x' * 50, i)
            ctx.place_market_order('BUY', 1)
    """
    with stage(tmp_path, source, "-vv", section={"hang_s": 30}) as s, s.market() as m:
        s.until_ready()
        m.put(1.0)
        s.until(lambda: s.quantities == [1.0])
        s.until(lambda: re.search(r"'lines_dropped': 1\d{4}", s.process.output))
        assert s.stop() == EXIT_OK


# ---------------------------------------------------------------------------------------------- reporting


def test_why_there_is_no_trade_and_the_indicators_are_reported(tmp_path: Path) -> None:
    source = """
        def init(ctx): ctx.average = ctx.indicator.SMA(2)
        def on_tick(ctx, tick):
            mean = ctx.average.update(tick.price)
            ctx.no_trade("warming up" if mean is None else "signals disagree")
    """
    with stage(tmp_path, source, "-vv") as s, s.market() as m:
        s.until_ready()
        s.until(lambda: "'why': {'no data': 1}" in s.process.output)
        m.put(1.0, 2.0, 4.0)
        s.until(lambda: "'why': {'warming up': 1, 'signals disagree': 2}" in s.process.output)
        assert "'indicators': {'SMA(2)': 3.0}" in s.process.output
        assert s.stop() == EXIT_OK


def test_how_often_the_ledger_has_refused_a_session_is_counted(tmp_path: Path) -> None:
    with stage(tmp_path, BUY_ALL, "-vv") as s:
        s.denied = "not today"
        with s.market() as m:
            s.until(lambda: re.search(r"'sessions refused': [2-9]", s.process.output))
            assert s.log.count("the OrderManager refuses the session of mine: not today") == 1
            s.denied = ""
            s.until_ready()
            m.put(1.0)
            s.until(lambda: s.quantities == [1.0])
            assert s.stop() == EXIT_OK


def test_a_worker_has_the_environment_of_nobody(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("A_SECRET", "of mine")
    source = (
        "import os\ndef init(ctx): print('environment', sorted(os.environ))\ndef on_tick(ctx, tick): pass"
    )
    with stage(tmp_path, source) as s, s.market():
        s.until_ready()
        s.until(lambda: "mine: environment" in s.log)
        shown = re.search(r"mine: environment (\[.*\])", s.log)
        assert shown is not None
        names = set(msgspec.json.decode(shown[1].replace("'", '"'), type=list[str]))
        assert not {"A_SECRET", "HOME", "PATH"} & names
        assert s.stop() == EXIT_OK


# ------------------------------------------------------------------------------------------------ sandbox

locked_in = pytest.mark.skipif(
    not landlock.abi() or seccomp.library() is None,
    reason="this kernel has no Landlock, or no libseccomp is there",
)


@locked_in
def test_a_strategy_is_locked_in_and_what_it_may_not_call_is_counted_by_name(tmp_path: Path) -> None:
    source = """
        import os, socket
        def attempt(what):
            try: return what()
            except OSError as fault: return type(fault).__name__
        def on_tick(ctx, tick):
            tries = [lambda: os.system("true"), socket.socket, lambda: open("/etc/passwd"), os.fork]
            ctx.log([attempt(what) for what in tries])
            ctx.place_market_order("BUY", tick.price)
    """
    with stage(tmp_path, source, "-vv") as s, s.market() as m:
        s.until_ready()
        m.put(1.0)
        s.until(lambda: s.quantities == [1.0])
        s.until(
            lambda: re.search(r"mine: \[\S+ 'PermissionError', 'PermissionError', 'PermissionError'\]", s.log)
        )
        s.until(lambda: re.search(r"'denied_calls': \{[^}]*'socket': 1", s.process.output))
        assert s.stop() == EXIT_OK


@locked_in
def test_who_makes_forbidden_calls_without_end_is_slowed_down_alone(tmp_path: Path) -> None:
    source = """
        import os
        def on_tick(ctx, tick):
            if tick.symbol == "MSFT":
                while True:
                    try: os.kill(1, 0)
                    except PermissionError: pass
    """
    calm = tmp_path / "calm.py"
    calm.write_text(BUY_ALL)
    strategies = [
        {"id": "mine", "path": str(tmp_path / "mine" / "strategy.py")},
        {"id": "calm", "path": str(calm)},
    ]
    with stage(tmp_path, source, section={"hang_s": 0.5, "strategies": strategies}) as s, s.market() as m:
        s.until_ready()
        m.put(1.0, slot=1)
        m.put(2.0)
        s.until(lambda: 2.0 in s.quantities)
        s.until(
            lambda: re.search(r"did not come back for [\d.]+ s, at strategy.py line \d in on_tick", s.log)
        )
        assert s.stop() == EXIT_OK


@locked_in
def test_nobody_orders_under_another_name(tmp_path: Path) -> None:
    """The session is the worker's own: whatever it writes there counts as its own."""
    source = """
        import os, socket
        def on_tick(ctx, tick):
            for fd in range(3, 64):
                try: os.write(fd, b"!HELLO,1,orders,other,token,new,0*")
                except OSError: pass
    """
    with stage(tmp_path, source) as s, s.market() as m:
        s.until_ready()
        m.put(1.0)
        s.until(lambda: s.server.rejected)
        assert {hello.strategy for hello in s.hellos} == {"mine"}
        s.stop()


# ------------------------------------------------------------------------------- what may happen meanwhile

SLOW_TO_LEAVE = """
    import time
    def on_tick(ctx, tick): ctx.place_market_order("BUY", tick.price)
    def on_stop(ctx):
        print("leaving")
        time.sleep(0.8)
"""


def told_to_leave(s: Stage, source: str) -> int:
    """Save a version and wait until the old one, SLOW_TO_LEAVE, is on its way out; the new one's worker."""
    (old,) = s.workers
    s.save(source)
    s.until(lambda: "mine: leaving" in s.log)
    (new,) = set(s.workers) - {old}
    return new


def test_a_version_that_dies_while_the_old_one_leaves_costs_no_tick(tmp_path: Path) -> None:
    with stage(tmp_path, SLOW_TO_LEAVE) as s, s.market() as m:
        s.until_ready()
        m.put(1.0)
        s.until(lambda: s.quantities == [1.0])
        os.kill(told_to_leave(s, TENS), signal.SIGKILL)
        m.put(2.0, 3.0)
        s.until(lambda: len(s.received) == 3)
        assert s.quantities == [1.0, 2.0, 3.0]  # the old version again, from where it had left
        assert [number for _, number, _ in hellos(s)] == [0, 1]
        assert s.stop() == EXIT_OK


def test_a_version_saved_while_the_old_one_leaves_takes_over_from_the_same_record(tmp_path: Path) -> None:
    with stage(tmp_path, SLOW_TO_LEAVE) as s, s.market() as m:
        s.until_ready()
        m.put(1.0)
        s.until(lambda: s.quantities == [1.0])
        told_to_leave(s, "def on_tick(ctx, tick): 1 / 0")
        s.save(TENS)
        m.put(2.0, 3.0)
        s.until(lambda: len(s.received) == 3)
        assert s.quantities == [1.0, 20.0, 30.0]
        assert hellos(s)[-1] == ("new", 1, True)
        assert s.stop() == EXIT_OK
