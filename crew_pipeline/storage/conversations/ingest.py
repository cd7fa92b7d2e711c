"""Lines from any source into the store: staged by COPY, merged in one transaction, idempotent by content.

A call writes everything that it brings, or nothing. Grouping lines into conversations happens in the database, so
a source may interleave its sessions and be larger than memory.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime
from typing import Any, NamedTuple

from sqlalchemy import Connection, text


class SourceLine(NamedTuple):
    """One line on its way in.

    Attributes:
        session_id: the source's name of the conversation.
        position: the source's own line number or message id; orders the lines of a conversation.
        spoken_at: with a time zone.
        source_line: where it stands in the source (a file's line number), for reports.
        time_inferred: the source tells no time; a line that is there already keeps the time it was first seen.
    """

    session_id: str
    position: int
    spoken_at: datetime
    speaker: str
    text: str
    source_line: int
    time_inferred: bool = False


@dataclass
class IngestReport:
    """What an import did. Lines and conversations are counted once each, as they are after the whole import."""

    new_sessions: set[str] = field(default_factory=set)
    changed_sessions: set[str] = field(default_factory=set)
    new_before: int = 0
    changed_before: int = 0
    conversations_unchanged: int = 0
    lines_new: int = 0
    lines_changed: int = 0
    lines_unchanged: int = 0
    lines_withdrawn: int = 0
    conflicts: list[tuple[int, str]] = field(default_factory=list)
    days: list[date] = field(default_factory=list)

    def add(self, other: IngestReport) -> None:
        """Add the counts of another import of the same source, except for sessions that it left alone."""
        self.new_sessions |= other.new_sessions
        self.changed_sessions |= other.changed_sessions - self.new_sessions
        self.lines_new += other.lines_new
        self.lines_changed += other.lines_changed
        self.lines_unchanged += other.lines_unchanged
        self.lines_withdrawn += other.lines_withdrawn
        self.conflicts += other.conflicts
        self.days = sorted({*self.days, *other.days})

    def forget_sessions(self) -> None:
        """Keep only how many sessions there were, so that a long discovery does not fill memory."""
        self.new_before, self.changed_before = self.conversations_new, self.conversations_changed
        self.new_sessions.clear()
        self.changed_sessions.clear()

    @property
    def conversations_new(self) -> int:
        """Conversations that were not there before."""
        return self.new_before + len(self.new_sessions)

    @property
    def conversations_changed(self) -> int:
        """Conversations that were there and hold something else now."""
        return self.changed_before + len(self.changed_sessions)

    @property
    def conversations(self) -> int:
        """Conversations that the source holds."""
        return self.conversations_new + self.conversations_changed + self.conversations_unchanged


_STAGE = """
CREATE TEMP TABLE staged_lines (
    session_id text NOT NULL, position bigint NOT NULL, spoken_at timestamptz NOT NULL, speaker text NOT NULL,
    text text NOT NULL, source_line bigint NOT NULL, time_inferred boolean NOT NULL
) ON COMMIT DROP
"""

# A line number that a source gives twice: the same content is a repeat, other content a conflict to report.
_DROP_REPEATS = """
WITH numbered AS (
    SELECT ctid, session_id, position, source_line,
           row_number() OVER place AS occurrence,
           first_value(source_line) OVER place AS first_line,
           spoken_at = first_value(spoken_at) OVER place AND speaker = first_value(speaker) OVER place
               AND text = first_value(text) OVER place AS same
    FROM staged_lines
    WINDOW place AS (PARTITION BY session_id, position ORDER BY source_line)
), dropped AS (
    DELETE FROM staged_lines USING numbered
    WHERE staged_lines.ctid = numbered.ctid AND numbered.occurrence > 1
    RETURNING numbered.session_id, numbered.position, numbered.source_line, numbered.first_line, numbered.same
)
SELECT session_id, position, source_line, first_line, same FROM dropped ORDER BY source_line
"""

_CONFLICT = (
    "line {position} of session {session_id} stands in the source twice with different content (first in line "
    "{first_line}); give each line of a session its own number"
)

_STAGED_SESSIONS = """
CREATE TEMP TABLE staged_sessions ON COMMIT DROP AS
SELECT session_id,
       substr(encode(sha256(convert_to(:client || E'\\x1f' || :crew || E'\\x1f' || session_id, 'UTF8')), 'hex'), 1, 20)
           AS conversation_id,
       min(spoken_at) AS started_at, max(spoken_at) AS ended_at, bool_or(time_inferred) AS times_inferred
FROM staged_lines GROUP BY session_id
"""

_ADD_CONVERSATIONS = """
INSERT INTO data_items
    (id, client, crew_id, session_id, days_date, started_at, ended_at, times_inferred, from_history, line_count,
     content_hash)
SELECT conversation_id, :client, :crew_id, session_id, (started_at AT TIME ZONE :zone)::date, started_at, ended_at,
       times_inferred, :from_history, 0, ''
FROM staged_sessions ORDER BY conversation_id
ON CONFLICT (id) DO NOTHING
"""

# A line that comes again keeps the time it was first seen.
_KEEP_FIRST_SEEN = """
UPDATE staged_lines SET spoken_at = lines.spoken_at
FROM staged_sessions, lines
WHERE staged_lines.time_inferred AND staged_sessions.session_id = staged_lines.session_id
  AND lines.conversation_id = staged_sessions.conversation_id AND lines.position = staged_lines.position
"""

_MARK_INFERRED = """
UPDATE data_items SET times_inferred = true FROM staged_sessions
WHERE id = conversation_id AND staged_sessions.times_inferred AND NOT data_items.times_inferred
"""

_SET_TITLES = """
UPDATE data_items SET title = titles.title
FROM unnest(CAST(:sessions AS text[]), CAST(:titles AS text[])) AS titles (session_id, title)
WHERE crew_id = :crew_id AND data_items.session_id = titles.session_id
  AND data_items.title IS DISTINCT FROM titles.title
RETURNING id
"""

_MOVE_LINES = """
WITH moved AS (
    SELECT * FROM unnest(CAST(:sessions AS text[]), CAST(:positions AS bigint[])) AS moved (session_id, position)
), gone AS (
    DELETE FROM lines USING data_items AS item, moved
    WHERE item.crew_id = :crew_id AND item.session_id = moved.session_id AND lines.conversation_id = item.id
      AND lines.position = moved.position
    RETURNING lines.*, item.session_id
), kept_aside AS (
    INSERT INTO withdrawn_lines (crew_id, session_id, position, speaker, spoken_at, text, reason, import_id,
                                 withdrawn_by)
    SELECT :crew_id, session_id, position, speaker, spoken_at, text, 'moved to another conversation', import_id,
           CAST(:import_id AS bigint) FROM gone
)
SELECT conversation_id, count(*) AS lines FROM gone GROUP BY conversation_id
"""

_DROP_EMPTY = """
DELETE FROM data_items WHERE id = ANY(:ids) AND NOT EXISTS (SELECT 1 FROM lines WHERE conversation_id = id)
RETURNING days_date
"""

# An older export that comes after a newer one takes away nothing that was said after it was made.
_SUPERSEDE_LINES = """
WITH gone AS (
    DELETE FROM lines USING staged_sessions
    WHERE lines.conversation_id = staged_sessions.conversation_id AND NOT EXISTS (
        SELECT 1 FROM staged_lines
        WHERE staged_lines.session_id = staged_sessions.session_id AND staged_lines.position = lines.position)
      AND lines.spoken_at <= staged_sessions.ended_at
      AND (staged_sessions.session_id, lines.position) NOT IN (
          SELECT * FROM unnest(CAST(:sessions AS text[]), CAST(:positions AS bigint[])))
    RETURNING lines.*, session_id
), kept_aside AS (
    INSERT INTO withdrawn_lines (crew_id, session_id, position, speaker, spoken_at, text, reason, import_id,
                                 withdrawn_by)
    SELECT :crew_id, session_id, position, speaker, spoken_at, text, 'no longer in the export', import_id,
           CAST(:import_id AS bigint) FROM gone
)
SELECT conversation_id, count(*) AS lines FROM gone GROUP BY conversation_id
"""

# The old version of a changed line is kept aside, in case it was another message.
_KEEP_EDITED = """
INSERT INTO withdrawn_lines (crew_id, session_id, position, speaker, spoken_at, text, reason, import_id, withdrawn_by)
SELECT :crew_id, staged_lines.session_id, lines.position, lines.speaker, lines.spoken_at, lines.text,
       'changed in the source', lines.import_id, CAST(:import_id AS bigint)
FROM staged_lines JOIN staged_sessions USING (session_id)
JOIN data_items AS item ON item.id = staged_sessions.conversation_id AND item.line_count > 0
JOIN lines ON lines.conversation_id = staged_sessions.conversation_id AND lines.position = staged_lines.position
WHERE (lines.speaker, lines.spoken_at, lines.text) <> (staged_lines.speaker, staged_lines.spoken_at, staged_lines.text)
"""

_MERGE_LINES = """
WITH merged AS (
    INSERT INTO lines (conversation_id, position, speaker, spoken_at, text, import_id)
    SELECT conversation_id, position, speaker, spoken_at, text, CAST(:import_id AS bigint)
    FROM staged_lines JOIN staged_sessions USING (session_id)
    ON CONFLICT (conversation_id, position) DO UPDATE
        SET speaker = excluded.speaker, spoken_at = excluded.spoken_at, text = excluded.text,
            import_id = excluded.import_id
        WHERE (lines.speaker, lines.spoken_at, lines.text)
            IS DISTINCT FROM (excluded.speaker, excluded.spoken_at, excluded.text)
    RETURNING conversation_id, xmax = 0 AS is_new
)
SELECT conversation_id, count(*) FILTER (WHERE is_new) AS added, count(*) FILTER (WHERE NOT is_new) AS changed
FROM merged GROUP BY conversation_id
"""

_SETTLE = """
UPDATE data_items AS item
SET started_at = whole.started_at, ended_at = whole.ended_at, line_count = whole.line_count,
    first_position = whole.first_position, source_deleted_at = NULL,
    days_date = (whole.started_at AT TIME ZONE :zone)::date,
    content_hash = whole.content_hash, semantic_status = 'pending', semantic_error = NULL, updated_at = now(),
    processing_priority = priority_of_day((whole.started_at AT TIME ZONE :zone)::date, :today)
FROM (
    SELECT conversation_id, min(spoken_at) AS started_at, max(spoken_at) AS ended_at, count(*) AS line_count,
           min(position) AS first_position,
           sha256(string_agg(
               sha256(convert_to(concat_ws(E'\\x1f', position, extract(epoch FROM spoken_at), speaker, text), 'UTF8')),
               ''::bytea ORDER BY position
           )) AS content_hash
    FROM lines WHERE conversation_id = ANY(:touched)
    GROUP BY conversation_id
) AS whole, data_items AS before
WHERE item.id = whole.conversation_id AND before.id = item.id
RETURNING item.session_id, item.days_date, before.days_date AS day_before, before.line_count = 0 AS is_new
"""

# Once a conversation has left a day, the day's document is wrong; once the last one has, there is nothing to make.
_INVALIDATE_DAYS = """
UPDATE day_documents AS document SET engine = '', is_current = EXISTS (
    SELECT 1 FROM data_items AS item WHERE item.client = document.client AND item.days_date = document.day)
WHERE client = :client AND day = ANY(:days) AND is_current
"""


class CrewKey(NamedTuple):
    """A crew: whose it is, its code, and its id in the store."""

    client: str
    code: str
    id: int


@dataclass(frozen=True)
class SourceTraits:
    """What is known of a source besides its lines. Fields that reading fills are used after all lines are read.

    Attributes:
        titles: of conversations by session.
        whole_sessions: sessions come whole: stored lines that one no longer has are withdrawn.
        moved: session and position of lines that stand in another session now.
        spared: session and position of lines that were refused, so that what stood there before stays.
        from_history: whether the lines are rows of a history table.
        import_id: of the import that brings them.
    """

    titles: Mapping[str, str] = field(default_factory=dict)
    whole_sessions: bool = False
    moved: Sequence[tuple[str, int]] = ()
    spared: Sequence[tuple[str, int]] = ()
    from_history: bool = False
    import_id: int | None = None


_NOTHING_ELSE = SourceTraits()


def ingest(
    connection: Connection,
    *,
    crew: CrewKey,
    lines: Iterable[SourceLine],
    zone: str,
    today: date,
    source: SourceTraits = _NOTHING_ELSE,
) -> IngestReport:
    """Merge ``lines`` into the conversations of a crew.

    Lines are matched by session and position: new ones are added, changed ones replaced, the rest left alone. A
    conversation whose content changed is ``pending`` again.

    Args:
        connection: in a transaction that the caller commits.
        zone: IANA time zone in which days begin.
        today: for the priority of what arrives.
    """
    one_at_a_time(connection, crew)
    connection.execute(text(_STAGE))
    _copy(connection, lines)
    report = IngestReport()
    for row in connection.execute(text(_DROP_REPEATS)):
        if row.same:
            report.lines_unchanged += 1
        else:
            report.conflicts.append((row.source_line, _CONFLICT.format(**row._mapping)))
    connection.execute(text("ANALYZE staged_lines"))
    connection.execute(text(_STAGED_SESSIONS), {"client": crew.client, "crew": crew.code})
    staged = connection.execute(
        text(
            "SELECT (SELECT count(*) FROM staged_lines) AS lines, (SELECT count(*) FROM staged_sessions) AS sessions, "
            "EXISTS (SELECT 1 FROM staged_sessions WHERE times_inferred) AS inferred"
        )
    ).one()
    connection.execute(
        text(_ADD_CONVERSATIONS),
        {"client": crew.client, "crew_id": crew.id, "zone": zone, "from_history": source.from_history},
    )
    if staged.inferred:
        connection.execute(text(_KEEP_FIRST_SEEN))
        connection.execute(text(_MARK_INFERRED))
    by = {"crew_id": crew.id, "import_id": source.import_id}
    connection.execute(text(_KEEP_EDITED), by)
    merged = connection.execute(text(_MERGE_LINES), {"import_id": source.import_id}).all()
    report.lines_new = sum(row.added for row in merged)
    report.lines_changed = sum(row.changed for row in merged)
    report.lines_unchanged += staged.lines - report.lines_new - report.lines_changed
    touched = {row.conversation_id for row in merged}
    if source.whole_sessions:
        for row in connection.execute(text(_SUPERSEDE_LINES), {**by, **_places(source.spared)}):
            report.lines_withdrawn += row.lines
            touched.add(row.conversation_id)
    if source.moved:
        for row in connection.execute(text(_MOVE_LINES), {**by, **_places(source.moved)}):
            report.lines_withdrawn += row.lines
            touched.add(row.conversation_id)
    if source.titles:
        named = {"crew_id": crew.id, "sessions": list(source.titles), "titles": list(source.titles.values())}
        touched.update(connection.scalars(text(_SET_TITLES), named))
    _settle(connection, report, sorted(touched), crew.client, zone, today)
    report.conversations_unchanged = staged.sessions - report.conversations_new - report.conversations_changed
    connection.execute(text("DROP TABLE staged_lines, staged_sessions"))
    return report


def one_at_a_time(connection: Connection, crew: CrewKey) -> None:
    """Let nobody else change a crew's lines until the transaction ends."""
    connection.execute(
        text("SELECT pg_advisory_xact_lock(hashtextextended(:key, 0))"),
        {"key": f"ingest\x1f{crew.client}\x1f{crew.code}"},
    )


def _places(listed: Sequence[tuple[str, int]]) -> dict[str, list[Any]]:
    return {"sessions": [session for session, _ in listed], "positions": [position for _, position in listed]}


def settle(connection: Connection, touched: list[str], client: str, zone: str, today: date) -> IngestReport:
    """Bring conversations up to date whose lines have changed by other means; those without any are gone.

    Args:
        touched: their ids.
        zone, today: as of ``ingest``.
    """
    report = IngestReport()
    _settle(connection, report, touched, client, zone, today)
    return report


def _settle(
    connection: Connection, report: IngestReport, touched: list[str], client: str, zone: str, today: date
) -> None:
    # Locked in order of id, as ``states.set_status`` does, so that the two never deadlock.
    connection.execute(
        text("SELECT FROM data_items WHERE id = ANY(:touched) ORDER BY id FOR UPDATE"), {"touched": touched}
    )
    days: set[date] = set()
    left: set[date] = set()
    for row in connection.execute(text(_SETTLE), {"touched": touched, "zone": zone, "today": today}):
        (report.new_sessions if row.is_new else report.changed_sessions).add(row.session_id)
        days.add(row.days_date)
        if row.day_before != row.days_date:
            left.add(row.day_before)
    left |= set(connection.scalars(text(_DROP_EMPTY), {"ids": touched}))
    if left:
        connection.execute(text(_INVALIDATE_DAYS), {"client": client, "days": sorted(left)})
    report.days = sorted(days | left)


def _copy(connection: Connection, lines: Iterable[SourceLine]) -> None:
    driver: Any = connection.connection.driver_connection
    with (
        driver.cursor() as cursor,
        cursor.copy("COPY staged_lines FROM STDIN (FORMAT BINARY)") as copy,
    ):
        copy.set_types(["text", "int8", "timestamptz", "text", "text", "int8", "bool"])
        for line in lines:
            copy.write_row(line)


_WITHDRAW = """
WITH gone AS (
    DELETE FROM lines WHERE conversation_id = :id AND NOT position = ANY(CAST(:keep AS bigint[]))
    RETURNING *
), kept_aside AS (
    INSERT INTO withdrawn_lines (crew_id, session_id, position, speaker, spoken_at, text, reason, import_id)
    SELECT :crew_id, :session_id, position, speaker, spoken_at, text, 'deleted in the source', import_id FROM gone
)
SELECT count(*) FROM gone
"""


def withdraw(
    connection: Connection,
    *,
    client: str,
    crew_id: int,
    session_id: str,
    keep: Sequence[int],
    zone: str,
    today: date,
) -> list[date]:
    """Take a session's lines, except those at ``keep``, out of its day; they go to ``withdrawn_lines``.

    Returns:
        The days that this changes.
    """
    item = connection.execute(
        text("SELECT id, days_date FROM data_items WHERE crew_id = :crew_id AND session_id = :session_id FOR UPDATE"),
        {"crew_id": crew_id, "session_id": session_id},
    ).one_or_none()
    if item is None:
        return []
    values = {"id": item.id, "crew_id": crew_id, "session_id": session_id, "keep": list(keep)}
    connection.execute(text(_WITHDRAW), values)
    return settle(connection, [item.id], client, zone, today).days
