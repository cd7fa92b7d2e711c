"""The index of conversations, page by page: each begins where the one before ended, however many there are."""

from __future__ import annotations

from datetime import date, datetime
from typing import NamedTuple

from sqlalchemy import Connection, text


class Place(NamedTuple):
    """Where a page ended: day, start and id of its last conversation."""

    day: date
    started_at: datetime
    id: str


class Listed(NamedTuple):
    """A conversation in the index."""

    id: str
    session_id: str
    crew: str
    title: str | None
    day: date
    started_at: datetime
    ended_at: datetime
    line_count: int
    semantic_status: str
    times_inferred: bool
    source_deleted_at: datetime | None
    content_hash: bytes

    @property
    def place(self) -> Place:
        """Its own place."""
        return Place(self.day, self.started_at, self.id)


_LISTED = """
SELECT item.id, item.session_id, code, item.title, item.days_date, item.started_at, item.ended_at, item.line_count,
       item.semantic_status, item.times_inferred, item.source_deleted_at, item.content_hash
FROM data_items AS item JOIN crews ON crews.id = item.crew_id
"""
_PAGE = (
    _LISTED
    + """
WHERE {whose}
  AND item.days_date BETWEEN :first AND :last
  AND (item.days_date, item.started_at, item.id) < (:day, :started_at, :id)
ORDER BY item.days_date DESC, item.started_at DESC, item.id DESC
LIMIT :most
"""
)
_OF_CLIENT = text(_PAGE.format(whose="item.client = :client"))
_OF_CREW = text(_PAGE.format(whose="item.crew_id = (SELECT id FROM crews WHERE client = :client AND code = :crew)"))
_OF_SESSION = text(
    _LISTED + "WHERE crews.client = :client AND code = :crew AND session_id = :session ORDER BY item.days_date"
)
_END = Place(date.max, datetime(9999, 1, 1), "")  # noqa: DTZ001 - beyond every moment, in any zone


def page(
    connection: Connection,
    client: str,
    *,
    after: Place | None = None,
    first: date | None = None,
    last: date | None = None,
    crew: str | None = None,
    most: int = 50,
) -> list[Listed]:
    """Conversations of a client, newest first.

    Args:
        after: where the page before ended.
        first, last: days, both included.
    """
    place = after or _END
    rows = connection.execute(
        _OF_CLIENT if crew is None else _OF_CREW,
        {
            "client": client,
            **({} if crew is None else {"crew": crew}),
            "first": first or date.min,
            "last": min(last or date.max, place.day),
            "most": most,
            **place._asdict(),
        },
    )
    return [Listed(*row) for row in rows]


def of_session(connection: Connection, client: str, crew: str, session_id: str) -> list[Listed]:
    """The parts of a session, by the name that its source gives it, in order of time."""
    rows = connection.execute(_OF_SESSION, {"client": client, "crew": crew, "session": session_id})
    return [Listed(*row) for row in rows]


def unfinished(connection: Connection, client: str | None = None) -> dict[str, int]:
    """How many conversations are in each status but ``completed``."""
    rows = connection.execute(
        text(
            "SELECT semantic_status, count(*) AS found FROM data_items WHERE semantic_status <> 'completed' "
            "AND (CAST(:client AS text) IS NULL OR client = :client) GROUP BY 1 ORDER BY 1"
        ),
        {"client": client},
    )
    return {row.semantic_status: row.found for row in rows}


class Stored(NamedTuple):
    """What a crew has in the store; a conversation that went on for days counts once."""

    conversations: int
    lines: int


def stored_of(connection: Connection, client: str, crew: str) -> Stored:
    """Count a crew's conversations and lines, as they are in the tables."""
    row = connection.execute(
        text(
            "SELECT count(DISTINCT item.session_id), count(lines.position) FROM data_items AS item "
            "JOIN crews ON crews.id = crew_id LEFT JOIN lines ON conversation_id = item.id "
            "WHERE crews.client = :client AND code = :crew"
        ),
        {"client": client, "crew": crew},
    ).one()
    return Stored(*row)
