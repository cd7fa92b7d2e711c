"""The Dagster UI of ``crew up``, behind a guard: it has no sign-in of its own, and does whatever a browser asks it for.

``python -m crew_pipeline.processes.dagster_webserver`` takes the options of ``dagster-webserver``.
"""

from __future__ import annotations

from typing import Any

from starlette.requests import HTTPConnection
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Receive, Scope, Send

from crew_pipeline.serving.origins import is_of_this_machine, is_visit


class SiteGuard:
    """ASGI middleware: answers this machine's own pages and programs alone, and lets nothing be done by a GET.

    Another site's page could else start runs and wipe assets, through the browser of whoever looks at it, and read
    what it is answered through a host name that it points at this machine.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

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
        return await self._app(scope, receive, send)


async def _refuse(status: int, said: str, scope: Scope, receive: Receive, send: Send) -> None:
    if scope["type"] == "websocket":
        await send({"type": "websocket.close", "code": 1008})
        return
    await PlainTextResponse(said, status)(scope, receive, send)


def main() -> None:
    """Serve it."""
    from dagster_webserver import cli
    from dagster_webserver.app import create_app_from_workspace_process_context as made

    def guarded(*values: Any, **named: Any) -> ASGIApp:
        return SiteGuard(made(*values, **named))

    # Dagster has no setting for middleware; this is where its command makes the application that it serves.
    vars(cli)["create_app_from_workspace_process_context"] = guarded
    cli.cli(auto_envvar_prefix="DAGSTER_WEBSERVER")


if __name__ == "__main__":
    main()
