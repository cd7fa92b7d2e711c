"""Lines from any source into the store: staged by COPY, merged in one transaction, idempotent by content.

A call writes everything that it brings, or nothing. Grouping lines into conversations happens in the database, so
a source may interleave its sessions and be larger than memory. A session that goes on for days is several
conversations, see ``parts``.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime
from typing import Any, NamedTuple

from sqlalchemy import Connection, text

from crew_pipeline.storage.conversations import tombstones
from crew_pipeline.storage.conversations.parts import FIRST_ID, LATER_ID, RETIRED, Calendar, regroup


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
    """What an import did. Lines and conversations are counted once each, as they are after the whole import;
    ``lines_forgotten`` were brought again after they had been forgotten, and kept out."""

    new_sessions: set[str] = field(default_factory=set)
    changed_sessions: set[str] = field(default_factory=set)
    new_before: int = 0
    changed_before: int = 0
    conversations_unchanged: int = 0
    lines_new: int = 0
    lines_changed: int = 0
    lines_unchanged: int = 0
    lines_withdrawn: int = 0
    lines_forgotten: int = 0
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
        self.lines_forgotten += other.lines_forgotten
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
    text text NOT NULL, source_line bigint NOT NULL, time_inferred boolean NOT NULL, conversation_id text,
    is_there boolean NOT NULL DEFAULT false
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

# Where lines are there already; one whose time the source does not tell keeps the time it was first seen.
_FIND = """
WITH staged AS (
    SELECT session_id, min(position) AS first FROM staged_lines GROUP BY session_id
), ours AS MATERIALIZED (
    SELECT item.session_id, lines.conversation_id, lines.position, lines.spoken_at, lines.speaker, lines.text
    FROM staged JOIN data_items AS item ON item.crew_id = :crew_id AND item.session_id = staged.session_id
        AND item.last_position >= staged.first
    JOIN lines ON lines.conversation_id = item.id AND lines.position >= staged.first
)
UPDATE staged_lines SET conversation_id = ours.conversation_id,
    spoken_at = CASE WHEN time_inferred THEN ours.spoken_at ELSE staged_lines.spoken_at END,
    is_there = (ours.speaker, ours.text) = (staged_lines.speaker, staged_lines.text)
        AND (time_inferred OR ours.spoken_at = staged_lines.spoken_at)
FROM ours WHERE ours.session_id = staged_lines.session_id AND ours.position = staged_lines.position
"""

_STAGED_SESSIONS = """
CREATE TEMP TABLE staged_sessions ON COMMIT DROP AS
SELECT session_id, max(spoken_at) AS ended_at, bool_or(time_inferred) AS times_inferred
FROM staged_lines GROUP BY session_id
"""

# A new line is put into its own day's part of the session; whether it belongs to a talk that began the day before is
# seen when all lines are there (``parts.regroup``).
_STAGED_PARTS = """
CREATE TEMP TABLE staged_parts ON COMMIT DROP AS
WITH fresh AS (
    SELECT session_id, (spoken_at AT TIME ZONE :zone)::date AS day, min(spoken_at) AS started_at,
           max(spoken_at) AS ended_at, bool_or(time_inferred) AS times_inferred
    FROM staged_lines WHERE conversation_id IS NULL GROUP BY 1, 2
), sessions AS (
    SELECT session_id, {first_id} AS first_id, min(fresh.day) AS first_day, NOT EXISTS (
        SELECT 1 FROM data_items AS item WHERE item.crew_id = :crew_id AND item.session_id = fresh.session_id) AS is_new
    FROM fresh CROSS JOIN (SELECT CAST(:client AS text) AS client, CAST(:crew AS text) AS code) AS crew
    GROUP BY session_id, client, code
)
SELECT fresh.*, coalesce(
    item.id, CASE WHEN is_new AND day = first_day AND NOT {retired} THEN first_id ELSE {later_id} END) AS id
FROM fresh JOIN sessions USING (session_id)
LEFT JOIN data_items AS item
    ON item.crew_id = :crew_id AND item.session_id = fresh.session_id AND item.days_date = fresh.day
"""

_ADD_CONVERSATIONS = """
INSERT INTO data_items
    (id, client, crew_id, session_id, title, days_date, started_at, ended_at, times_inferred, from_history, line_count,
     content_hash)
SELECT part.id, :client, :crew_id, session_id,
       (SELECT title FROM data_items AS item
        WHERE item.crew_id = :crew_id AND item.session_id = part.session_id ORDER BY days_date LIMIT 1),
       day, started_at, ended_at, times_inferred, :from_history, 0, ''
FROM staged_parts AS part ORDER BY part.id
ON CONFLICT (id) DO NOTHING
"""

_MERGED_INTO = """
UPDATE staged_lines SET conversation_id = part.id FROM staged_parts AS part
WHERE staged_lines.conversation_id IS NULL AND part.session_id = staged_lines.session_id
  AND part.day = (staged_lines.spoken_at AT TIME ZONE :zone)::date
"""

_MARK_INFERRED = """
UPDATE data_items SET times_inferred = true FROM staged_lines
WHERE id = conversation_id AND time_inferred AND NOT data_items.times_inferred
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
RETURNING days_date, line_count
"""

# An older export that comes after a newer one takes away nothing that was said after it was made.
_SUPERSEDE_LINES = """
WITH gone AS (
    DELETE FROM lines USING staged_sessions JOIN data_items AS item USING (session_id)
    WHERE item.crew_id = :crew_id AND lines.conversation_id = item.id AND NOT EXISTS (
        SELECT 1 FROM staged_lines
        WHERE staged_lines.session_id = staged_sessions.session_id AND staged_lines.position = lines.position)
      AND lines.spoken_at <= staged_sessions.ended_at
      AND (staged_sessions.session_id, lines.position) NOT IN (
          SELECT * FROM unnest(CAST(:sessions AS text[]), CAST(:positions AS bigint[])))
    RETURNING lines.*, staged_sessions.session_id
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
FROM staged_lines JOIN lines USING (conversation_id, position)
WHERE (lines.speaker, lines.spoken_at, lines.text) <> (staged_lines.speaker, staged_lines.spoken_at, staged_lines.text)
"""

_MERGE_LINES = """
WITH merged AS (
    INSERT INTO lines (conversation_id, position, speaker, spoken_at, text, import_id)
    SELECT conversation_id, position, speaker, spoken_at, text, CAST(:import_id AS bigint)
    FROM staged_lines
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
    first_position = whole.first_position, last_position = whole.last_position, source_deleted_at = NULL,
    days_date = (whole.started_at AT TIME ZONE :zone)::date,
    content_hash = whole.content_hash, semantic_status = 'pending', semantic_error = NULL, updated_at = now(),
    processing_priority = priority_of_day((whole.started_at AT TIME ZONE :zone)::date, :today)
FROM (
    SELECT conversation_id, min(spoken_at) AS started_at, max(spoken_at) AS ended_at, count(*) AS line_count,
           min(position) AS first_position, max(position) AS last_position,
           sha256(string_agg(
               sha256(convert_to(concat_ws(E'\\x1f', position, extract(epoch FROM spoken_at), speaker, text), 'UTF8')),
               ''::bytea ORDER BY position
           )) AS content_hash
    FROM lines WHERE conversation_id = ANY(:touched)
    GROUP BY conversation_id
) AS whole, data_items AS before, (
    SELECT crew_id, session_id, bool_and(line_count = 0) AS is_new FROM data_items
    WHERE (crew_id, session_id) IN (SELECT crew_id, session_id FROM data_items WHERE id = ANY(:touched))
    GROUP BY crew_id, session_id
) AS session
WHERE item.id = whole.conversation_id AND before.id = item.id
  AND session.crew_id = item.crew_id AND session.session_id = item.session_id
RETURNING item.session_id, item.days_date, before.days_date AS day_before, before.line_count > 0 AS was_there, is_new
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
    calendar: Calendar,
    source: SourceTraits = _NOTHING_ELSE,
) -> IngestReport:
    """Merge ``lines`` into the conversations of a crew.

    Lines are matched by session and position: new ones are added, changed ones replaced, the rest left alone. A
    conversation whose content changed is ``pending`` again.

    Args:
        connection: in a transaction that the caller commits.
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
    staged = _put_into_parts(connection, crew, calendar, from_history=source.from_history)
    report.lines_forgotten = staged.forgotten
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
    _settle(connection, report, touched, crew.client, calendar)
    unchanged = staged.sessions - report.conversations_new - report.conversations_changed
    report.conversations_unchanged = max(0, unchanged)
    connection.execute(text("DROP TABLE staged_lines, staged_sessions, staged_parts"))
    return report


def behind_the_last(connection: Connection, crew: CrewKey, session_id: str) -> int:
    """The first position after all lines of a session."""
    last = connection.scalar(
        text("SELECT max(last_position) FROM data_items WHERE crew_id = :crew AND session_id = :session"),
        {"crew": crew.id, "session": session_id},
    )
    return 0 if last is None else int(last) + 1


class _Staged(NamedTuple):
    lines: int
    sessions: int
    forgotten: int


def _put_into_parts(connection: Connection, crew: CrewKey, calendar: Calendar, *, from_history: bool) -> _Staged:
    """Give every staged line the conversation that it goes into; those that are missing are added, without a line."""
    values = {"client": crew.client, "crew": crew.code, "crew_id": crew.id, "zone": calendar.zone}
    connection.execute(text(_FIND), values)
    forgotten = tombstones.keep_out(connection, crew.client, crew.code)
    connection.execute(text(_STAGED_SESSIONS))
    connection.execute(text(_STAGED_PARTS.format(first_id=FIRST_ID, later_id=LATER_ID, retired=RETIRED)), values)
    connection.execute(text(_ADD_CONVERSATIONS), {**values, "from_history": from_history})
    connection.execute(text(_MERGED_INTO), values)
    staged = connection.execute(
        text(
            "SELECT (SELECT count(*) FROM staged_lines) AS lines, (SELECT count(*) FROM staged_sessions) AS sessions, "
            "EXISTS (SELECT 1 FROM staged_sessions WHERE times_inferred) AS inferred"
        )
    ).one()
    if staged.inferred:
        connection.execute(text(_MARK_INFERRED))
    return _Staged(staged.lines, staged.sessions, forgotten)


def one_at_a_time(connection: Connection, crew: CrewKey) -> None:
    """Let nobody else change a crew's lines until the transaction ends."""
    connection.execute(
        text("SELECT pg_advisory_xact_lock(hashtextextended(:key, 0))"),
        {"key": f"ingest\x1f{crew.client}\x1f{crew.code}"},
    )


def _places(listed: Sequence[tuple[str, int]]) -> dict[str, list[Any]]:
    return {"sessions": [session for session, _ in listed], "positions": [position for _, position in listed]}


def settle(connection: Connection, touched: Collection[str], client: str, calendar: Calendar) -> IngestReport:
    """Bring conversations up to date whose lines have changed by other means; those without any are gone.

    Args:
        touched: their ids.
    """
    report = IngestReport()
    _settle(connection, report, touched, client, calendar)
    return report


def _settle(
    connection: Connection, report: IngestReport, touched: Collection[str], client: str, calendar: Calendar
) -> None:
    if not touched:
        return
    ids = sorted(regroup(connection, touched, calendar))
    # Locked in order of id, as ``states.set_status`` does, so that the two never deadlock.
    connection.execute(text("SELECT FROM data_items WHERE id = ANY(:touched) ORDER BY id FOR UPDATE"), {"touched": ids})
    days: set[date] = set()
    left: set[date] = set()
    values = {"touched": ids, "zone": calendar.zone, "today": calendar.today}
    for row in connection.execute(text(_SETTLE), values):
        (report.new_sessions if row.is_new else report.changed_sessions).add(row.session_id)
        days.add(row.days_date)
        if row.was_there and row.day_before != row.days_date:
            left.add(row.day_before)
    left |= {row.days_date for row in connection.execute(text(_DROP_EMPTY), {"ids": ids}) if row.line_count}
    if left:
        connection.execute(text(_INVALIDATE_DAYS), {"client": client, "days": sorted(left)})
    report.days = sorted(days | left)


def _copy(connection: Connection, lines: Iterable[SourceLine]) -> None:
    driver: Any = connection.connection.driver_connection
    with (
        driver.cursor() as cursor,
        cursor.copy(f"COPY staged_lines ({', '.join(SourceLine._fields)}) FROM STDIN (FORMAT BINARY)") as copy,
    ):
        copy.set_types(["text", "int8", "timestamptz", "text", "text", "int8", "bool"])
        for line in lines:
            copy.write_row(line)


_WITHDRAW = """
WITH gone AS (
    DELETE FROM lines USING data_items AS item
    WHERE item.crew_id = :crew_id AND item.session_id = :session_id AND conversation_id = item.id
      AND NOT position = ANY(CAST(:keep AS bigint[]))
    RETURNING lines.*
), kept_aside AS (
    INSERT INTO withdrawn_lines (crew_id, session_id, position, speaker, spoken_at, text, reason, import_id)
    SELECT :crew_id, :session_id, position, speaker, spoken_at, text, 'deleted in the source', import_id FROM gone
)
SELECT count(*) FROM gone
"""


def withdraw(
    connection: Connection, *, crew: CrewKey, session_id: str, keep: Sequence[int], calendar: Calendar
) -> list[date]:
    """Take a session's lines, except those at ``keep``, out of its days; they go to ``withdrawn_lines``.

    Returns:
        The days that this changes.
    """
    one_at_a_time(connection, crew)
    found = connection.scalars(
        text("SELECT id FROM data_items WHERE crew_id = :crew_id AND session_id = :session_id ORDER BY id FOR UPDATE"),
        {"crew_id": crew.id, "session_id": session_id},
    ).all()
    values = {"crew_id": crew.id, "session_id": session_id, "keep": list(keep)}
    connection.execute(text(_WITHDRAW), values)
    return settle(connection, found, crew.client, calendar).days
