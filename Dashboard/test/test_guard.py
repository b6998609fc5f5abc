"""Who may ask: of one request after the other, and of a real server with NiceGUI inside."""

import asyncio
import base64
import os
import socket
from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from config import ConfigError, parse_config
from configuration.sections import DashboardSection
from Dashboard.guard import COOKIE, MAY_CONTROL, Guard
from Dashboard.test.browser import Dashboard, dashboard
from testing.harness import wait_until

TOKEN = "0123456789abcdef-of-this-test"
LOCAL, REMOTE = "127.0.0.1", "192.168.1.7"
EVERYWHERE = DashboardSection(host="0.0.0.0", token=TOKEN, hosts=("lab",))


class Asked:
    """What became of one request: the status, or None for one that went through to the app; then its scope."""

    def __init__(self, section: DashboardSection, scope: dict[str, Any]) -> None:
        self.scope: dict[str, Any] | None = None
        self.sent: list[dict[str, Any]] = []
        self.counters: Counter[str] = Counter()
        asyncio.run(Guard(self._app, section, self.counters)(scope, self._receive, self._send))

    async def _app(self, scope: Any, *_: Any) -> None:
        self.scope = dict(scope)

    async def _receive(self) -> Any:
        return {"type": "websocket.connect"}

    async def _send(self, message: Any) -> None:
        self.sent.append(message)

    @property
    def status(self) -> int | None:
        return self.sent[0].get("status", self.sent[0].get("code")) if self.sent else None

    @property
    def headers(self) -> dict[str, str]:
        return {name.decode(): value.decode() for name, value in self.sent[0]["headers"]}

    @property
    def may_control(self) -> bool:
        return self.scope is not None and bool(self.scope[MAY_CONTROL])


def ask(
    peer: str = LOCAL,
    method: str = "GET",
    path: str = "/",
    query: str = "",
    kind: str = "http",
    **headers: str,
) -> Asked:
    """One request to a server that lets everybody in; `host` and the like are headers."""
    return ask_server(EVERYWHERE, peer, method, path, query, kind, headers)


def ask_server(
    section: DashboardSection,
    peer: str,
    method: str = "GET",
    path: str = "/",
    query: str = "",
    kind: str = "http",
    headers: Mapping[str, str] | None = None,
) -> Asked:
    """One request to a server of that configuration."""
    given = {"host": f"localhost:{section.port}", **(headers or {})}
    scope: dict[str, Any] = {
        "type": kind,
        "path": path,
        "query_string": query.encode(),
        "headers": [(name.encode(), value.encode()) for name, value in given.items()],
        "client": (peer, 50_000),
        "server": ("192.168.1.2", section.port),
    }
    if kind == "http":
        scope["method"] = method
    return Asked(section, scope)


# ------------------------------------------------------------------------------------------- one request


@pytest.mark.parametrize(
    "host", ["localhost:8080", "127.0.0.1:8080", "[::1]:8080", "LOCALHOST:8080", "lab:8080"]
)
def test_every_name_of_ours_is_answered(host: str) -> None:
    assert ask(host=host).may_control


def test_the_address_that_was_connected_to_is_a_name_of_ours() -> None:
    assert ask(host="192.168.1.2:8080").may_control
    assert ask(host="192.168.1.3:8080").status == 403


@pytest.mark.parametrize(
    "host",
    [
        "evil.example:8080",
        "localhost",
        "localhost:80",
        "",
        "localhost.evil.example:8080",
        "127.0.0.1:8080@evil:8080",
    ],
)
@pytest.mark.parametrize("kind", ["http", "websocket"])
def test_any_other_name_is_refused_and_counted(host: str, kind: str) -> None:
    asked = ask(host=host, kind=kind)
    assert asked.status == (403 if kind == "http" else 1008) and asked.scope is None
    assert asked.counters == {"refused: foreign Host": 1}


@given(st.text(st.characters(min_codepoint=33, max_codepoint=126), max_size=40))
def test_whatever_a_name_looks_like_only_ours_go_through(host: str) -> None:
    ours = {f"{name}:8080" for name in ("localhost", "127.0.0.1", "[::1]", "lab", "192.168.1.2")}
    assert (ask(host=host).scope is not None) == (host.lower() in ours)


@pytest.mark.parametrize("kind", ["http", "websocket"])
@pytest.mark.parametrize(
    "origin", ["http://evil.example", "https://localhost:8080", "http://localhost:3000", "null"]
)
def test_a_page_of_another_origin_is_refused(kind: str, origin: str) -> None:
    asked = ask(kind=kind, method="POST", origin=origin)
    assert asked.scope is None and asked.counters == {"refused: foreign Origin": 1}


def test_our_own_page_and_what_is_no_page_may_do_everything_here() -> None:
    assert ask(method="POST", origin="http://localhost:8080").may_control
    assert ask(method="POST").may_control
    assert ask(kind="websocket", origin="http://localhost:8080").may_control


def test_from_elsewhere_nothing_is_shown_without_the_token() -> None:
    assert ask(REMOTE).status == 401
    assert ask(REMOTE, authorization="Bearer wrong").status == 401
    assert ask(REMOTE, query="token=wrong").status == 401
    assert ask(REMOTE, cookie=f"{COOKIE}=wrong").status == 401
    assert ask(REMOTE, kind="websocket").status == 1008
    assert ask(REMOTE, authorization="Bearer ünicode").status == 401


@pytest.mark.parametrize("shown", [{"authorization": f"Bearer {TOKEN}"}, {"cookie": f"{COOKIE}={TOKEN}"}])
def test_who_shows_the_token_looks_and_does_not_touch(shown: dict[str, str]) -> None:
    for method in ("GET", "HEAD"):
        asked = ask(REMOTE, method, **shown)
        assert asked.scope is not None and not asked.may_control
    for method in ("POST", "PUT", "PATCH", "DELETE", "ANYTHING"):
        assert ask(REMOTE, method, "/api/control", **shown).status == 403
    asked = ask(REMOTE, kind="websocket", path="/stream", **shown)
    assert asked.scope is not None and not asked.may_control


def test_the_link_with_the_token_leaves_a_cookie_and_the_address_bar_clean() -> None:
    asked = ask(REMOTE, path="/system", query=f"token={TOKEN}")
    assert asked.status == 303 and asked.headers["location"] == "/system"
    cookie = asked.headers["set-cookie"]
    assert cookie.startswith(f"{COOKIE}={TOKEN};") and "HttpOnly" in cookie and "SameSite=strict" in cookie
    assert (
        ask(REMOTE, path="/api/state", query=f"token={TOKEN}").scope is not None
    )  # a program's: answered at once


def test_the_link_keeps_what_else_it_says_and_never_leads_to_another_site() -> None:
    asked = ask(REMOTE, path="/", query=f"symbol=AAPL&token={TOKEN}&drawer=market")
    assert asked.headers["location"] == "/?symbol=AAPL&drawer=market"
    assert ask(REMOTE, path="//evil.example/", query=f"token={TOKEN}").headers["location"] == "/evil.example/"


def test_without_a_token_in_the_configuration_nothing_counts_as_one() -> None:
    for shown in ({"authorization": "Bearer "}, {"cookie": f"{COOKIE}="}, {}):
        assert ask_server(DashboardSection(), REMOTE, headers=shown).status == 401
    assert ask_server(DashboardSection(), REMOTE, query="token=").status == 401


@pytest.mark.parametrize("peer", ["127.0.0.1", "127.8.8.8", "::1", "::ffff:127.0.0.1"])
def test_this_machine_is_every_loopback_address(peer: str) -> None:
    assert ask(peer).may_control


@pytest.mark.parametrize("peer", ["::ffff:192.168.1.7", "10.0.0.1", "", "localhost"])
def test_an_address_that_is_none_or_elsewhere_is_not_this_machine(peer: str) -> None:
    assert ask(peer).status == 401


# ----------------------------------------------------------------------------------------- a real server


@pytest.fixture(scope="module")
def system(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Dashboard]:
    with dashboard(tmp_path_factory.mktemp("guard"), Recorder={"enabled": False}) as running:
        yield running


PATHS = [
    "/",
    "/system",
    "/api/state",
    "/metrics",
    "/static/stream.js",
    "/_nicegui_ws/socket.io/?EIO=4&transport=polling",
]


@pytest.mark.parametrize("path", PATHS)
def test_a_foreign_name_is_refused_on_every_path(system: Dashboard, path: str) -> None:
    for headers in ({"Host": "evil.example"}, {"Host": f"evil.example:{system.tree['Dashboard']['port']}"}):
        answer = httpx.get(f"{system.url}{path}", headers=headers, trust_env=False)
        assert answer.status_code == 403 and "foreign Host" in answer.text
    assert httpx.get(f"{system.url}{path}", trust_env=False, timeout=30).status_code in (200, 400)


def upgrade(system: Dashboard, path: str, **headers: str) -> str:
    """The status line with which an attempt at a WebSocket is answered."""
    port = system.tree["Dashboard"]["port"]
    sent = {
        "Host": f"127.0.0.1:{port}",
        "Upgrade": "websocket",
        "Connection": "Upgrade",
        "Sec-WebSocket-Version": "13",
        "Sec-WebSocket-Key": base64.b64encode(os.urandom(16)).decode(),
        **headers,
    }
    with socket.create_connection(("127.0.0.1", port), timeout=30) as connection:
        connection.sendall(f"GET {path} HTTP/1.1\r\n".encode())
        connection.sendall("".join(f"{name}: {value}\r\n" for name, value in sent.items()).encode() + b"\r\n")
        return connection.recv(4096).split(b"\r\n")[0].decode()


@pytest.mark.parametrize("path", ["/stream", "/_nicegui_ws/socket.io/?EIO=4&transport=websocket"])
def test_a_websocket_of_another_origin_or_by_another_name_is_refused(system: Dashboard, path: str) -> None:
    assert " 101 " in upgrade(system, path)
    assert " 101 " in upgrade(system, path, Origin=system.url)
    assert " 403 " in upgrade(system, path, Origin="http://evil.example")
    assert " 403 " in upgrade(system, path, Origin="null")
    assert " 403 " in upgrade(system, path, Host="evil.example", Origin="http://evil.example")


def test_an_action_from_another_origin_is_refused_and_not_done(system: Dashboard) -> None:
    def paused() -> bool:
        return bool(system.status()["parts"]["gateway"]["paused"])

    def seen(ticks: int) -> bool:
        return bool(system.api("state")["ticks"] > ticks)

    for headers in ({"Origin": "http://evil.example"}, {"Host": "evil.example"}):
        assert system.post("control", {"action": "pause"}, **headers).status_code == 403
        assert system.post("parts/gateway/kill", {}, **headers).status_code == 403
    before = system.api("state")["ticks"]
    wait_until(lambda: seen(before), "the market to play on")
    assert not paused() and system.status()["parts"]["gateway"]["restarts"] == 0
    assert system.post("control", {"action": "pause"}, Origin=system.url).status_code == 200
    wait_until(paused, "our own page's pause")
    assert system.post("control", {"action": "resume"}).status_code == 200


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ("", 422),
        ("{", 422),
        ("[]", 422),
        ('{"action": "fly"}', 422),
        ("[" * 5000, 422),
        ("x" * (1 << 15), 413),
    ],
)
def test_a_body_that_is_no_action_is_refused_with_a_reason(system: Dashboard, body: str, status: int) -> None:
    answer = httpx.post(f"{system.url}/api/control", content=body, trust_env=False)
    assert answer.status_code == status and answer.json()["detail"]


def test_the_configuration_does_not_let_everybody_in_without_a_token() -> None:
    with pytest.raises(ConfigError, match=r"beyond loopback .* only with a Dashboard\.token"):
        parse_config(b'{"symbols": ["A"], "Dashboard": {"host": "0.0.0.0"}}')
