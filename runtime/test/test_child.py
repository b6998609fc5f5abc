"""A supervised child: what it says, how it ends, and when it is started again."""

import signal
import textwrap
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest

from runtime.child import (
    CRASH_LIMIT,
    CRASH_WINDOW_S,
    FIRST_DELAY_S,
    LONGEST_DELAY_S,
    MAX_LINE,
    SILENT_AFTER_S,
    Child,
    State,
)
from runtime.loop import EventLoop
from testing.harness import wait_until

LINK = "import os, socket; link = socket.socket(fileno=int(os.environ['ALGOSIM_LINK_FD']))\n"


class Nursery:
    """One child over a script, its loop, and the lines it printed."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.loop = EventLoop()
        self.lines: list[str] = []
        self.child = Child("probe", folder / "probe.py", self._on_line)

    def _on_line(self, child: Child, text: str) -> None:
        assert child is self.child
        self.lines.append(text)

    def start(self, script: str, *arguments: str) -> Child:
        (self.folder / "probe.py").write_text(textwrap.dedent(script))
        self.child.start(self.loop, list(arguments), "run-7")
        return self.child

    def until(self, condition: Callable[[], object]) -> None:
        def look() -> object:
            self.loop.run_once(0.005)
            return condition()

        wait_until(look)

    def until_ended(self) -> Child:
        self.until(self.child.reap)
        return self.child

    def close(self) -> None:
        self.child.signal(signal.SIGKILL)
        wait_until(lambda: self.child.pid is None or self.child.reap())
        self.loop.close()


@pytest.fixture
def nursery(tmp_path: Path) -> Iterator[Nursery]:
    made = Nursery(tmp_path)
    yield made
    made.close()


def test_a_child_waits_starts_and_is_ready_when_it_says_so(nursery: Nursery) -> None:
    assert (nursery.child.state, nursery.child.pid) == (State.WAITING, None)
    child = nursery.start(LINK + 'link.send(b\'{"ready": "on port 1"}\\n\'); link.recv(1)')
    assert child.state is State.STARTING
    assert child.pid is not None
    nursery.until(lambda: child.state is State.READY)
    assert child.message == "on port 1"


def test_its_arguments_and_run_id_arrive(nursery: Nursery) -> None:
    nursery.start("import os, sys; print(sys.argv[1:], os.environ['ALGOSIM_RUN_ID'])", "config.json", "-v")
    nursery.until_ended()
    assert nursery.lines == ["['config.json', '-v'] run-7"]


def test_a_status_may_come_in_pieces_and_many_at_once(nursery: Nursery) -> None:
    child = nursery.start(
        LINK
        + textwrap.dedent("""
        import time
        for piece in (b'{"sta', b'tus": {"ticks": 1}}\\n{"status"', b': {"ticks": 2}}\\n{"say": "hello"}\\n{"half'):
            link.send(piece)
            time.sleep(0.02)  # so that each piece is read alone
        link.recv(1)
        """)
    )
    nursery.until(lambda: nursery.lines.count("hello"))
    assert child.status == {"ticks": 2}
    assert child.status_at > 0


def test_what_it_prints_is_passed_on_line_by_line_also_the_last_without_an_end(nursery: Nursery) -> None:
    nursery.start(
        "import sys; print('one'); print('two', file=sys.stderr); sys.stdout.flush(); print('three', end='')"
    )
    child = nursery.until_ended()
    assert sorted(nursery.lines) == ["one", "three", "two"]
    assert child.exit_code == 0


def test_everything_it_left_behind_is_read_after_its_end(nursery: Nursery) -> None:
    nursery.start(
        LINK
        + textwrap.dedent("""
        import sys
        for number in range(3):
            link.send(b'{"status": {"number": %d, "padding": "' % number + b"x" * 60_000 + b'"}}\\n')
        sys.stdout.write("line\\n" * 12_000)  # 60 kB: what a pipe holds
        """)
    )
    wait_until(lambda: nursery.child._process is not None and nursery.child._process.poll() is not None)
    assert nursery.lines == []
    assert nursery.child.reap()
    assert nursery.child.status["number"] == 2
    assert nursery.lines == ["line"] * 12_000


def test_output_without_a_line_end_is_passed_on_in_pieces(nursery: Nursery) -> None:
    nursery.start(f"import sys; sys.stdout.write('x' * {3 * MAX_LINE}); sys.stdout.flush()")
    nursery.until_ended()
    assert sum(map(len, nursery.lines)) == 3 * MAX_LINE
    assert len(nursery.lines) >= 2


def test_output_that_is_no_text_is_shown_as_well_as_it_can_be(nursery: Nursery) -> None:
    nursery.start(r"import os; os.write(1, b'\xff\xfe ok\n')")
    nursery.until_ended()
    assert nursery.lines == ["\ufffd\ufffd ok"]


@pytest.mark.parametrize(
    ("script", "code"),
    [
        ("import sys; sys.exit(78)", 78),
        ("raise ValueError", 1),
        ("import os, signal; os.kill(os.getpid(), signal.SIGKILL)", -signal.SIGKILL),
    ],
)
def test_its_end_is_noticed_once_with_its_exit_code(nursery: Nursery, script: str, code: int) -> None:
    nursery.start(script)
    child = nursery.until_ended()
    assert (child.exit_code, child.pid) == (code, None)
    assert not child.reap()


def test_signals_reach_it_and_after_its_end_go_nowhere(nursery: Nursery) -> None:
    child = nursery.start("import time; print('up', flush=True); time.sleep(60)")
    nursery.until(lambda: nursery.lines)
    child.signal(signal.SIGTERM)
    nursery.until_ended()
    assert child.exit_code == -signal.SIGTERM
    child.signal(signal.SIGTERM)


def test_the_terminals_ctrl_c_does_not_reach_it(nursery: Nursery) -> None:
    nursery.start("import os; print(os.getpgrp() == os.getpid())")
    nursery.until_ended()
    assert nursery.lines == ["True"]


def test_its_memory_is_known_while_it_runs(nursery: Nursery) -> None:
    assert nursery.child.usage() == (0.0, 0)
    nursery.start("import time; print('up', flush=True); time.sleep(60)")
    nursery.until(lambda: nursery.lines)
    assert nursery.child.usage()[1] > 1_000_000
    nursery.child.signal(signal.SIGKILL)
    nursery.until_ended()
    assert nursery.child.usage() == (0.0, 0)


# ------------------------------------------------------------------------------------- started again


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    """The child's clock: `now` moves when the test says so."""
    made = SimpleNamespace(now=1000.0)
    monkeypatch.setattr("runtime.child.time", SimpleNamespace(monotonic=lambda: made.now))
    return made


def crash(nursery: Nursery) -> Child:
    nursery.start("import sys; sys.exit(1)")
    return nursery.until_ended()


def test_after_a_crash_it_waits_twice_as_long_each_time_and_in_the_end_is_given_up(
    nursery: Nursery, clock: SimpleNamespace
) -> None:
    delays = []
    for k in range(CRASH_LIMIT):
        child = crash(nursery)
        assert child.plan_restart()
        assert (child.state, child.restarts) == (State.RESTARTING, k + 1)
        delays.append(child.restart_at - clock.now)
        clock.now = child.restart_at
    expected = [min(FIRST_DELAY_S * 2**k, LONGEST_DELAY_S) for k in range(CRASH_LIMIT)]
    assert delays == pytest.approx(expected)
    crash(nursery)
    assert not nursery.child.plan_restart()
    assert nursery.child.restarts == CRASH_LIMIT


def test_who_has_run_for_a_while_before_it_crashed_begins_anew(
    nursery: Nursery, clock: SimpleNamespace
) -> None:
    for _ in range(3 * CRASH_LIMIT):
        nursery.start("import sys; sys.exit(1)")
        clock.now += CRASH_WINDOW_S
        nursery.until_ended()
        assert nursery.child.plan_restart()
        assert nursery.child.restart_at - clock.now == pytest.approx(FIRST_DELAY_S)


def test_an_end_that_was_asked_for_is_no_crash(nursery: Nursery, clock: SimpleNamespace) -> None:
    for k in range(2 * CRASH_LIMIT):
        child = nursery.start(LINK + "link.recv(1)")
        assert child.kill_on_request()
        assert not child.kill_on_request()  # it dies already
        assert nursery.until_ended().exit_code == -signal.SIGKILL
        assert child.plan_restart()
        assert child.restart_at - clock.now == pytest.approx(FIRST_DELAY_S)
        assert (child.restarts, child.asked_kills) == (k + 1, k + 1)
    assert not child.kill_on_request()  # it does not run


def test_an_outage_lasts_from_the_first_end_until_ready_again(
    nursery: Nursery, clock: SimpleNamespace
) -> None:
    crash(nursery).plan_restart()
    clock.now += 1.5
    crash(nursery).plan_restart()
    clock.now += 2.0
    assert nursery.child.outage_s is None
    child = nursery.start(LINK + """link.send(b'{"ready": ""}\\n'); link.recv(1)""")
    nursery.until(lambda: child.state is State.READY)
    assert child.outage_s == pytest.approx(3.5)


def test_who_is_forgiven_may_crash_as_often_as_anybody(nursery: Nursery, clock: SimpleNamespace) -> None:
    for _ in range(CRASH_LIMIT):
        assert crash(nursery).plan_restart()
    nursery.child.forgive()
    for _ in range(CRASH_LIMIT):
        assert crash(nursery).plan_restart()
    assert not crash(nursery).plan_restart()


def test_a_ready_child_without_a_status_for_long_is_silent(nursery: Nursery, clock: SimpleNamespace) -> None:
    child = nursery.start(
        LINK
        + """if True:
        import sys
        link.send(b'{"ready": ""}\\n')
        link.recv(1)
        link.send(b'{"status": {}}\\n')
        link.recv(1)
        """
    )
    clock.now += 100
    assert not child.silent  # it has not been ready yet
    nursery.until(lambda: child.state is State.READY)
    clock.now += SILENT_AFTER_S
    looks = [child.silent]
    clock.now += 0.1
    looks.append(child.silent)
    assert child._link is not None
    child._link.send(b"x")
    nursery.until(lambda: child.status_at == clock.now)
    looks.append(child.silent)
    assert looks == [False, True, False]


def test_started_again_nothing_of_the_last_lines_half_remains(nursery: Nursery) -> None:
    half = LINK + "link.send(b'{\"half'); import os; os.write(1, b'half')"
    nursery.start(half)
    nursery.until_ended()
    nursery.start(LINK + 'link.send(b\'{"ready": "again"}\\n\'); print("whole", flush=True); link.recv(1)')
    nursery.until(lambda: nursery.child.state is State.READY and "whole" in nursery.lines)
    assert nursery.lines == ["half", "whole"]


def test_a_child_gets_our_environment_without_overrides_of_the_configuration(
    nursery: Nursery, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ALGOSIM_run__seed", "7")
    monkeypatch.setenv("ALGOSIM_PURE_PYTHON", "1")
    nursery.start("import os; print(sorted(name for name in os.environ if name.startswith('ALGOSIM')))")
    nursery.until_ended()
    nursery.until(lambda: nursery.lines)
    assert nursery.lines == ["['ALGOSIM_LINK_FD', 'ALGOSIM_PURE_PYTHON', 'ALGOSIM_RUN_ID']"]


def test_a_child_has_one_thread_for_linear_algebra_unless_the_user_wants_more(
    nursery: Nursery, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("OPENBLAS_NUM_THREADS", raising=False)
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    nursery.start("import os; print(os.environ['OPENBLAS_NUM_THREADS'], os.environ['OMP_NUM_THREADS'])")
    nursery.until_ended()
    nursery.until(lambda: nursery.lines)
    assert nursery.lines == ["1 3"]
