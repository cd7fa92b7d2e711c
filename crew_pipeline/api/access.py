"""Who asks: a bearer token fixes the client; without any token a loopback server serves the client that is named."""

from __future__ import annotations

import asyncio
import ipaddress
import time
from typing import Annotated
from urllib.parse import urlsplit

from fastapi import HTTPException, Query
from sqlalchemy import Connection
from starlette.requests import HTTPConnection

from crew_pipeline.model import DEFAULT_CLIENT
from crew_pipeline.storage import tokens
from crew_pipeline.storage.database import Database

SESSION_COOKIE = "crew_session"
_SAFE = ("GET", "HEAD")
_FRESH_S = 2.0


class ExposedError(RuntimeError):
    """The server would be reachable from other machines without any token."""


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach ``host``."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


def refuse_exposed(db: Database, host: str) -> None:
    """Refuse to serve other machines while no token is configured.

    Raises:
        ExposedError: ``host`` is not loopback and there is no token.
    """
    if is_loopback(host):
        return
    with db.read() as connection:
        if not tokens.clients_by_hash(connection):
            raise ExposedError(
                f"--host {host} would serve every conversation to whoever reaches it: no token is configured. "
                "Create one with 'crew token create --client NAME', or bind to 127.0.0.1."
            )


class Doorkeeper:
    """Knows the tokens in force; what it knows is at most two seconds old."""

    def __init__(self, db: Database, host: str) -> None:
        self._db = db
        self._loopback = is_loopback(host)
        self._clients: dict[bytes, str] = {}
        self._open = False
        self._read_at = float("-inf")
        self._reading = asyncio.Lock()

    async def client_of(self, request: HTTPConnection, named: str | None) -> str:
        """The client that a request may see.

        Raises:
            HTTPException: 401 without a valid token, 403 for another client's data or a foreign host name.
        """
        await self._refresh()
        if self._open:
            _refuse_foreign_sites(request)
            return named or DEFAULT_CLIENT
        scheme, _, token = request.headers.get("authorization", "").partition(" ")
        client = self._known(token) if scheme.lower() == "bearer" else None
        if client is None and not scheme:
            client = self._signed_in(request)
        if client is None:
            raise HTTPException(
                401, "Send a valid token: Authorization: Bearer TOKEN.", headers={"WWW-Authenticate": "Bearer"}
            )
        if named is not None and named != client:
            raise HTTPException(403, "The token is another client's; leave ?client= out.")
        return client

    @property
    def is_open(self) -> bool:
        """Whether no token is configured, and this machine's own pages and programs are served without one."""
        return self._open

    async def client_of_token(self, token: str) -> str | None:
        """The client of a token; None where it is not in force."""
        await self._refresh()
        return self._known(token)

    def _known(self, token: str) -> str | None:
        return self._clients.get(tokens.token_hash(token.strip()))

    def _signed_in(self, request: HTTPConnection) -> str | None:
        """The client of a browser that has signed in. What changes something, and a WebSocket, only its own page asks.

        Raises:
            HTTPException: 403 where another site asks.
        """
        client = self._known(request.cookies.get(SESSION_COOKIE, ""))
        if client is not None and request.scope.get("method") not in _SAFE:
            refuse_other_sites(request)
        return client

    async def operator_or_client(self, request: HTTPConnection) -> str | None:
        """None for a program of this machine, which may see all clients' figures; else the token's client.

        Raises:
            HTTPException: as in ``client_of``.
        """
        peer = request.client.host if request.client else ""
        # What a local proxy passes on comes from elsewhere.
        if is_loopback(peer) and not {"forwarded", "x-forwarded-for"} & set(request.headers):
            _refuse_foreign_sites(request)
            return None
        return await self.client_of(request, None)

    async def _refresh(self) -> None:
        if time.monotonic() - self._read_at < _FRESH_S:
            return
        async with self._reading:
            if time.monotonic() - self._read_at >= _FRESH_S:
                await self._db.reading(self._read)
                self._read_at = time.monotonic()

    def _read(self, connection: Connection) -> None:
        self._clients = tokens.clients_by_hash(connection)
        # Revoked tokens count: revoking the last one must not open the door to everybody.
        self._open = self._loopback and not tokens.any_created(connection)


def _refuse_foreign_sites(request: HTTPConnection) -> None:
    """Without tokens a browser is the way in. A page of another site must not read conversations through a host name
    that it points at this machine (DNS rebinding), open a WebSocket or start work."""
    origin = request.headers.get("origin")
    names = [request.url.hostname or "", *([urlsplit(origin).hostname or ""] if origin else [])]
    if not all(is_loopback(name) for name in names) or request.headers.get("sec-fetch-site") == "cross-site":
        raise HTTPException(403, "Without tokens only this machine's own pages and programs are answered.")


def refuse_other_sites(request: HTTPConnection) -> None:
    """Refuse what a browser asks for a page of another origin than this server's: its cookie is not theirs to use.

    Programs send no origin, and no cookie either.

    Raises:
        HTTPException: 403.
    """
    site = request.headers.get("sec-fetch-site")
    if site == "same-origin":
        return
    # Browsers that do not say so name the page's origin; a proxy may have put another host into the request.
    origin = request.headers.get("origin")
    foreign = origin is not None and _netloc(origin) != request.headers.get("host")
    if foreign or site not in (None, "none"):
        raise HTTPException(403, "Only the pages of this server may do that with its cookie.")


def _netloc(origin: str) -> str:
    try:
        return urlsplit(origin).netloc
    except ValueError:
        return ""


NamedClient = Annotated[
    str | None,
    Query(
        description="whose days; only where no token is configured",
        min_length=1,
        max_length=200,
        pattern=r"^[^\x00-\x1f\x7f]+$",
    ),
]
"""The client that a request names."""
