"""What every answer of the JSON API has in common."""

from typing import Final

import msgspec
from fastapi import HTTPException, Request
from starlette.responses import Response

from Dashboard.guard import may_control

HEADERS: Final = {"Cache-Control": "no-store"}  # a moment later it is another
_encode: Final = msgspec.json.Encoder().encode


def json_answer(value: object, status: int = 200) -> Response:
    """A value as JSON."""
    return json_text(_encode(value), status)


def json_text(text: bytes, status: int = 200) -> Response:
    """What is JSON already."""
    return Response(text, status, media_type="application/json", headers=HEADERS)


def require_control(request: Request) -> None:
    """Raises the 403 that who only looks gets for what would change something."""
    if not may_control(request):
        raise HTTPException(403, "read only from elsewhere: control stays on the machine itself")
