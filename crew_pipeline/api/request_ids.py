"""A name for every request, which its answer and the lines of the log share."""

from __future__ import annotations

import itertools
import re
import secrets

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from crew_pipeline import telemetry
from crew_pipeline.api.naming import CURRENT
from crew_pipeline.api.problems import unexpected
from crew_pipeline.api.raw import header

HEADER = "X-Request-ID"
_RAW_HEADER = HEADER.lower().encode()
_PROCESS = secrets.token_hex(5)
_counted = itertools.count(1)
_TAKEN = re.compile(r"[A-Za-z0-9._-]{1,64}")


class RequestIds:
    """ASGI middleware: takes over the name that a request brings, where it can stand in a log, else makes one; under it
    stands also what goes wrong unexpectedly."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Name a request, and its answer."""
        if scope["type"] not in {"http", "websocket"}:
            return await self._app(scope, receive, send)
        brought = header(scope, _RAW_HEADER)
        name = brought if brought and _TAKEN.fullmatch(brought) else f"{_PROCESS}-{next(_counted):x}"

        started = False

        async def sending(message: Message) -> None:
            nonlocal started
            started = True
            if message["type"] in {"http.response.start", "websocket.accept"}:
                message["headers"] = [*message.get("headers", ()), (_RAW_HEADER, name.encode())]
            await send(message)

        before = CURRENT.set(name)
        telemetry.note(request_id=name)
        try:
            await self._app(scope, receive, sending)
        except Exception as error:
            if started or scope["type"] != "http":
                raise
            await unexpected(error, scope["method"], scope["path"])(scope, receive, sending)
        finally:
            CURRENT.reset(before)
        return None
