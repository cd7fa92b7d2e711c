"""API tokens: stored hashed, shown once; a token fixes the client of whoever shows it."""

from __future__ import annotations

import hashlib
import secrets
from datetime import datetime
from typing import NamedTuple

from sqlalchemy import Connection, text

_PREFIX = "crew_"


class TokenInfo(NamedTuple):
    """What is known of a token; the token itself is not kept."""

    id: int
    client: str
    prefix: str
    created_at: datetime
    revoked_at: datetime | None


def token_hash(token: str) -> bytes:
    """SHA-256 of a token. Tokens are 256 random bits, so no slow hash is needed."""
    return hashlib.sha256(token.encode()).digest()


def create(connection: Connection, client: str) -> str:
    """A new token for ``client``; this is the only time it is seen."""
    token = _PREFIX + secrets.token_urlsafe(32)
    connection.execute(
        text("INSERT INTO api_tokens (client, token_hash, prefix) VALUES (:client, :hash, :prefix)"),
        {"client": client, "hash": token_hash(token), "prefix": token[: len(_PREFIX) + 4]},
    )
    return token


def list_all(connection: Connection) -> list[TokenInfo]:
    """All tokens, oldest first."""
    rows = connection.execute(text("SELECT id, client, prefix, created_at, revoked_at FROM api_tokens ORDER BY id"))
    return [TokenInfo(*row) for row in rows]


def revoke(connection: Connection, token_id: int) -> bool:
    """Revoke a token; returns whether it was in force until now."""
    return (
        connection.execute(
            text("UPDATE api_tokens SET revoked_at = now() WHERE id = :id AND revoked_at IS NULL"), {"id": token_id}
        ).rowcount
        == 1
    )


def any_created(connection: Connection) -> bool:
    """Whether a token was ever made, revoked ones included."""
    return bool(connection.scalar(text("SELECT EXISTS (SELECT 1 FROM api_tokens)")))


def clients_by_hash(connection: Connection) -> dict[bytes, str]:
    """The tokens in force."""
    rows = connection.execute(text("SELECT token_hash, client FROM api_tokens WHERE revoked_at IS NULL"))
    return {row.token_hash: row.client for row in rows}
