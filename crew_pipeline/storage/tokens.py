"""API tokens, the cookies and tickets that stand for them: stored hashed, shown once."""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Collection, Sequence
from datetime import datetime, timedelta
from typing import Literal, NamedTuple, get_args

import orjson
from sqlalchemy import Connection, text

from crew_pipeline.storage.database import Database

Scope = Literal["read", "write", "admin"]
SCOPES: tuple[Scope, ...] = get_args(Scope)
"""``read``: look at days; ``write``: change something of them; ``admin``: the operator's figures, of all clients."""

_PREFIX = "crew_"


class TokenInfo(NamedTuple):
    """What is known of a token; the token itself is not kept."""

    id: int
    clients: list[str]
    prefix: str
    label: str
    scopes: list[Scope]
    created_at: datetime
    expires_at: datetime | None
    last_used_at: datetime | None
    revoked_at: datetime | None


class Grant(NamedTuple):
    """What whoever shows a token, or a cookie that stands for it, may see and do.

    Attributes:
        clients: whose days; the first where none is named.
    """

    token_id: int
    clients: tuple[str, ...]
    scopes: frozenset[Scope]

    @property
    def client(self) -> str:
        """The one whose days are seen unless another is named; empty where there is none."""
        return self.clients[0] if self.clients else ""


class Grants(NamedTuple):
    """What is in force, by hash.

    Attributes:
        any_created: whether a token was ever made, revoked ones included.
    """

    tokens: dict[bytes, Grant]
    cookies: dict[bytes, Grant]
    any_created: bool


def token_hash(secret: str) -> bytes:
    """SHA-256 of a token, cookie or ticket. They are random, so no slow hash is needed; what is looked up is
    the hash, and how long that takes says nothing of the secret."""
    return hashlib.sha256(secret.encode("utf-8", "surrogateescape")).digest()


def create(
    connection: Connection,
    *clients: str,
    label: str = "",
    scopes: Sequence[Scope] = ("read", "write"),
    expires_in: timedelta | None = None,
) -> str:
    """A new token; this is the only time it is seen.

    Args:
        clients: whose days it opens; none: only what is the operator's.
    """
    token = _PREFIX + secrets.token_urlsafe(32)
    connection.execute(
        text(
            "INSERT INTO api_tokens (client, clients, token_hash, prefix, label, scopes, expires_at) "
            "VALUES (:client, :clients, :hash, :prefix, :label, :scopes, now() + CAST(:expires_in AS interval))"
        ),
        {
            "client": clients[0] if clients else "",
            "clients": list(clients),
            "hash": token_hash(token),
            "prefix": token[: len(_PREFIX) + 4],
            "label": label,
            "scopes": [scope for scope in SCOPES if scope in scopes],
            "expires_in": expires_in,
        },
    )
    return token


def list_all(connection: Connection) -> list[TokenInfo]:
    """All tokens, oldest first."""
    rows = connection.execute(
        text(
            "SELECT id, clients, prefix, label, scopes, created_at, expires_at, last_used_at, revoked_at "
            "FROM api_tokens ORDER BY id"
        )
    )
    return [TokenInfo(*row) for row in rows]


def revoke(connection: Connection, token_id: int) -> bool:
    """Revoke a token; returns whether it was in force until now."""
    connection.execute(text("DELETE FROM api_sign_ins WHERE token_id = :id"), {"id": token_id})
    return (
        connection.execute(
            text(
                "UPDATE api_tokens SET revoked_at = now() "
                "WHERE id = :id AND revoked_at IS NULL AND (expires_at IS NULL OR expires_at > now())"
            ),
            {"id": token_id},
        ).rowcount
        == 1
    )


def close_client(connection: Connection, client: str) -> None:
    """Tokens that open other clients' days as well open this one's no more."""
    # Afterwards they are no rows of this client any more, which row security would refuse.
    scope = connection.scalar(text("SELECT coalesce(current_setting('crew.scope', true), '')"))
    widen = text("SELECT set_config('crew.scope', :scope, true)")
    connection.execute(widen, {"scope": "all"})
    connection.execute(
        text(
            "UPDATE api_tokens SET clients = rest, client = rest[1] FROM ("
            "SELECT id, array_remove(clients, :client) AS rest FROM api_tokens WHERE :client = ANY(clients)) AS others "
            "WHERE api_tokens.id = others.id AND cardinality(rest) > 0"
        ),
        {"client": client},
    )
    connection.execute(widen, {"scope": scope})


def any_in_force(connection: Connection) -> bool:
    """Whether there is a token that opens something now."""
    return bool(
        connection.scalar(
            text(
                "SELECT EXISTS (SELECT 1 FROM api_tokens "
                "WHERE revoked_at IS NULL AND (expires_at IS NULL OR expires_at > now()))"
            )
        )
    )


def any_created(connection: Connection) -> bool:
    """Whether a token was ever made, revoked ones included."""
    return bool(connection.scalar(text("SELECT EXISTS (SELECT 1 FROM api_tokens)")))


def mark_used(connection: Connection, token_ids: Collection[int]) -> None:
    """Write down that tokens were used now."""
    connection.execute(
        text("UPDATE api_tokens SET last_used_at = now() WHERE id = ANY(:ids)"), {"ids": sorted(token_ids)}
    )


# One row, since this is asked in the event loop itself: no client's work in threads may hold it up.
_GRANTS = """
WITH in_force AS (
    SELECT id, token_hash, clients, scopes FROM api_tokens
    WHERE revoked_at IS NULL AND (expires_at IS NULL OR expires_at > now())
),
shown AS (
    SELECT false AS is_cookie, token_hash AS hash, id, clients, scopes FROM in_force
    UNION ALL
    SELECT true, cookie_hash, id, clients, scopes FROM api_sign_ins JOIN in_force ON id = token_id
    WHERE expires_at > now()
)
SELECT EXISTS (SELECT 1 FROM api_tokens),
       coalesce(json_agg(json_build_array(is_cookie, encode(hash, 'hex'), id, clients, scopes))::text, '[]')
FROM shown
"""


async def grants(db: Database) -> Grants:
    """What is in force now."""
    row = await db.row(_GRANTS, {})
    assert row is not None
    found = Grants({}, {}, bool(row[0]))
    for is_cookie, digest, token_id, clients, scopes in orjson.loads(row[1]):
        of_kind = found.cookies if is_cookie else found.tokens
        of_kind[bytes.fromhex(digest)] = Grant(token_id, tuple(clients), frozenset(scopes))
    return found


def sign_in(connection: Connection, token_id: int, kept: timedelta) -> str:
    """The cookie of a browser that has shown a token; those that are over go."""
    cookie = secrets.token_urlsafe(32)
    connection.execute(text("DELETE FROM api_sign_ins WHERE expires_at < now()"))
    connection.execute(
        text(
            "INSERT INTO api_sign_ins (cookie_hash, token_id, expires_at) "
            "VALUES (:hash, :id, now() + CAST(:kept AS interval))"
        ),
        {"hash": token_hash(cookie), "id": token_id, "kept": kept},
    )
    return cookie


def sign_out(connection: Connection, cookie: str) -> None:
    """A cookie stands for nothing any more."""
    connection.execute(text("DELETE FROM api_sign_ins WHERE cookie_hash = :hash"), {"hash": token_hash(cookie)})


def make_ticket(connection: Connection, client: str, credential: bytes | None, kept: timedelta) -> str:
    """A ticket for one WebSocket on a client's behalf; those that are over go.

    Args:
        credential: hash of the token or cookie that it was asked for with; None where none is needed.
    """
    ticket = secrets.token_urlsafe(24)
    connection.execute(text("DELETE FROM api_tickets WHERE expires_at < now()"))
    connection.execute(
        text("INSERT INTO api_tickets VALUES (:hash, :credential, :client, now() + CAST(:kept AS interval))"),
        {"hash": token_hash(ticket), "credential": credential, "client": client, "kept": kept},
    )
    return ticket


def redeem_ticket(connection: Connection, ticket: str) -> tuple[str, bytes | None] | None:
    """The client and the credential of a ticket, which is gone then; None where it is not good."""
    row = connection.execute(
        text(
            "DELETE FROM api_tickets WHERE ticket_hash = :hash RETURNING client, credential, expires_at > now() AS good"
        ),
        {"hash": token_hash(ticket)},
    ).one_or_none()
    return (row.client, row.credential) if row is not None and row.good else None
