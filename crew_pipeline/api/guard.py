"""What a request must pass before its body is read: its size, its time, whether it may ask at all, how often it has.

Routes read the body before they look who asks; so this stands before all of them.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from fastapi import HTTPException
from starlette.requests import HTTPConnection
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from crew_pipeline.api.problems import problem
from crew_pipeline.api.raw import header
from crew_pipeline.api.services import Services
from crew_pipeline.api.signed import admit_signed, is_signed

LONGEST_QUERY = 8 * 1024
"""Of an address (bytes)."""
LARGEST_HEAD = 32 * 1024
"""All headers together (bytes)."""
LARGEST_BODY = 256 * 1024
"""Of a request (bytes)."""
LARGEST_PUSH = 4 * 1024 * 1024
"""Of one that brings lines (bytes)."""
_PUSH = "/api/conversations"
BODY_WITHIN_S = 20.0
"""How long a request's body may take."""
_WITH_BODY = ("POST", "PUT", "PATCH", "DELETE")
_FOR_EVERYBODY = ("/api/session",)
"""Routes that say themselves who may ask."""


class Guard:
    """ASGI middleware."""

    def __init__(self, app: ASGIApp, services: Services, body_within_s: float = BODY_WITHIN_S) -> None:
        self._app = app
        self._services = services
        self._body_within_s = body_within_s

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Let a request through, or answer it with a problem document."""
        if scope["type"] != "http":
            return await self._app(scope, receive, send)
        try:
            _refuse_too_large(scope)
            if scope["method"] in _WITH_BODY:
                await self._let_write(HTTPConnection(scope))
                receive = _bounded(receive, _largest(scope), self._body_within_s)
        except HTTPException as error:
            # What is left of the body is not read.
            headers = {**(error.headers or {}), "Connection": "close"}
            return await problem(error.status_code, str(error.detail), headers)(scope, receive, send)
        await self._app(scope, receive, send)
        return None

    async def _let_write(self, request: HTTPConnection) -> None:
        if request.scope["path"].startswith("/api/") and request.scope["path"] not in _FOR_EVERYBODY:
            if is_signed(request):
                return await admit_signed(self._services, request)
            admitted = await self._services.doorkeeper.admit(request, operator_too=True)
            await self._services.limits.count("writes", admitted)
        return None


def _refuse_too_large(scope: Scope) -> None:
    if len(scope["query_string"]) > LONGEST_QUERY:
        raise HTTPException(414, f"The address is too long; its parameters may have {LONGEST_QUERY} bytes.")
    if sum(len(name) + len(value) for name, value in scope["headers"]) > LARGEST_HEAD:
        raise HTTPException(431, f"The headers are too large; together they may have {LARGEST_HEAD} bytes.")
    length, largest = header(scope, b"content-length") or "0", _largest(scope)
    if not length.isdecimal() or int(length) > largest:
        raise _too_large(largest)


def _largest(scope: Scope) -> int:
    return LARGEST_PUSH if scope["path"] == _PUSH else LARGEST_BODY


def _too_large(largest: int) -> HTTPException:
    return HTTPException(413, f"The body is too large; it may have {largest} bytes.")


def _bounded(receive: Receive, largest: int, within_s: float) -> Callable[[], Awaitable[Message]]:
    """Receive a body of a bounded size in a bounded time, whatever its head has said."""
    deadline = asyncio.get_running_loop().time() + within_s
    read, whole = 0, False

    async def bounded() -> Message:
        nonlocal read, whole
        if whole:
            return await receive()
        try:
            async with asyncio.timeout_at(deadline):
                message = await receive()
        except TimeoutError:
            detail = f"The body did not come within {within_s:g} s; send it again."
            raise HTTPException(408, detail, {"Connection": "close"}) from None
        read += len(message.get("body", b""))
        whole = not message.get("more_body", False)
        if read > largest:
            raise _too_large(largest)
        return message

    return bounded
