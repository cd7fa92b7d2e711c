"""What was forgotten on request, known by nothing but hashes, so that a source that still has it cannot bring it back.

A tombstone covers what a client, a crew or a session said within a time, and single lines: each by a hash of its
session, speaker, text and time. Where the source tells no time, a line is known by its words alone, or, where these are
few and may well be said again, by its position.
"""

from __future__ import annotations

from datetime import datetime
from typing import NamedTuple

from sqlalchemy import Connection, text

ALWAYS = datetime(1, 1, 1), datetime(9999, 1, 1)  # noqa: DTZ001 - before and beyond every moment, in any zone
UNMISTAKABLE = 20
"""Code points of a text from which on the same words of one speaker in one session are taken for the same line."""


class Tombstone(NamedTuple):
    """What was forgotten, told by its kind and by how many lines it was, not by what they were."""

    id: int
    kind: str
    lines: int
    forgotten_at: datetime


class Arriving(NamedTuple):
    """A table of lines that a crew's source brings: SQL expressions over its rows.

    Attributes:
        position: of a line.
        words: hash of speaker and words, as ``WORDS``.
        is_new: whether the store lacks the line as it is.
    """

    table: str
    position: str
    words: str
    is_new: str


WORDS = "substr(sha256(convert_to(speaker || E'\\x1f' || text, 'UTF8')), 1, 16)"
STAGED = Arriving("staged_lines", "position", WORDS, "NOT is_there")


def hash_of(*parts: str) -> str:
    """SQL: a hash with a secret of the store, so that nothing can be guessed from the tombstones alone."""
    words = ", ".join((f"'{len(parts)}'", *parts))
    key = "(SELECT secret FROM tombstone_secret)"
    return f"sha256(convert_to(concat_ws(E'\\x1f', {key}, {words}), 'UTF8'))"


_RETIRED = "({hash} IN (SELECT retired FROM tombstone_covers WHERE retired IS NOT NULL))"


def is_retired(conversation_id: str) -> str:
    """SQL: whether a conversation of this id was forgotten; the id is an SQL expression."""
    return _RETIRED.format(hash=hash_of(conversation_id))


def _line_hashes(client: str, crew: str, words: str, position: str) -> tuple[str, str, str]:
    """By its time, by its words alone, by its position."""
    one = (client, crew, "session_id", f"encode({words}, 'hex')")
    when = "extract(epoch FROM spoken_at)::text"
    return hash_of(*one, when), hash_of(*one), hash_of(*one, "'at'", f"{position}::text")


_CLIENT, _CREW = "CAST(:client AS text)", "CAST(:crew AS text)"

_ADD = """
INSERT INTO tombstones (kind, digests, lines)
SELECT :kind, coalesce(array_agg(
    CASE WHEN NOT times_inferred THEN {by_time} WHEN length(text) >= :unmistakable THEN {by_words}
         ELSE {by_position} END
    ) FILTER (WHERE :one_by_one OR times_inferred OR aside IS NOT NULL), '{{}}'), count(*)
FROM forgotten_lines
RETURNING id
"""

_COVER_SESSIONS = """
INSERT INTO tombstone_covers (tombstone_id, scope, retired, begins_at, ends_at)
SELECT :id, {session}, {conversation}, min(spoken_at), max(spoken_at)
FROM forgotten_lines WHERE aside IS NULL GROUP BY client, code, session_id, conversation_id
"""

_COVER_ALL = """
INSERT INTO tombstone_covers (tombstone_id, scope, begins_at, ends_at) VALUES (:id, {scope}, :begins_at, now())
"""

_KEEP_OUT = """
WITH one_by_one AS MATERIALIZED (
    SELECT unnest(digests) AS digest FROM tombstones
), sessions AS MATERIALIZED (
    SELECT session_id AS named, {session} AS scope FROM (SELECT DISTINCT session_id FROM {table}) AS said
), kept_out AS (
    DELETE FROM {table} AS arriving USING sessions
    WHERE named = session_id AND {is_new} AND (
        EXISTS (
            SELECT 1 FROM tombstone_covers AS cover WHERE cover.scope IN (sessions.scope, {crew}, {client})
              AND arriving.spoken_at BETWEEN begins_at AND ends_at)
        OR EXISTS (SELECT 1 FROM one_by_one WHERE digest IN ({by_time}, {by_words}, {by_position})))
    RETURNING 1
)
SELECT count(*) FROM kept_out
"""


def add(connection: Connection, kind: str, client: str, crew: str | None) -> None:
    """Set up a tombstone over ``forgotten_lines`` (conversation_id, client, code, session_id, position, speaker,
    spoken_at, text, times_inferred, aside).

    Args:
        kind: of a ``line`` only these lines are covered; of a ``conversation`` or a ``span`` what their sessions said
            from the first of them to the last; of a ``crew`` or ``client`` all that it has said until now.
    """
    by_time, by_words, by_position = _line_hashes("client", "code", WORDS, "position")
    statement = _ADD.format(by_time=by_time, by_words=by_words, by_position=by_position)
    number = connection.scalar(
        text(statement), {"kind": kind, "one_by_one": kind == "line", "unmistakable": UNMISTAKABLE}
    )
    if kind in ("conversation", "span"):
        session, conversation = hash_of("client", "code", "session_id"), hash_of("conversation_id")
        connection.execute(text(_COVER_SESSIONS.format(session=session, conversation=conversation)), {"id": number})
    elif kind != "line":
        scope = hash_of(_CLIENT) if crew is None else hash_of(_CLIENT, _CREW)
        values = {"id": number, "client": client, "crew": crew, "begins_at": ALWAYS[0]}
        connection.execute(text(_COVER_ALL.format(scope=scope)), values)


def keep_out(connection: Connection, client: str, crew: str, arriving: Arriving = STAGED) -> int:
    """Take what was forgotten out of the lines that a crew's source brings; returns how many."""
    if not connection.scalar(text("SELECT EXISTS (SELECT 1 FROM tombstones)")):
        return 0
    by_time, by_words, by_position = _line_hashes(_CLIENT, _CREW, arriving.words, arriving.position)
    statement = _KEEP_OUT.format(
        table=arriving.table,
        is_new=arriving.is_new,
        session=hash_of(_CLIENT, _CREW, "session_id"),
        crew=hash_of(_CLIENT, _CREW),
        client=hash_of(_CLIENT),
        by_time=by_time,
        by_words=by_words,
        by_position=by_position,
    )
    return connection.scalar(text(statement), {"client": client, "crew": crew}) or 0


def listed(connection: Connection) -> list[Tombstone]:
    """All tombstones, oldest first."""
    rows = connection.execute(text("SELECT id, kind, lines, forgotten_at FROM tombstones ORDER BY id"))
    return [Tombstone(*row) for row in rows]


def lift(connection: Connection, tombstone_id: int) -> bool:
    """Let sources bring again what a tombstone kept out; whether there was one."""
    done = connection.execute(text("DELETE FROM tombstones WHERE id = :id RETURNING id"), {"id": tombstone_id})
    return done.one_or_none() is not None
