"""What was forgotten on request, known by nothing but hashes, so that a source that still has it cannot bring it back.

A tombstone covers what was said within a time by a client, in a crew or in a session, or single lines: each by a hash
of its session, speaker, text and time. Lines whose source tells no time are always held one by one, by their position.
"""

from __future__ import annotations

from datetime import datetime
from typing import NamedTuple

from sqlalchemy import Connection, text

ALWAYS = datetime(1, 1, 1), datetime(9999, 1, 1)  # noqa: DTZ001 - before and beyond every moment, in any zone


class Tombstone(NamedTuple):
    """What was forgotten, told by its kind and by how many lines it was, not by what they were."""

    id: int
    kind: str
    lines: int
    forgotten_at: datetime


class Cover(NamedTuple):
    """What a tombstone covers beside single lines: whose words, from when to when; a name that is None covers all."""

    client: str
    crew: str | None
    session: str | None
    begins_at: datetime
    ends_at: datetime


class Arriving(NamedTuple):
    """A table of lines that a crew's source brings: SQL expressions over its rows.

    Attributes:
        position: of a line.
        words: hash of speaker and words, as ``WORDS``.
        inferred: whether the source tells no time.
        is_new: whether the store lacks the line.
    """

    table: str
    position: str
    words: str
    inferred: str
    is_new: str


WORDS = "substr(sha256(convert_to(speaker || E'\\x1f' || text, 'UTF8')), 1, 16)"
STAGED = Arriving("staged_lines", "position", WORDS, "time_inferred", "conversation_id IS NULL")


def _hash(*parts: str) -> str:
    """SQL: a hash with a secret of the store, so that nothing can be guessed from this table alone."""
    words = ", ".join((f"'{len(parts)}'", *parts))
    key = "(SELECT secret FROM tombstone_secret)"
    return f"sha256(convert_to(concat_ws(E'\\x1f', {key}, {words}), 'UTF8'))"


def _line_hash(client: str, crew: str, words: str, position: str, inferred: str) -> str:
    moment = f"CASE WHEN {inferred} THEN {position}::text ELSE extract(epoch FROM spoken_at)::text END"
    return _hash(client, crew, "session_id", f"encode({words}, 'hex')", moment)


_CLIENT, _CREW, _SESSION = "CAST(:client AS text)", "CAST(:crew AS text)", "CAST(:session AS text)"

_ADD = """
INSERT INTO tombstones (kind, scope, begins_at, ends_at, digests, lines)
SELECT :kind, {scope}, CAST(:begins_at AS timestamptz), CAST(:ends_at AS timestamptz),
       coalesce(array_agg({line}) FILTER (WHERE :one_by_one OR times_inferred), '{{}}'), count(*)
FROM forgotten_lines
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
            SELECT 1 FROM tombstones WHERE tombstones.scope IN (sessions.scope, {crew}, {client})
              AND arriving.spoken_at BETWEEN begins_at AND ends_at)
        OR {line} IN (SELECT digest FROM one_by_one))
    RETURNING 1
)
SELECT count(*) FROM kept_out
"""


def add(connection: Connection, kind: str, cover: Cover | None) -> None:
    """Set up a tombstone over the lines of ``forgotten_lines`` (client, code, session_id, position, speaker, spoken_at,
    text, times_inferred).

    Args:
        cover: what it covers beside them; None: these lines one by one.
    """
    values: dict[str, object] = {"kind": kind, "one_by_one": cover is None}
    if cover is None:
        scope, (begins_at, ends_at) = "NULL", ALWAYS
    else:
        named = {_CLIENT: cover.client, _CREW: cover.crew, _SESSION: cover.session}
        scope = _hash(*(expression for expression, value in named.items() if value is not None))
        begins_at, ends_at = cover.begins_at, cover.ends_at
        values |= {"client": cover.client, "crew": cover.crew, "session": cover.session}
    line = _line_hash("client", "code", WORDS, "position", "times_inferred")
    statement = text(_ADD.format(scope=scope, line=line))
    connection.execute(statement, {**values, "begins_at": begins_at, "ends_at": ends_at})


def keep_out(connection: Connection, client: str, crew: str, arriving: Arriving = STAGED) -> int:
    """Take what was forgotten out of the lines that a crew's source brings; returns how many."""
    if not connection.scalar(text("SELECT EXISTS (SELECT 1 FROM tombstones)")):
        return 0
    statement = _KEEP_OUT.format(
        table=arriving.table,
        is_new=arriving.is_new,
        session=_hash(_CLIENT, _CREW, "session_id"),
        crew=_hash(_CLIENT, _CREW),
        client=_hash(_CLIENT),
        line=_line_hash(_CLIENT, _CREW, arriving.words, arriving.position, arriving.inferred),
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
