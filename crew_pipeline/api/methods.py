"""HEAD and OPTIONS, which every route answers without knowing of them."""

from __future__ import annotations

from starlette.responses import Response
from starlette.routing import BaseRoute, Match
from starlette.types import ASGIApp, Message, Receive, Scope, Send

_ASKED = ("GET", "POST", "PUT", "PATCH", "DELETE")


class Methods:
    """ASGI middleware: HEAD is GET without a body, OPTIONS says what there is (RFC 9110, 9.3)."""

    def __init__(self, app: ASGIApp, routes: list[BaseRoute]) -> None:
        self._app = app
        self._routes = routes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer OPTIONS; let HEAD through as GET."""
        if scope["type"] == "http" and scope["method"] == "HEAD":
            # A copy: the server goes by its own to know that no body follows.
            inner = {**scope, "method": "GET"}
            return await self._app(inner, receive, _without_body(scope, inner, send))
        if scope["type"] == "http" and scope["method"] == "OPTIONS":
            there = [method for method in _ASKED if self._has(scope, method)]
            if there:
                allowed = [*there, *(["HEAD"] if "GET" in there else []), "OPTIONS"]
                response = Response(status_code=204, headers={"Allow": ", ".join(allowed)})
                return await response(scope, receive, send)
        await self._app(scope, receive, send)
        return None

    def _has(self, scope: Scope, method: str) -> bool:
        return any(route.matches({**scope, "method": method})[0] == Match.FULL for route in self._routes)


def _without_body(scope: Scope, inner: Scope, send: Send) -> Send:
    ended = False

    async def sending(message: Message) -> None:
        nonlocal ended
        if message["type"] == "http.response.start":
            # Who counts outside looks which route it was.
            scope["route"] = inner.get("route")
        elif message["type"] == "http.response.body":
            # At once, also where the body would have no end.
            if ended:
                return
            ended, message = True, {"type": "http.response.body", "body": b""}
        await send(message)

    return sending
