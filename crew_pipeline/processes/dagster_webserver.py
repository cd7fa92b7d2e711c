"""The Dagster UI of ``crew up``, behind a guard: it has no sign-in of its own, and does whatever a browser asks it for.

``python -m crew_pipeline.processes.dagster_webserver`` takes the options of ``dagster-webserver``.
"""

from __future__ import annotations

import base64
import binascii
import os
import secrets
from collections.abc import Awaitable, Callable
from typing import Any

from starlette.requests import HTTPConnection
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Receive, Scope, Send

from crew_pipeline.serving.origins import is_of_this_machine, is_visit
from crew_pipeline.serving.shared import Remembered
from crew_pipeline.storage import tokens
from crew_pipeline.storage.database import UNANSWERED, database_at
from crew_pipeline.storage.opening import DATABASE_URL_VARIABLE

SECRET_VARIABLE = "CREW_DAGSTER_SECRET"  # noqa: S105  the name of one
"""What processes that were started together show each other."""
_FOR_EVERYBODY = "/server_info"
"""Versions of Dagster, by which is seen whether it answers."""
_KNOWN_FOR_S = 1.0


class SiteGuard:
    """ASGI middleware: answers this machine's own pages and programs alone, and lets nothing be done by a GET. Once
    there is a token, who asks must show one with scope ``admin``, as a bearer's or as a password.

    Another site's page could else start runs and wipe assets, through the browser of whoever looks at it, and read
    what it is answered through a host name that it points at this machine; and whoever has an account on the machine
    could see whose days there are.
    """

    def __init__(self, app: ASGIApp, grants: Callable[[], Awaitable[tokens.Grants]], secret: str = "") -> None:
        """Args:
        secret: lets in as a token does; none if empty.
        """
        self._app = app
        self._grants = Remembered(grants, _KNOWN_FOR_S)
        self._secret = secret

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Let a request through, or refuse it."""
        if scope["type"] not in {"http", "websocket"}:
            return await self._app(scope, receive, send)
        request = HTTPConnection(scope)
        is_query = scope["path"].rstrip("/").endswith("/graphql")
        if not is_of_this_machine(request) and (is_query or not is_visit(request)):
            said = "Only this machine's own pages and programs are answered here, by the name 127.0.0.1 or localhost."
            return await _refuse(403, said, scope, receive, send)
        if is_query and scope["type"] == "http" and scope["method"] == "GET" and "query" in request.query_params:
            return await _refuse(405, "Ask by POST.", scope, receive, send)
        try:
            is_admitted = await self._admits(request)
        except UNANSWERED:
            return await _refuse(503, "The database does not answer; try again in a moment.", scope, receive, send)
        if not is_admitted:
            said = "Sign in with a token of scope admin as the password ('crew token create --scope admin')."
            return await _refuse(401, said, scope, receive, send)
        return await self._app(scope, receive, send)

    async def _admits(self, request: HTTPConnection) -> bool:
        if request.scope["path"] == _FOR_EVERYBODY:
            return True
        shown = _shown(request.headers.get("authorization", ""))
        if self._secret and secrets.compare_digest(shown.encode(), self._secret.encode()):
            return True
        known = await self._grants.get()
        grant = known.tokens.get(tokens.token_hash(shown))
        return not known.any_created or (grant is not None and "admin" in grant.scopes)


def _shown(authorization: str) -> str:
    """The token of a header ``Authorization``: a bearer's, or the password that a browser has asked for."""
    scheme, _, given = authorization.partition(" ")
    if scheme.lower() == "bearer":
        return given.strip()
    try:
        return base64.b64decode(given, validate=True).decode().partition(":")[2] if scheme.lower() == "basic" else ""
    except (binascii.Error, UnicodeDecodeError):
        return ""


async def _refuse(status: int, said: str, scope: Scope, receive: Receive, send: Send) -> None:
    if scope["type"] == "websocket":
        await send({"type": "websocket.close", "code": 1008})
        return
    asked = {"WWW-Authenticate": 'Basic realm="a token of scope admin is the password", charset="UTF-8"'}
    await PlainTextResponse(said, status, asked if status == 401 else None)(scope, receive, send)


def _grants_of(url: str) -> Callable[[], Awaitable[tokens.Grants]]:
    db, opened = database_at(url), False

    async def grants() -> tokens.Grants:
        nonlocal opened
        if not opened:
            await db.open_in_loop()
            opened = True
        return await tokens.grants(db)

    return grants


def main() -> None:
    """Serve it."""
    from dagster_webserver import cli
    from dagster_webserver.app import create_app_from_workspace_process_context as made

    grants, secret = _grants_of(os.environ[DATABASE_URL_VARIABLE]), os.environ.get(SECRET_VARIABLE, "")

    def guarded(*values: Any, **named: Any) -> ASGIApp:
        return SiteGuard(made(*values, **named), grants, secret)

    # Dagster has no setting for middleware; this is where its command makes the application that it serves.
    vars(cli)["create_app_from_workspace_process_context"] = guarded
    cli.cli(auto_envvar_prefix="DAGSTER_WEBSERVER")


if __name__ == "__main__":
    main()
