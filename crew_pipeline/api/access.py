"""Who asks: a token says whose days are seen; without any, a loopback server serves the client that is named."""

from __future__ import annotations

import asyncio
import logging
import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Annotated

from fastapi import HTTPException, Query
from sqlalchemy.exc import SQLAlchemyError
from starlette.requests import HTTPConnection

from crew_pipeline.api.admission import Admission, require
from crew_pipeline.api.limits import Limits
from crew_pipeline.model import DEFAULT_CLIENT
from crew_pipeline.serving.origins import is_loopback, is_of_another_site, is_of_this_machine
from crew_pipeline.storage import tokens
from crew_pipeline.storage.database import UNANSWERED, Database
from crew_pipeline.storage.tokens import Grant, Grants

logger = logging.getLogger(__name__)

SESSION_COOKIE = "crew_session"
_SAFE = ("GET", "HEAD", "OPTIONS")
_ONLY_READS = ("/api/ws-ticket",)
"""What is posted and changes nothing."""
_FRESH_S = 1.0
_WRITTEN_EVERY_S = 60.0
_NONE = Grants({}, {}, any_created=False)


class ExposedError(RuntimeError):
    """The server would be reachable from other machines without any token."""


def refuse_exposed(db: Database, host: str) -> None:
    """Refuse to serve other machines while no token is configured.

    Raises:
        ExposedError: ``host`` is not loopback and there is no token.
    """
    if is_loopback(host):
        return
    with db.read() as connection:
        if not tokens.any_in_force(connection):
            raise ExposedError(
                f"--host {host} would serve every conversation to whoever reaches it: no token is configured. "
                "Create one with 'crew token create --client NAME', or bind to 127.0.0.1."
            )


class Doorkeeper:
    """Knows what is in force; what it knows is at most a second old."""

    def __init__(self, db: Database, host: str, limits: Limits) -> None:
        self._db = db
        self._limits = limits
        self._loopback = is_loopback(host)
        self._grants = _NONE
        self._read_at = float("-inf")
        self._reading = asyncio.Lock()
        self._used: set[int] = set()
        self._tasks: list[asyncio.Task[None]] = []
        self._held: defaultdict[bytes | None, set[asyncio.Event]] = defaultdict(set)

    def start(self) -> None:
        """Write down which tokens are used, and end what is open for those that are over."""
        self._tasks = [asyncio.create_task(self._write_on()), asyncio.create_task(self._watch())]

    async def stop(self) -> None:
        """Write down the rest."""
        for task in self._tasks:
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task
        await self._write()

    async def admit(
        self, request: HTTPConnection, named: str | None = None, *, operator_too: bool = False
    ) -> Admission:
        """Let somebody in who asks for a client's days.

        Args:
            operator_too: also who may only see what is the operator's, as client ``""`` where the token opens none.

        Raises:
            HTTPException: 401 without a valid token; 403 for another client's days, for a foreign host or page, and for
                what the token is not good for.
        """
        await self._refresh()
        if self.is_open:
            _refuse_strangers(request)
            return Admission(named or DEFAULT_CLIENT)
        credential, grant = await self._shown(request)
        is_operator = operator_too and "admin" in grant.scopes
        if not is_operator:
            reads = request.scope.get("method", "GET") in _SAFE or request.scope["path"] in _ONLY_READS
            require(grant, "read" if reads else "write")
        if not grant.clients and not is_operator:
            raise HTTPException(403, "This token opens no client's days; it is the operator's.")
        if named is not None and named not in grant.clients:
            raise HTTPException(403, "The token is another client's; leave ?client= out.")
        return Admission(named or grant.client, credential, grant)

    async def admit_by_ticket(self, request: HTTPConnection, ticket: str, named: str | None) -> Admission:
        """Let somebody in who shows a ticket for a WebSocket, which is good once.

        Raises:
            HTTPException: 401 where it is not good, 403 for another client than the one it was made for.
        """
        redeemed = await self._db.writing(tokens.redeem_ticket, ticket)
        await self._refresh()
        if redeemed is None:
            raise HTTPException(401, "The ticket is over or was used; POST /api/ws-ticket makes another.")
        client, credential = redeemed
        grant = self._grants.tokens.get(credential or b"") or self._grants.cookies.get(credential or b"")
        if grant is None:
            if not self.is_open:
                raise HTTPException(401, "The token that the ticket was made for is over.")
            _refuse_strangers(request)
        if named not in {None, client}:
            raise HTTPException(403, "The ticket was made for another client; leave ?client= out.")
        return Admission(client, credential, grant)

    async def operator_or_client(self, request: HTTPConnection) -> str | None:
        """None for the operator, who may see all clients' figures; else the client of the token.

        The operator is whoever shows a token for it; while there is no token, this machine itself.

        Raises:
            HTTPException: as in ``admit``.
        """
        await self._refresh()
        if self.is_open:
            _refuse_strangers(request)
            return None
        _, grant = await self._shown(request)
        if "admin" in grant.scopes:
            return None
        require(grant, "read")
        return grant.client

    @property
    def is_open(self) -> bool:
        """Whether no token was ever made, and this machine's own pages and programs are served without one.

        Revoked ones count: revoking the last must not open the door to everybody.
        """
        return self._loopback and not self._grants.any_created

    def forget_what_it_knows(self) -> None:
        """Look anew before the next answer: what is in force has just been changed by this process."""
        self._read_at = float("-inf")

    async def grant_of(self, token: str) -> Grant | None:
        """What a token is good for; None where it is not in force."""
        await self._refresh()
        return self._grants.tokens.get(tokens.token_hash(token.strip()))

    @contextmanager
    def holding(self, admission: Admission) -> Iterator[asyncio.Event]:
        """An event that is set once what somebody was let in with is over, within two seconds."""
        over = asyncio.Event()
        self._held[admission.credential].add(over)
        try:
            yield over
        finally:
            self._held[admission.credential].discard(over)
            if not self._held[admission.credential]:
                del self._held[admission.credential]

    async def _shown(self, request: HTTPConnection) -> tuple[bytes, Grant]:
        """The credential of a request that is in force. With a cookie only this server's own page may change something
        or open a WebSocket.

        Raises:
            HTTPException: 401 where there is none, 403 where another site asks.
        """
        scheme, _, token = request.headers.get("authorization", "").partition(" ")
        digest = tokens.token_hash(token.strip())
        grant = self._grants.tokens.get(digest) if scheme.lower() == "bearer" else None
        if grant is None and not scheme:
            digest = tokens.token_hash(request.cookies.get(SESSION_COOKIE, ""))
            grant = self._grants.cookies.get(digest)
            if grant is not None and request.scope.get("method") not in _SAFE:
                refuse_other_sites(request)
        if grant is None:
            if scheme or SESSION_COOKIE in request.cookies:
                await self._limits.count_wrong_token(request.client.host if request.client else "")
            raise HTTPException(
                401, "Send a valid token: Authorization: Bearer TOKEN.", headers={"WWW-Authenticate": "Bearer"}
            )
        self._used.add(grant.token_id)
        return digest, grant

    async def _refresh(self) -> None:
        if time.monotonic() - self._read_at < _FRESH_S:
            return
        async with self._reading:
            if time.monotonic() - self._read_at >= _FRESH_S:
                self._grants = await tokens.grants(self._db)
                self._read_at = time.monotonic()
                self._end_what_is_over()

    def _end_what_is_over(self) -> None:
        for credential, held in self._held.items():
            in_force = (
                self.is_open
                if credential is None
                else credential in self._grants.tokens or credential in self._grants.cookies
            )
            if not in_force:
                for over in held:
                    over.set()

    async def _watch(self) -> None:
        while True:
            await asyncio.sleep(_FRESH_S)
            if self._held:
                with suppress(*UNANSWERED):
                    await self._refresh()

    async def _write_on(self) -> None:
        while True:
            await asyncio.sleep(_WRITTEN_EVERY_S)
            await self._write()

    async def _write(self) -> None:
        used, self._used = self._used, set()
        if not used:
            return
        try:
            await self._db.writing(tokens.mark_used, used)
        except SQLAlchemyError as error:
            logger.warning("the use of tokens was not written down (%s)", type(error).__name__)


def _refuse_strangers(request: HTTPConnection) -> None:
    """Without tokens a browser is the way in, and a proxy would let everybody in.

    Raises:
        HTTPException: 403.
    """
    if not is_of_this_machine(request):
        raise HTTPException(
            403, "Without tokens only this machine's own pages and programs are answered, and no proxy's requests."
        )


def refuse_other_sites(request: HTTPConnection) -> None:
    """Refuse what a browser asks for a page of another origin than this server's: its cookie is not theirs to use.

    Raises:
        HTTPException: 403.
    """
    if is_of_another_site(request):
        raise HTTPException(403, "Only the pages of this server may do that with its cookie.")


NamedClient = Annotated[
    str | None,
    Query(
        description="whose days, where a token opens several clients' or none is configured",
        min_length=1,
        max_length=200,
        pattern=r"^[^\x00-\x1f\x7f]+$",
    ),
]
"""The client that a request names."""
