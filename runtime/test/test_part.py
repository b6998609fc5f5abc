"""The outermost frame of a process: exit codes, signals, and the line to the supervisor, in real processes."""

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from runtime.part import EXIT_CONFIG, EXIT_FAILED, EXIT_OK, LINK_FD, RUN_ID
from testing.harness import ROOT, Process, running, system_config, wait_until, write_config

PROBE = """
import os, resource, sys
from runtime.loop import EventLoop, listen
from runtime.part import CannotStart, run_part

def serve(part, config):
    what = os.environ.get("PROBE", "")
    if what == "cannot start":
        raise CannotStart("Some.path: no such file")
    if what == "busy":
        listen("127.0.0.1", int(os.environ["PROBE_PORT"]), "Some.port")
    if what == "crash":
        raise RuntimeError("boom")
    part.log.warning("a warning")
    part.log.info("some information")
    part.log.debug("a detail")
    loop = EventLoop()
    part.watch(loop)
    if what == "flood":
        for number in range(50):
            part.report({"number": number, "padding": "x" * 100_000})
        os.write(1, b"flooded")
    files = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    part.ready(f"run {part.run_id}, files {files}")
    rounds = 0
    while not part.stopping:
        loop.run_once(60)  # what ends this at once is a signal, or the link
        rounds += 1
    loop.close()
    assert rounds <= 1
    part.report({"stopped": True})
    part.log.info("stopped")

sys.exit(run_part("probe", serve))
"""


@pytest.fixture
def script(tmp_path: Path) -> str:
    path = tmp_path / "probe.py"
    path.write_text(PROBE)
    return str(path)


@pytest.fixture
def config(tmp_path: Path) -> str:
    return str(write_config(tmp_path, system_config(tmp_path)))


@contextlib.contextmanager
def probe(script: str, *arguments: str, **env: str) -> Iterator[Process]:
    with running([script, *arguments], Path(script).parent, {"PYTHONPATH": str(ROOT), **env}) as process:
        yield process


def log_of(script: str) -> str:
    return (Path(script).parent / "logs" / "probe.log").read_text()


# ------------------------------------------------------------------------------------------ exit codes


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_a_part_at_once_with_0(script: str, config: str, number: signal.Signals) -> None:
    with probe(script, config) as process:
        process.wait_for("probe ready: run None")
        assert process.stop(number) == EXIT_OK
        assert log_of(script).endswith("stopped\n")


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("{", "config.json: not JSON"),
        ("{}", "config.json: symbols: is missing"),
        ('{"symbols": ["A"], "Gateway": {"md_port": 0}}', "config.json: Gateway.md_port = 0: expected"),
    ],
)
def test_a_bad_configuration_is_78(script: str, tmp_path: Path, text: str, shown: str) -> None:
    path = tmp_path / "config.json"
    path.write_text(text)
    with probe(script, str(path)) as process:
        assert process.popen.wait(30) == EXIT_CONFIG
        assert process.output.startswith(f"probe: {shown}")
        assert process.output.count("\n") == 1


def test_a_missing_configuration_is_78_and_named(script: str, tmp_path: Path) -> None:
    with probe(script, str(tmp_path / "nowhere.json")) as process:
        assert process.popen.wait(30) == EXIT_CONFIG
        assert "nowhere.json: cannot be read: No such file or directory" in process.output


def test_a_log_folder_that_cannot_be_made_is_78_and_names_its_key(script: str, tmp_path: Path) -> None:
    (tmp_path / "logs").write_text("a file")
    config = write_config(tmp_path, system_config(tmp_path))
    with probe(script, str(config)) as process:
        assert process.popen.wait(30) == EXIT_CONFIG
        assert "run.log_dir = " in process.output
        assert "Traceback" not in process.output


def test_what_cannot_start_is_78_with_its_reason_and_no_traceback(script: str, config: str) -> None:
    with probe(script, config, PROBE="cannot start") as process:
        assert process.popen.wait(30) == EXIT_CONFIG
        assert process.output == "probe: Some.path: no such file\n"


def test_a_busy_port_is_78_with_its_key(script: str, config: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as holder:
        port = holder.getsockname()[1]
        with probe(script, config, PROBE="busy", PROBE_PORT=str(port)) as process:
            assert process.popen.wait(30) == EXIT_CONFIG
            assert f"port {port}" in process.output
            assert "change Some.port" in process.output


def test_an_unexpected_error_is_1_and_its_traceback_is_logged(script: str, config: str) -> None:
    with probe(script, config, PROBE="crash") as process:
        assert process.popen.wait(30) == EXIT_FAILED
    assert "RuntimeError: boom" in log_of(script)


@pytest.mark.parametrize(("flags", "shown"), [((), 1), (("-v",), 2), (("-vv",), 3)])
def test_the_console_shows_warnings_and_more_if_asked(
    script: str, config: str, flags: tuple[str, ...], shown: int
) -> None:
    lines = ["probe: a warning", "probe: some information", "probe: a detail"]
    with probe(script, config, *flags) as process:
        process.wait_for("probe: ready:" if flags else "probe ready")  # never both
        assert [line in process.output for line in lines] == [i < shown for i in range(3)]
        assert process.stop() == EXIT_OK


def test_a_part_has_room_for_as_many_clients_as_can_be_configured(script: str, config: str) -> None:
    import resource

    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    wanted = 4096 if hard == resource.RLIM_INFINITY else min(4096, hard)
    with probe(script, config) as process:
        process.wait_for("files ")
        process.wait_for("\n")
        assert int(process.output.split("files ")[1].split()[0]) >= wanted
        process.stop()


# -------------------------------------------------------------------------------------- the supervisor


class Supervised:
    """A probe whose supervisor is the test."""

    def __init__(self, script: str, config: str, what: str = "") -> None:
        self.link, theirs = socket.socketpair()
        env = {"PYTHONPATH": str(ROOT), "PROBE": what, LINK_FD: str(theirs.fileno()), RUN_ID: "run-7"}
        with theirs:
            self.popen = subprocess.Popen(
                [sys.executable, script, config],
                env={**os.environ, **env},
                stdout=subprocess.PIPE,
                pass_fds=(theirs.fileno(),),
            )
        self._rest = b""

    def messages(self) -> Iterator[dict[str, Any]]:
        """What it says on the link, until it has ended."""
        while data := self.link.recv(1 << 16):
            *lines, self._rest = (self._rest + data).split(b"\n")
            yield from map(json.loads, lines)

    def printed(self) -> bytes:
        assert self.popen.stdout is not None
        return self.popen.stdout.read()

    def __enter__(self) -> "Supervised":
        return self

    def __exit__(self, *error: object) -> None:
        self.link.close()
        self.popen.kill()
        self.popen.wait()
        assert self.popen.stdout is not None
        self.popen.stdout.close()


def test_a_supervised_part_says_ready_and_status_on_its_link_and_nothing_on_its_console(
    script: str, config: str
) -> None:
    with Supervised(script, config) as part:
        said = part.messages()
        assert next(said) == {"say": "a warning"}
        assert next(said)["ready"].startswith("run run-7, files ")
        part.popen.send_signal(signal.SIGTERM)
        assert list(said) == [{"status": {"stopped": True}}]
        assert part.popen.wait(30) == EXIT_OK
        assert part.printed() == b""


def test_a_part_whose_supervisor_has_died_stops_at_once(script: str, config: str) -> None:
    with Supervised(script, config) as part:
        assert any("ready" in message for message in part.messages())
        part.link.close()
        assert part.popen.wait(30) == EXIT_OK
    assert log_of(script).endswith("stopped\n")


def test_a_supervisor_that_does_not_read_never_holds_a_part_up_and_gets_whole_lines_later(
    script: str, config: str
) -> None:
    with Supervised(script, config, "flood") as part:
        assert part.popen.stdout is not None
        assert part.popen.stdout.read(7) == b"flooded"
        wait_until(lambda: "ready" in log_of(script))
        part.link.setblocking(False)
        numbers = []
        with contextlib.suppress(BlockingIOError):
            for message in part.messages():  # json.loads would refuse half a line
                numbers += [message["status"]["number"]] if "status" in message else []
        assert numbers == sorted(numbers)
        assert 0 < len(numbers) < 50
        part.link.setblocking(True)
        part.popen.send_signal(signal.SIGTERM)
        assert {"status": {"stopped": True}} in list(part.messages())
        assert part.popen.wait(30) == EXIT_OK


def test_a_partly_closed_link_is_a_dead_supervisor_too(script: str, config: str) -> None:
    with Supervised(script, config) as part:
        assert any("ready" in message for message in part.messages())
        part.link.shutdown(socket.SHUT_WR)
        assert part.popen.wait(30) == EXIT_OK
