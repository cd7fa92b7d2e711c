"""Talk that is under way: what was posted of it last, and what is stored of its session."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import orjson
from sqlalchemy import Connection, text

from crew_pipeline.storage.days.events import EVENT_CHANNEL

KEPT = 12
"""Lines, the last, that are kept of a talk and read of a session."""


class LiveSession(NamedTuple):
    """Whose talk somebody follows while it goes on."""

    client: str
    session_id: str


class Talk(NamedTuple):
    """What a talk is at.

    Attributes:
        seq: counts the lines that were posted.
        posted: the last of them: speaker and text.
        stored: how many lines of the session are stored.
    """

    seq: int
    posted: list[tuple[str, str]]
    stored: int


def post(connection: Connection, whose: LiveSession, lines: Sequence[tuple[str, str]]) -> int:
    """Note what was just said, and wake who follows; returns how many lines were posted by now."""
    seq: int = connection.execute(
        text(
            "INSERT INTO live_talks (client, session_id, seq, lines) VALUES (:client, :session_id, :count, "
            "CAST(:lines AS jsonb)) ON CONFLICT (client, session_id) DO UPDATE SET seq = live_talks.seq + :count, "
            "updated_at = now(), lines = (SELECT jsonb_agg(line ORDER BY number) FROM ("
            "SELECT line, number FROM jsonb_array_elements(live_talks.lines || excluded.lines) WITH ORDINALITY "
            "AS said (line, number) ORDER BY number DESC LIMIT :kept) AS last) RETURNING seq"
        ),
        {**whose._asdict(), "count": len(lines), "lines": orjson.dumps(lines[-KEPT:]).decode(), "kept": KEPT},
    ).scalar_one()
    connection.execute(
        text("SELECT pg_notify(:channel, :payload)"),
        {"channel": EVENT_CHANNEL, "payload": orjson.dumps([whose.client, None, whose.session_id]).decode()},
    )
    return seq


def talk(connection: Connection, whose: LiveSession) -> Talk:
    """What a talk is at; of one that nobody knows, nothing."""
    row = connection.execute(
        text(
            "SELECT (SELECT seq FROM live_talks WHERE client = :client AND session_id = :session_id), "
            "(SELECT lines FROM live_talks WHERE client = :client AND session_id = :session_id), "
            "(SELECT coalesce(sum(line_count), 0) FROM data_items "
            "WHERE client = :client AND session_id = :session_id)"
        ),
        whose._asdict(),
    ).one()
    return Talk(row[0] or 0, [(speaker, said) for speaker, said in row[1] or ()], int(row[2]))


def last_stored(connection: Connection, whose: LiveSession) -> list[tuple[str, str]]:
    """The last lines of a session that are stored: speaker and text."""
    rows = connection.execute(
        text(
            "SELECT speaker, left(text, 4000) FROM lines JOIN data_items AS item ON item.id = conversation_id "
            "WHERE item.client = :client AND session_id = :session_id "
            "ORDER BY spoken_at DESC, conversation_id DESC, position DESC LIMIT :kept"
        ),
        {**whose._asdict(), "kept": KEPT},
    ).all()
    return [(row[0], row[1]) for row in reversed(rows)]
