"""Who may ask: one ASGI middleware around everything the dashboard serves, NiceGUI's own socket included.

- The Host header must be a name of ours. A page elsewhere whose name was made to resolve to this machine
  (DNS rebinding) calls us by that name, and is refused.
- A request that names an Origin must name ours. Browsers name it with every WebSocket and with whatever could
  change something; what names none is no web page.
- No page of ours may stand in a frame of somebody else's: a click there would be a click here.
- From this machine everything may be done. From elsewhere, where `Dashboard.host` lets it in at all, who shows
  the token may look: by its link once (`/?token=…`, which leaves a cookie), or as `Authorization: Bearer …`.
"""

import hmac
from http.cookies import CookieError, SimpleCookie
from ipaddress import IPv6Address, ip_address
from typing import Any, Final
from urllib.parse import parse_qs, parse_qsl, urlencode

from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import Request
from starlette.responses import PlainTextResponse, RedirectResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from starlette.websockets import WebSocket

from config import DashboardSection

COOKIE: Final = "algosim_token"
LOOPBACK_NAMES: Final = ("localhost", "127.0.0.1", "[::1]")
READING: Final = ("GET", "HEAD", "OPTIONS")
MAY_CONTROL: Final = "algosim.may_control"  # in the scope of every request that was let in
WEEK_S: Final = 7 * 86400


class Guard:
    """Wraps an app. Refusals are counted in `counters` by reason."""

    def __init__(self, app: ASGIApp, section: DashboardSection, counters: Any) -> None:
        self._app = app
        self._section = section
        self._counters = counters
        self._hosts = {f"{name}:{section.port}" for name in (*LOOPBACK_NAMES, *section.hosts)}
        if not is_everywhere(section.host):
            self._hosts.add(f"{_bracketed(section.host)}:{section.port}")

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """ASGI."""
        if scope["type"] not in ("http", "websocket"):
            await self._app(scope, receive, send)
            return
        refusal = self._refusal(scope)
        if refusal is not None:
            self._counters[f"refused: {refusal[1]}"] += 1
            await _refuse(scope, receive, send, *refusal)
        elif (response := self._welcome(scope)) is not None:
            await response(scope, receive, send)
        else:
            await self._app(scope, receive, _unframed(send))

    def _refusal(self, scope: Scope) -> tuple[int, str] | None:
        """(status, why), or None; then the scope says what may be done."""
        headers = Headers(scope=scope)
        host = headers.get("host", "").lower()
        if host not in self._hosts and host != _own_address(scope):
            return 403, "foreign Host"
        origin = headers.get("origin")
        if origin is not None and origin.lower() != f"http://{host}":
            return 403, "foreign Origin"
        if _is_loopback(scope):
            scope[MAY_CONTROL] = True
            return None
        scope[MAY_CONTROL] = False
        if not self._knows_token(scope, headers):
            return 401, "no token"
        if scope["type"] == "http" and scope["method"] not in READING:
            return 403, "read only from elsewhere: control stays on the machine itself"
        return None

    def _knows_token(self, scope: Scope, headers: Headers) -> bool:
        shown = [headers.get("authorization", "").removeprefix("Bearer "), _query_token(scope)]
        try:
            cookie = SimpleCookie(headers.get("cookie", "")).get(COOKIE)
        except CookieError:
            cookie = None
        shown.append(cookie.value if cookie is not None else "")
        token = (self._section.token or "").encode()
        return bool(token) and any(hmac.compare_digest(one.encode(), token) for one in shown)

    def _welcome(self, scope: Scope) -> Response | None:
        """A page's link with the token in it: keep it as a cookie, and out of the address bar."""
        if scope["type"] != "http" or scope[MAY_CONTROL] or not _query_token(scope):
            return None
        if scope["path"].startswith(("/api", "/metrics")):
            return None
        rest = [pair for pair in parse_qsl(_query(scope)) if pair[0] != "token"]
        where = f"/{scope['path'].lstrip('/')}"  # two slashes would be another site
        response = RedirectResponse(f"{where}?{urlencode(rest)}" if rest else where, 303)
        response.set_cookie(
            COOKIE, self._section.token or "", max_age=WEEK_S, httponly=True, samesite="strict"
        )
        return response


def may_control(request: Request | WebSocket) -> bool:
    """Whether whoever asks may change anything."""
    return bool(request.scope.get(MAY_CONTROL))


def is_everywhere(host: str) -> bool:
    """Whether a host to listen on means every address."""
    return host in ("0.0.0.0", "::")


def _bracketed(host: str) -> str:
    return f"[{host}]" if ":" in host else host.lower()


def _own_address(scope: Scope) -> str:
    """The address that was connected to: a number, which nobody else's name can be."""
    host, port = scope.get("server") or ("", 0)
    return f"{_bracketed(host)}:{port}" if _is_number(host) else ""


def _is_number(host: str) -> bool:
    try:
        ip_address(host)
    except ValueError:
        return False
    return True


def _is_loopback(scope: Scope) -> bool:
    peer = (scope.get("client") or ("", 0))[0]
    if not _is_number(peer):
        return False
    address = ip_address(peer)
    mapped = address.ipv4_mapped if isinstance(address, IPv6Address) else None  # where one socket has both
    return (mapped or address).is_loopback


def _query_token(scope: Scope) -> str:
    return parse_qs(_query(scope)).get("token", [""])[0]


def _query(scope: Scope) -> str:
    query: str = scope.get("query_string", b"").decode("latin-1")
    return query


def _unframed(send: Send) -> Send:
    """Have every answer say in whose frames it may stand, unless it says so itself."""

    async def sending(message: Message) -> None:
        if message["type"] == "http.response.start":
            headers = MutableHeaders(scope=message)
            headers.setdefault("content-security-policy", "frame-ancestors 'self'")
            headers.setdefault("x-content-type-options", "nosniff")
            headers.setdefault("referrer-policy", "same-origin")
        await send(message)

    return sending


async def _refuse(scope: Scope, receive: Receive, send: Send, status: int, why: str) -> None:
    if scope["type"] == "websocket":
        await receive()
        await send({"type": "websocket.close", "code": 1008, "reason": why})  # before accept: HTTP 403
        return
    await PlainTextResponse(f"{status}: {why}\n", status)(scope, receive, send)
