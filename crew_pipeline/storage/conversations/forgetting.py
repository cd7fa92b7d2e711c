"""Erasing lines and all that was made of them, in the caller's transaction.

What is made of a client's day is erased as a whole and made again from what is left; what is kept by text (vectors,
readings, verdicts) goes unless another line has the very same text.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date, datetime, time, timedelta
from typing import Any, NamedTuple
from zoneinfo import ZoneInfo

from sqlalchemy import Connection, text

from crew_pipeline.model import ClientDay, LineKey
from crew_pipeline.storage.conversations import tombstones
from crew_pipeline.storage.conversations.ingest import settle
from crew_pipeline.storage.conversations.parts import Calendar
from crew_pipeline.storage.conversations.tombstones import ALWAYS, Cover


class Scope(NamedTuple):
    """What of a client is to be forgotten: what all names that are given have in common; only the client: all of it."""

    client: str
    crew: str | None = None
    conversation: str | None = None
    line: LineKey | None = None
    first: date | None = None
    last: date | None = None

    @property
    def kind(self) -> str:
        """In a word."""
        if self.line is not None:
            return "line"
        if self.conversation is not None:
            return "conversation"
        if self.first is not None or self.last is not None:
            return "span"
        return "crew" if self.crew is not None else "client"


class NothingThereError(ValueError):
    """There is nothing of what was named; the message says so."""


class Erased(NamedTuple):
    """What was erased: rows by table, and the client's days that it changes."""

    rows: dict[str, int]
    days: list[date]


_CHOOSE = """
CREATE TEMP TABLE forgotten_lines ON COMMIT DROP AS
SELECT lines.conversation_id, lines.position, item.crew_id, item.client, code, session_id, days_date, speaker,
       spoken_at, text, times_inferred
FROM data_items AS item JOIN crews ON crews.id = item.crew_id JOIN lines ON lines.conversation_id = item.id
WHERE item.client = :client AND (CAST(:crew AS text) IS NULL OR code = :crew)
  AND (CAST(:conversation AS text) IS NULL OR item.id = :conversation)
  AND (CAST(:line AS bigint) IS NULL OR lines.position = :line)
  AND (CAST(:first AS date) IS NULL OR days_date >= :first) AND (CAST(:last AS date) IS NULL OR days_date <= :last)
"""

# The days' own rows; their lines follow.
_OF_DAYS = {
    "day_documents": "",
    "preliminary_documents": "",
    "semantic_clusters": "",
    "day_comparisons": "",
    "day_events": "",
    "day_claims": "AND ended_at IS NOT NULL",
}

_WITHDRAWN = """
DELETE FROM withdrawn_lines USING crews WHERE crews.id = crew_id AND client = :client
  AND (CAST(:crew AS text) IS NULL OR code = :crew)
  AND (CAST(:line AS bigint) IS NULL OR position = :line)
  AND (CAST(:session AS text) IS NULL OR session_id = :session)
  AND spoken_at BETWEEN CAST(:begins_at AS timestamptz) AND CAST(:ends_at AS timestamptz)
"""

# What visitors said of words that nobody says any more; a standing text goes by the name of its speaker.
_SAID = """
DELETE FROM pair_feedback AS said WHERE client = :client AND EXISTS (
    SELECT 1 FROM (VALUES (left_text), (right_text), (left_speaker), (right_speaker)) AS quoted (words)
    WHERE EXISTS (
        SELECT 1 FROM forgotten_lines AS gone
        WHERE strpos(gone.text, words) > 0 OR words IN (gone.speaker, 'standing text of ' || gone.speaker)
    ) AND NOT EXISTS (
        SELECT 1 FROM data_items AS item JOIN lines AS left_over ON conversation_id = item.id
        WHERE item.client = said.client AND (
            strpos(left_over.text, words) > 0
            OR words IN (left_over.speaker, 'standing text of ' || left_over.speaker))))
"""

_BY_TEXT = {
    "line_embeddings": "text_hash = ANY(CAST(:hashes AS bytea[]))",
    "pair_readings": "left_hash = ANY(CAST(:hashes AS bytea[])) OR right_hash = ANY(CAST(:hashes AS bytea[]))",
}


def choose(connection: Connection, scope: Scope) -> list[ClientDay]:
    """Note in ``forgotten_lines`` which lines a scope names; returns their days, newest first.

    Raises:
        NothingThereError: there are none.
    """
    connection.execute(text(_CHOOSE), _values(scope))
    connection.execute(text("ANALYZE forgotten_lines"))
    days = connection.scalars(text("SELECT DISTINCT days_date FROM forgotten_lines ORDER BY 1 DESC")).all()
    if not days and not _named_itself(connection, scope):
        raise NothingThereError(f"{scope.client} has nothing of it; 'crew status' and the index name what there is.")
    return [ClientDay(scope.client, day) for day in days]


def _named_itself(connection: Connection, scope: Scope) -> bool:
    """Whether a crew or a client of this name is there, though it has said nothing."""
    there = {
        "crew": "SELECT 1 FROM crews WHERE client = :client AND code = :crew",
        "client": "SELECT 1 FROM clients WHERE client = :client",
    }
    asked = there.get(scope.kind)
    return asked is not None and connection.execute(text(asked), _values(scope)).first() is not None


def texts(connection: Connection) -> Iterator[tuple[str, str]]:
    """The speaker and text of each line of ``forgotten_lines`` whose text no other line has."""
    rows = connection.execute(
        text("""
            SELECT DISTINCT speaker, text FROM forgotten_lines AS gone WHERE NOT EXISTS (
                SELECT 1 FROM lines WHERE lines.text = gone.text AND (conversation_id, position) NOT IN (
                    SELECT conversation_id, position FROM forgotten_lines))
        """)
    )
    return ((row.speaker, row.text) for row in rows)


def erase(connection: Connection, scope: Scope, hashes: list[bytes], calendar: Calendar) -> Erased:
    """Erase the lines of ``forgotten_lines`` and what was made of them, and set up the tombstone.

    Args:
        hashes: by which what is kept by text is known; of texts that no other line has.
    """
    rows: dict[str, int] = {}

    def delete(table: str, statement: str, **values: Any) -> None:
        done = connection.execute(text(statement), {**_values(scope), **values}).rowcount
        rows[table] = rows.get(table, 0) + done

    cover = _cover(connection, scope, calendar)
    tombstones.add(connection, scope.kind, cover)
    days = list(connection.scalars(text("SELECT DISTINCT days_date FROM forgotten_lines ORDER BY 1")))
    touched = list(connection.scalars(text("SELECT DISTINCT conversation_id FROM forgotten_lines")))
    delete(
        "lines",
        "DELETE FROM lines USING forgotten_lines AS gone "
        "WHERE lines.conversation_id = gone.conversation_id AND lines.position = gone.position",
    )
    session = connection.scalar(text("SELECT min(session_id) FROM forgotten_lines")) if _of_one(scope) else None
    begins_at, ends_at = _said_between(connection, cover, calendar)
    delete("withdrawn_lines", _WITHDRAWN, session=session, begins_at=begins_at, ends_at=ends_at)
    # Why a row was refused may quote it.
    delete(
        "refused_rows",
        "DELETE FROM refused_rows USING crews WHERE crews.id = crew_id AND client = :client "
        "AND (CAST(:crew AS text) IS NULL OR code = :crew)",
    )
    delete("pair_feedback", _SAID)
    for table, where in _BY_TEXT.items():
        delete(table, f"DELETE FROM {table} WHERE {where}", hashes=hashes)  # noqa: S608  constants
    for table, where in _OF_DAYS.items():
        of_days = f"DELETE FROM {table} WHERE client = :client AND day = ANY(:days) {where}"  # noqa: S608  constants
        delete(table, of_days, days=days)
    settled = settle(connection, touched, scope.client, calendar)
    connection.execute(
        text(
            "UPDATE data_items SET semantic_status = 'pending', semantic_error = NULL "
            "WHERE client = :client AND days_date = ANY(:days) AND semantic_status <> 'queued'"
        ),
        {"client": scope.client, "days": days},
    )
    if scope.kind in ("crew", "client"):
        _forget_whole(connection, scope, delete)
    connection.execute(text("DROP TABLE forgotten_lines"))
    return Erased({table: count for table, count in rows.items() if count}, sorted({*days, *settled.days}))


def _forget_whole(connection: Connection, scope: Scope, delete: Any) -> None:
    """Erase a crew itself, or a client, with all that bears its name."""
    delete(
        "data_items",
        "DELETE FROM data_items USING crews WHERE crews.id = crew_id AND data_items.client = :client "
        "AND (CAST(:crew AS text) IS NULL OR code = :crew)",
    )
    delete(
        "alerts",
        "DELETE FROM alerts USING crews WHERE crews.client = :client "
        "AND (CAST(:crew AS text) IS NULL OR code = :crew) AND strpos(subject, client || '/' || code) = 1",
    )
    delete("crews", "DELETE FROM crews WHERE client = :client AND (CAST(:crew AS text) IS NULL OR code = :crew)")
    if scope.kind == "client":
        for table in ("day_visits", "pair_feedback", "day_claims", "day_events", "api_tokens", "clients"):
            delete(table, f"DELETE FROM {table} WHERE client = :client")  # noqa: S608  constants


def _said_between(connection: Connection, cover: Cover | None, calendar: Calendar) -> tuple[datetime, datetime]:
    """When lines were said that were taken back or changed and are to go as well: of a conversation, on its days, or
    whenever where it is all of its session."""
    if cover is None:
        return ALWAYS
    if cover.session is None:
        return cover.begins_at, cover.ends_at
    others = connection.scalar(
        text(
            "SELECT EXISTS (SELECT 1 FROM data_items AS item JOIN forgotten_lines AS gone USING (crew_id, session_id) "
            "WHERE item.id <> gone.conversation_id)"
        )
    )
    if not others:
        return ALWAYS
    zone = ZoneInfo(calendar.zone)
    first, last = (moment.astimezone(zone).date() for moment in (cover.begins_at, cover.ends_at))
    return datetime.combine(first, time.min, zone), datetime.combine(last + timedelta(days=1), time.min, zone)


def _of_one(scope: Scope) -> bool:
    return scope.kind in ("line", "conversation")


def _cover(connection: Connection, scope: Scope, calendar: Calendar) -> Cover | None:
    if scope.kind == "line":
        return None
    if scope.kind == "conversation":
        row = connection.execute(
            text("SELECT min(code), min(session_id), min(spoken_at), max(spoken_at) FROM forgotten_lines")
        ).one()
        return Cover(scope.client, *row)
    if scope.kind == "span":
        zone = ZoneInfo(calendar.zone)
        begins_at, ends_at = ALWAYS
        if scope.first is not None:
            begins_at = datetime.combine(scope.first, time.min, zone)
        if scope.last is not None:
            # A talk that goes on over midnight belongs to the day before.
            spoken = connection.scalar(text("SELECT max(spoken_at) FROM forgotten_lines"))
            midnight = datetime.combine(scope.last + timedelta(days=1), time.min, zone) - timedelta(microseconds=1)
            ends_at = max(midnight, spoken) if isinstance(spoken, datetime) else midnight
        return Cover(scope.client, scope.crew, None, begins_at, ends_at)
    now = connection.scalar(text("SELECT now()"))
    assert isinstance(now, datetime)
    return Cover(scope.client, scope.crew, None, ALWAYS[0], now)


def _values(scope: Scope) -> dict[str, Any]:
    conversation, line = scope.line or (scope.conversation, None)
    return {
        "client": scope.client,
        "crew": scope.crew,
        "conversation": conversation,
        "line": line,
        "first": scope.first,
        "last": scope.last,
    }
