"""Days that are ready, handed out without the ceremony of a route, which takes longer than all the rest of a hit.

Only what is plainly asked for is answered here, by the functions of the route; whatever is not ready, not right,
or asked for in another way goes on to the route. So nothing depends on this but the time it takes.
"""

from __future__ import annotations

import re
import time
from datetime import date
from typing import Any, NamedTuple, cast

from cachetools import LRUCache
from fastapi import HTTPException, Response
from fastapi.routing import APIRoute
from starlette.requests import HTTPConnection
from starlette.types import ASGIApp, Receive, Scope, Send

from crew_pipeline import telemetry
from crew_pipeline.api.days import Wrap, envelope, respond
from crew_pipeline.api.problems import database_away, problem
from crew_pipeline.api.raw import header
from crew_pipeline.api.services import ADMISSION, Services
from crew_pipeline.days.reading import LinesShown, PassagesShown, View
from crew_pipeline.model import ClientDay
from crew_pipeline.storage.database import UNANSWERED

ROUTE = "/api/days/{day}/conversations"
_PATH = re.compile(r"/api/days/([0-9]{4}-[0-9]{2}-[0-9]{2})/conversations")
_PLAIN = {
    "client": re.compile(r"[A-Za-z0-9._-]{1,200}"),
    "view": re.compile(r"condensed|full"),
    "passages": re.compile(r"whole|omit"),
    "wait_s": re.compile(r"[12]?[0-9]|30"),
    "force_process": re.compile(r"false"),
}
"""Parameters, and the forms of them that leave no doubt of what they mean."""


class _Asked(NamedTuple):
    day: date
    view: View
    client: str | None


class Hits:
    """ASGI middleware, the innermost one."""

    def __init__(self, app: ASGIApp, services: Services, route: APIRoute, kept_mb: int) -> None:
        self._app = app
        self._services = services
        self._route = route
        # By day, so that a newer answer takes the place of the one before, whose words may have been forgotten.
        self._kept: LRUCache[tuple[ClientDay, View], tuple[str, bytes]] = LRUCache(
            max(1, kept_mb * 1024 * 1024), getsizeof=lambda entry: len(entry[1])
        )

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request for a day that is ready; pass anything else on."""
        asked = _asked(scope)
        if asked is None:
            return await self._app(scope, receive, send)
        scope["route"] = self._route
        try:
            response = await self._answered(scope, asked)
        except HTTPException as error:
            response = problem(error.status_code, str(error.detail), dict(error.headers or {}))
        except UNANSWERED as error:
            response = database_away(error, scope["method"], scope["path"])
        if response is not None:
            telemetry.name_request("GET", ROUTE)
        await (response or self._app)(scope, receive, send)
        return None

    async def _answered(self, scope: Scope, asked: _Asked) -> Response | None:
        started = time.perf_counter()
        services, state = self._services, scope.setdefault("state", {})
        admission = await services.doorkeeper.admit(HTTPConnection(scope), asked.client)
        await services.limits.count("requests", admission)
        state["client"] = admission.client
        # The route need not look again.
        state[ADMISSION] = (asked.client, admission)
        client_day = ClientDay(admission.client, asked.day)
        answer = await services.days.ready(client_day, asked.view)
        if answer is None or answer.stale:
            return None
        services.visits.count(client_day.client, "hit", 1000 * (time.perf_counter() - started))
        zone = answer.timezone or services.settings.timezone
        known = header(scope, b"if-none-match") or None
        return respond(answer, asked.day, zone, asked.view, known, started, self._whole(client_day, asked.view))

    def _whole(self, client_day: ClientDay, view: View) -> Wrap:
        """How a document becomes an answer: the same bytes under the same tag, so they are put together once."""

        def wrap(body: bytes, metadata: dict[str, Any], tag: str) -> bytes:
            known = self._kept.get((client_day, view))
            if known is not None and known[0] == tag:
                return known[1]
            whole = envelope(body, metadata)
            if len(whole) <= self._kept.maxsize // 4:
                self._kept[client_day, view] = tag, whole
            return whole

        return wrap


def _asked(scope: Scope) -> _Asked | None:
    """What a request asks for, where it is plain."""
    if scope["type"] != "http" or scope["method"] != "GET":
        return None
    found = _PATH.fullmatch(scope["path"])
    given = _parameters(scope["query_string"]) if found else None
    if found is None or given is None:
        return None
    try:
        day = date.fromisoformat(found[1])
    except ValueError:
        return None
    lines, passages = given.get("view", "condensed"), given.get("passages", "whole")
    return _Asked(day, View(cast("LinesShown", lines), cast("PassagesShown", passages)), given.get("client"))


def _parameters(query: bytes) -> dict[str, str] | None:
    given: dict[str, Any] = {}
    for pair in query.decode("latin-1").split("&") if query else ():
        name, _, value = pair.partition("=")
        form = _PLAIN.get(name)
        if form is None or name in given or not form.fullmatch(value):
            return None
        given[name] = value
    return given
