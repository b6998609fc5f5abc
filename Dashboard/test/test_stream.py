"""`/stream` of a real run, and `python -m Dashboard.probe` at it."""

import contextlib
import json
import re
import subprocess
import sys
import threading
from collections.abc import Iterator
from typing import Any

import httpx
import psutil
import pytest
from websockets.sync.client import connect

from Dashboard.frames import CHART, TOPICS
from Dashboard.probe import EXIT_NOBODY
from Dashboard.test.browser import Dashboard, dashboard
from testing.harness import ROOT, free_port, wait_until

EXACT = 1 << 53  # beyond it a browser's numbers have holes
NS = re.compile(r'"(?:ts|ts_wall)":"\d{18,19}"')
Message = dict[str, Any]


@pytest.fixture(scope="module")
def system(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Dashboard]:
    with dashboard(tmp_path_factory.mktemp("stream")) as running:
        wait_until(lambda: running.api("fills"), "the first fill")
        yield running


def address(system: Dashboard) -> str:
    return system.url.replace("http", "ws") + "/stream"


@contextlib.contextmanager
def listening(system: Dashboard, **request: Any) -> Iterator[Iterator[str]]:
    """The texts of a listener's messages."""
    with connect(address(system), proxy=None, max_size=None, compression=None, close_timeout=0.05) as line:
        line.send(json.dumps(request))
        yield (line.recv(30) for _ in iter(int, 1))  # type: ignore[misc]


def numbers(value: object) -> Iterator[float]:
    """Every number anywhere in a message."""
    if isinstance(value, dict):
        for inner in value.values():
            yield from numbers(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from numbers(inner)
    elif isinstance(value, int | float):
        yield value


def strict(text: str) -> Message:
    """A message as JSON has it: without NaN and Infinity."""

    def refuse(name: str) -> float:
        raise ValueError(f"{name} is no JSON: {text[:200]}")

    message: Message = json.loads(text, parse_constant=refuse)
    return message


def test_every_topic_comes_and_no_number_anywhere_is_too_large_for_a_browser(system: Dashboard) -> None:
    wanted = set(TOPICS) | {"hello", "heartbeat"}
    seen: set[str] = set()
    topics = list(set(TOPICS) - {CHART})
    with (
        listening(system, subscribe=topics) as one,
        listening(system, subscribe=[CHART], symbols=["AAPL", "IBM"]) as two,
    ):
        for texts, least in ((one, wanted - {CHART}), (two, {CHART})):
            for count, text in enumerate(texts):
                message = strict(text)
                seen.add(message["topic"])
                assert all(abs(number) <= EXACT for number in numbers(message)), text[:300]
                if "ts" in message:
                    assert NS.search(text)
                if count > 20 and least <= seen:
                    break
    assert seen == wanted


def test_the_api_has_no_number_too_large_for_a_browser_either(system: Dashboard) -> None:
    paths = (
        *(
            "state",
            "prices",
            "prices/AAPL/history",
            "news",
            "money",
            "equity",
            "orders",
            "orders/open",
            "fills",
        ),
        *("strategies", "system", "system/recent", "logs", "logs/gateway", "openapi.json"),
    )
    for path in paths:
        assert all(abs(number) <= EXACT for number in numbers(system.api(path))), path


def test_a_log_is_told_by_its_part_alone(system: Dashboard) -> None:
    tail = system.api("logs/order_manager?count=5&text=Received")
    assert len(tail["lines"]) <= 5 and all("Received Order" in line["text"] for line in tail["lines"])
    more = system.api(f"logs/order_manager?after={tail['at']}")
    assert all(line["time"] >= tail["lines"][-1]["time"] for line in more["lines"])
    for name in ("nothing", "..%2f..%2fetc%2fpasswd", "%2e%2e/token", "token"):
        assert httpx.get(f"{system.url}/api/logs/{name}", trust_env=False).status_code == 404


def test_a_hundred_listeners_are_served_while_one_never_reads(system: Dashboard) -> None:
    with contextlib.ExitStack() as stack:
        stack.enter_context(listening(system, subscribe=list(set(TOPICS) - {CHART})))  # reads nothing
        request = {"subscribe": ["prices.tick", "pnl", "system"]}
        everyone = [stack.enter_context(listening(system, **request)) for _ in range(99)]
        wait_until(lambda: dict(system.status()["parts"]["dashboard"])["listeners"] == 100)
        for texts in everyone:
            seen = [strict(next(texts))["seq"] for _ in range(10)]
            assert seen == sorted(seen)


# ------------------------------------------------------------------------------------------------- probe


def probe(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "Dashboard.probe", *arguments]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60)


def test_the_probe_prints_a_line_for_each_event(system: Dashboard) -> None:
    found = probe("--url", address(system), "--topic", "prices.tick", "--symbol", "AAPL", "--count", "3")
    assert found.returncode == 0 and not found.stderr
    rows = [line for line in found.stdout.splitlines() if line.startswith("prices.tick")]
    assert rows and all("symbol=AAPL price=" in row for row in rows)


def test_the_probe_hands_on_the_messages_themselves(system: Dashboard) -> None:
    found = probe("--url", address(system), "--json", "--count", "4", "--topic", "pnl", "--topic", "system")
    messages = [strict(line) for line in found.stdout.splitlines()]
    assert messages[0]["topic"] == "hello"
    assert {message["topic"] for message in messages} >= {"pnl", "system"}


def test_the_probe_sums_up_each_second(system: Dashboard) -> None:
    found = probe("--url", address(system), "--summary", "--seconds", "2.5")
    assert found.returncode == 0
    first, second = found.stdout.splitlines()[:2]
    assert re.search(
        r"[\d.]+ messages/s +[\d,]+ rows/s +[\d.,]+ kB/s  prices [\d.]+ ms old  missed frames 0", second
    )
    assert first.count("dropped") == 1


def test_where_nobody_listens_the_probe_says_so_and_exits_2() -> None:
    found = probe("--url", f"ws://127.0.0.1:{free_port()}/stream")
    assert found.returncode == EXIT_NOBODY and "nobody listens at" in found.stderr and not found.stdout


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--topic", "gossip"], "'gossip': no such topic"),
        (["--topic", "prices.chart"], "needs one to 4 symbols"),
    ],
)
def test_what_is_refused_the_probe_repeats(system: Dashboard, arguments: list[str], says: str) -> None:
    found = probe("--url", address(system), *arguments)
    assert found.returncode == EXIT_NOBODY and says in found.stderr


def test_a_name_that_is_not_ours_is_refused_and_said(system: Dashboard) -> None:
    found = probe("--url", address(system).replace("127.0.0.1", "127.1"))  # which is the same address
    assert found.returncode == EXIT_NOBODY and "HTTP 403" in found.stderr


def test_the_probe_outlives_the_dashboard_and_ends_cleanly_on_ctrl_c(system: Dashboard) -> None:
    command = [sys.executable, "-m", "Dashboard.probe", "--url", address(system), "--json"]
    with subprocess.Popen(
        command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None and process.stderr is not None
        hellos: list[str] = []

        def read() -> None:
            assert process.stdout is not None
            hellos.extend(line for line in process.stdout if '"hello"' in line)

        reader = threading.Thread(target=read)
        reader.start()
        wait_until(lambda: hellos, "the first hello")
        psutil.Process(system.status()["parts"]["dashboard"]["pid"]).kill()
        wait_until(lambda: len(hellos) == 2, "a hello of the dashboard that was started again")
        process.send_signal(2)
        assert process.wait(30) == 0
        reader.join()
        assert "waiting for the next" in process.stderr.read()
