"""Keys that sources sign with what they push: for systems that cannot send a token, or should not know one."""

from __future__ import annotations

import secrets
from datetime import datetime
from typing import NamedTuple

from sqlalchemy import Connection, text

from crew_pipeline.storage.database import Database


class SigningKey(NamedTuple):
    """A key in force: whose it is, and the secret."""

    id: str
    client: str
    secret: str


class KeyInfo(NamedTuple):
    """What is shown of a key."""

    id: str
    client: str
    label: str
    created_at: datetime
    revoked_at: datetime | None


def create(connection: Connection, client: str, label: str, secret: str) -> str:
    """A new key; returns its id."""
    key_id = "key_" + secrets.token_hex(8)
    connection.execute(
        text("INSERT INTO signing_keys (id, client, label, secret) VALUES (:id, :client, :label, :secret)"),
        {"id": key_id, "client": client, "label": label, "secret": secret},
    )
    return key_id


def list_all(connection: Connection) -> list[KeyInfo]:
    """All keys, oldest first."""
    rows = connection.execute(
        text("SELECT id, client, label, created_at, revoked_at FROM signing_keys ORDER BY created_at, id")
    )
    return [KeyInfo(*row) for row in rows]


def revoke(connection: Connection, key_id: str) -> bool:
    """Revoke a key; returns whether it was in force until now."""
    revoked = text("UPDATE signing_keys SET revoked_at = now(), secret = '' WHERE id = :id AND revoked_at IS NULL")
    return connection.execute(revoked, {"id": key_id}).rowcount == 1


async def in_force(db: Database, key_id: str) -> SigningKey | None:
    """The key of an id; None where it is not in force."""
    row = await db.row(
        "SELECT id, client, secret FROM signing_keys WHERE id = %(id)s AND revoked_at IS NULL", {"id": key_id}
    )
    return None if row is None else SigningKey(*row)
