"""The routes of signing in: a token for a cookie that pages cannot read and other sites cannot use, and for tickets."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import orjson
from fastapi import APIRouter, HTTPException, Request, Response

from crew_pipeline.api.access import SESSION_COOKIE, NamedClient, refuse_other_sites
from crew_pipeline.api.models import JSON, NewSession, Session, Ticket
from crew_pipeline.api.problems import PROBLEMS
from crew_pipeline.api.services import Admitted, Services, ServicesOf
from crew_pipeline.storage import tokens
from crew_pipeline.storage.conversations import clients

router = APIRouter()

_KEPT = timedelta(days=30)
_UNTIL_CLOSED = timedelta(days=2)
"""A browser says when it is closed to nobody."""
_TICKET = timedelta(seconds=30)


@router.post("/api/session", summary="Sign in", response_model=Session, responses=PROBLEMS)
async def sign_in(request: Request, services: ServicesOf, said: NewSession) -> Response:
    """Hands a token in for a cookie (`HttpOnly`, `SameSite=Strict`) that stands for it in this browser, WebSockets
    included. Where no token is configured there is nothing to sign in to."""
    refuse_other_sites(request)
    grant = await services.doorkeeper.grant_of(said.token)
    if grant is None:
        raise HTTPException(401, "This token is not in force; 'crew token create --client NAME' makes one.")
    kept = _KEPT if said.keep else _UNTIL_CLOSED
    cookie = await services.system.writing(tokens.sign_in, grant.token_id, kept)
    services.doorkeeper.forget_what_it_knows()
    content = await _session(services, grant.client, list(grant.clients), opened=False)
    response = Response(orjson.dumps(content), media_type=JSON)
    response.set_cookie(
        SESSION_COOKIE,
        cookie,
        max_age=int(kept.total_seconds()) if said.keep else None,
        httponly=True,
        samesite="strict",
        secure=request.url.scheme == "https",
    )
    return response


@router.get("/api/session", summary="Who asks", response_model=Session, responses=PROBLEMS)
async def session(request: Request, services: ServicesOf, client: NamedClient = None) -> Response:
    """Whose days this browser or program sees, and which others it may name; where no token is configured, all."""
    admitted = await services.doorkeeper.admit(request, client, operator_too=True)
    opened = admitted.grant is None
    names = await services.system.reading(clients.names) if admitted.grant is None else list(admitted.grant.clients)
    content = await _session(services, admitted.client, names, opened=opened)
    return Response(orjson.dumps(content), media_type=JSON, headers={"Cache-Control": "no-store"})


@router.delete("/api/session", summary="Sign out", status_code=204, responses=PROBLEMS)
async def sign_out(request: Request, services: ServicesOf) -> Response:
    """The cookie stands for nothing any more, and what is open by it ends; the token stays in force (`crew token
    revoke`)."""
    refuse_other_sites(request)
    if cookie := request.cookies.get(SESSION_COOKIE):
        await services.system.writing(tokens.sign_out, cookie)
        services.doorkeeper.forget_what_it_knows()
    response = Response(status_code=204)
    response.delete_cookie(SESSION_COOKIE, httponly=True, samesite="strict")
    return response


@router.post("/api/ws-ticket", summary="A ticket for one WebSocket", response_model=Ticket, responses=PROBLEMS)
async def ticket(services: ServicesOf, admitted: Admitted) -> Response:
    """For browsers of other origins and programs that can send no header with a WebSocket: `?ticket=…` opens one, once,
    within 30 s."""
    made = await services.system.writing(tokens.make_ticket, admitted.client, admitted.credential, _TICKET)
    content = {"ticket": made, "expires_in_s": int(_TICKET.total_seconds())}
    return Response(orjson.dumps(content), media_type=JSON, headers={"Cache-Control": "no-store"})


async def _session(services: Services, client: str, names: list[str], *, opened: bool) -> dict[str, Any]:
    return {"client": client, "open": opened, "clients": names, "timezone": await services.zone_of(client)}
