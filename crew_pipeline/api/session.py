"""The routes of signing in: a token for a cookie that pages cannot read and other sites cannot use."""

from __future__ import annotations

from typing import Any

import orjson
from fastapi import APIRouter, HTTPException, Request, Response

from crew_pipeline.api.access import SESSION_COOKIE, refuse_other_sites
from crew_pipeline.api.models import JSON, NewSession, Session
from crew_pipeline.api.problems import PROBLEMS
from crew_pipeline.api.services import Client, Services, ServicesOf
from crew_pipeline.storage.conversations import clients

router = APIRouter()

_KEPT_S = 30 * 24 * 3600


@router.post("/api/session", summary="Sign in", response_model=Session, responses=PROBLEMS)
async def sign_in(request: Request, services: ServicesOf, said: NewSession) -> Response:
    """Hands a token in for a cookie (`HttpOnly`, `SameSite=Strict`) that stands for it in this browser, WebSockets
    included. Where no token is configured there is nothing to sign in to."""
    refuse_other_sites(request)
    client = await services.doorkeeper.client_of_token(said.token)
    if client is None:
        raise HTTPException(401, "This token is not in force; 'crew token create --client NAME' makes one.")
    response = Response(orjson.dumps(await _session(services, client, opened=False)), media_type=JSON)
    response.set_cookie(
        SESSION_COOKIE,
        said.token.strip(),
        max_age=_KEPT_S if said.keep else None,
        httponly=True,
        samesite="strict",
        secure=request.url.scheme == "https",
    )
    return response


@router.get("/api/session", summary="Who asks", response_model=Session, responses=PROBLEMS)
async def session(services: ServicesOf, client: Client) -> Response:
    """Whose days this browser or program sees; where no token is configured, all clients there are."""
    opened = services.doorkeeper.is_open
    content = await _session(services, client, opened=opened)
    return Response(orjson.dumps(content), media_type=JSON, headers={"Cache-Control": "no-store"})


@router.delete("/api/session", summary="Sign out", status_code=204, responses=PROBLEMS)
async def sign_out(request: Request) -> Response:
    """The cookie is taken back; the token stays in force (`crew token revoke`)."""
    refuse_other_sites(request)
    response = Response(status_code=204)
    response.delete_cookie(SESSION_COOKIE, httponly=True, samesite="strict")
    return response


async def _session(services: Services, client: str, *, opened: bool) -> dict[str, Any]:
    names = await services.db.reading(clients.names) if opened else [client]
    return {"client": client, "open": opened, "clients": names, "timezone": await services.zone_of(client)}
