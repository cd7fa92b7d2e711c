"""Requests that name themselves (``Idempotency-Key``): done once, and answered the same however often they come."""

from __future__ import annotations

import hashlib
from typing import NamedTuple

from sqlalchemy import Connection, text


class OtherRequestError(ValueError):
    """The name was another request's."""


class Answer(NamedTuple):
    """What was answered: an HTTP status and a JSON body."""

    status: int
    body: bytes


def answered(connection: Connection, client: str, key: str, request: bytes) -> Answer | None:
    """What was answered to this request before; None where it is new, and is to be ``remember``-ed in the same
    transaction. One that is sent twice at once waits for the other.

    Raises:
        OtherRequestError: the name was that of another request.
    """
    digest = hashlib.sha256(request).digest()
    is_new = connection.scalar(
        text(
            "INSERT INTO api_answers (client, key, request_hash) VALUES (:client, :key, :hash) "
            "ON CONFLICT DO NOTHING RETURNING true"
        ),
        {"client": client, "key": key, "hash": digest},
    )
    if is_new:
        return None
    row = connection.execute(
        text("SELECT request_hash, status, body FROM api_answers WHERE client = :client AND key = :key"),
        {"client": client, "key": key},
    ).one()
    if row.request_hash != digest:
        raise OtherRequestError(f"The Idempotency-Key {key} was used for another request; give each its own.")
    return Answer(row.status, row.body)


def is_first(connection: Connection, client: str, message: str) -> bool:
    """Whether a signed message of a client, by what it is known by, comes for the first time within a day."""
    # No Idempotency-Key has a space.
    key = f"signed {hashlib.sha256(message.encode('utf-8', 'surrogateescape')).hexdigest()}"
    return bool(
        connection.scalar(
            text(
                "INSERT INTO api_answers (client, key, request_hash) VALUES (:client, :key, '') "
                "ON CONFLICT DO NOTHING RETURNING true"
            ),
            {"client": client, "key": key},
        )
    )


def remember(connection: Connection, client: str, key: str, answer: Answer) -> None:
    """Keep what is answered to a request."""
    connection.execute(
        text("UPDATE api_answers SET status = :status, body = :body WHERE client = :client AND key = :key"),
        {"client": client, "key": key, "status": answer.status, "body": answer.body},
    )
