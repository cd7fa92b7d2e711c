"""The API below a path of a site, behind a proxy that hands the path on or takes it away.

Our own middlewares see paths without it, whichever the proxy does; routes see it in front of all, as ASGI has it
(https://asgi.readthedocs.io/en/latest/specs/www.html: ``path`` holds ``root_path``).
"""

from __future__ import annotations

from starlette.types import ASGIApp, Receive, Scope, Send

_OF_PATHS = ("http", "websocket")


class WithoutRoot:
    """ASGI middleware, before all that look at paths: takes the root away where the proxy has not."""

    def __init__(self, app: ASGIApp, root: str) -> None:
        self._app = app
        self._root = root

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on under a path of our own."""
        if scope["type"] in _OF_PATHS and f"{scope['path']}/".startswith(f"{self._root}/"):
            scope["path"] = scope["path"][len(self._root) :] or "/"
        await self._app(scope, receive, send)


class WithRoot:
    """ASGI middleware, the innermost one: puts the root in front again."""

    def __init__(self, app: ASGIApp, root: str) -> None:
        self._app = app
        self._root = root

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on under its whole path."""
        if scope["type"] in _OF_PATHS:
            # In its place: those outside look which route it was.
            scope.update(path=self._root + scope["path"], root_path=self._root)
        await self._app(scope, receive, send)
