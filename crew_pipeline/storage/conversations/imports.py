"""Imports on record: what each brought, whether it is there under another crew as well, and taking one back."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping
from datetime import date, datetime
from typing import NamedTuple

from sqlalchemy import Connection, bindparam, text
from sqlalchemy.dialects.postgresql import JSONB

from crew_pipeline.storage.conversations.ingest import (
    CrewKey,
    IngestReport,
    SourceLine,
    SourceTraits,
    ingest,
    one_at_a_time,
    settle,
)
from crew_pipeline.storage.conversations.parts import Calendar


class Import(NamedTuple):
    """An import on record."""

    id: int
    client: str
    crew: str
    file: str
    format: str
    conversations_new: int
    lines_new: int
    lines_changed: int
    lines_withdrawn: int
    imported_at: datetime
    undone_at: datetime | None
    left_out: dict[str, int]


class Undone(NamedTuple):
    """What taking an import back did: lines that are gone, lines that are as they were before it, days that change."""

    taken_back: int
    restored: int
    days: list[date]


class UndoError(ValueError):
    """An import cannot be taken back; the message says why."""


def begin(connection: Connection, crew_id: int, file: str, file_format: str) -> int:
    """Put an import on record; its id."""
    made = connection.scalar(
        text(
            "INSERT INTO imports (crew_id, file, format, conversations_new, lines_new, lines_changed, lines_withdrawn) "
            "VALUES (:crew_id, :file, :format, 0, 0, 0, 0) RETURNING id"
        ),
        {"crew_id": crew_id, "file": file, "format": file_format},
    )
    assert isinstance(made, int)
    return made


def finish(connection: Connection, import_id: int, done: IngestReport, left_out: Mapping[str, int]) -> bool:
    """Note what an import brought; one that changed nothing leaves no record. Returns whether there is one.

    Args:
        left_out: what it passed over because it is no talk, by kind.
    """
    counts = {
        "conversations": done.conversations_new,
        "new": done.lines_new,
        "changed": done.lines_changed,
        "withdrawn": done.lines_withdrawn,
    }
    if not any(counts.values()):
        connection.execute(text("DELETE FROM imports WHERE id = :id"), {"id": import_id})
        return False
    connection.execute(
        text(
            "UPDATE imports SET conversations_new = :conversations, lines_new = :new, lines_changed = :changed, "
            "lines_withdrawn = :withdrawn, left_out = :left_out WHERE id = :id"
        ).bindparams(bindparam("left_out", type_=JSONB())),
        {**counts, "left_out": dict(left_out), "id": import_id},
    )
    return True


def twins(connection: Connection, crew_id: int, import_id: int) -> dict[str, int]:
    """How many conversations that an import brought are there word for word under the client's other crews, by crew."""
    rows = connection.execute(
        text("""
            SELECT crews.code, count(*) AS conversations
            FROM data_items AS item
            JOIN data_items AS other ON other.client = item.client AND other.content_hash = item.content_hash
                AND other.days_date = item.days_date AND other.crew_id <> item.crew_id
            JOIN crews ON crews.id = other.crew_id
            WHERE item.crew_id = :crew_id AND item.line_count > 0 AND EXISTS (
                SELECT 1 FROM lines WHERE conversation_id = item.id AND import_id = :import_id)
            GROUP BY crews.code
        """),
        {"crew_id": crew_id, "import_id": import_id},
    )
    return {row.code: row.conversations for row in rows}


_LISTED = """
SELECT imports.id, client, code AS crew, file, format, conversations_new, lines_new, lines_changed, lines_withdrawn,
       imported_at, undone_at, left_out
FROM imports JOIN crews ON crews.id = crew_id
"""


def list_all(connection: Connection, client: str | None = None, *, with_undone: bool = False) -> list[Import]:
    """The imports of a client, or of everybody, the latest first."""
    rows = connection.execute(
        text(
            f"{_LISTED} WHERE (CAST(:client AS text) IS NULL OR client = :client) "
            "AND (:undone OR undone_at IS NULL) ORDER BY imports.id DESC"
        ),
        {"client": client, "undone": with_undone},
    )
    return [Import(*row) for row in rows]


def undo(connection: Connection, import_id: int, calendar_of: Callable[[str], Calendar]) -> tuple[Import, Undone]:
    """Take an import back: the lines that it brought go, those that it changed or took away are as they were.

    What a later import or the source itself has changed since stays as that left it.

    Args:
        connection: in a transaction that the caller commits.
        calendar_of: gives the calendar of a client.

    Raises:
        UndoError: there is no such import, or it was taken back already.
    """
    row = connection.execute(
        text(f"{_LISTED} WHERE imports.id = :id FOR UPDATE OF imports"),
        {"id": import_id},
    ).one_or_none()
    if row is None:
        raise UndoError(f"There is no import {import_id}; 'crew imports' lists them.")
    found = Import(*row)
    if found.undone_at is not None:
        raise UndoError(f"Import {import_id} was taken back already, on {found.undone_at:%Y-%m-%d %H:%M}.")
    crew = CrewKey(found.client, found.crew, _crew_of(connection, import_id))
    calendar = calendar_of(crew.client)
    one_at_a_time(connection, crew)
    gone = connection.execute(
        text(
            "DELETE FROM lines USING data_items AS item WHERE item.crew_id = :crew_id "
            "AND conversation_id = item.id AND import_id = :id RETURNING conversation_id"
        ),
        {"crew_id": crew.id, "id": import_id},
    ).all()
    report = settle(connection, {row.conversation_id for row in gone}, crew.client, calendar)
    restored = _restore(connection, crew, import_id, calendar, report)
    connection.execute(text("DELETE FROM withdrawn_lines WHERE import_id = :id"), {"id": import_id})
    connection.execute(text("UPDATE imports SET undone_at = now() WHERE id = :id"), {"id": import_id})
    return found, Undone(len(gone), restored, report.days)


def _crew_of(connection: Connection, import_id: int) -> int:
    crew_id = connection.scalar(text("SELECT crew_id FROM imports WHERE id = :id"), {"id": import_id})
    assert isinstance(crew_id, int)
    return crew_id


def _restore(connection: Connection, crew: CrewKey, import_id: int, calendar: Calendar, report: IngestReport) -> int:
    """Bring back what an import changed or took away, where nothing stands in its place now."""
    kept = connection.execute(
        text("""
            DELETE FROM withdrawn_lines AS kept WHERE withdrawn_by = :id AND import_id IS DISTINCT FROM :id
                AND NOT EXISTS (
                    SELECT 1 FROM lines JOIN data_items AS item ON item.id = lines.conversation_id
                    WHERE item.crew_id = kept.crew_id AND item.session_id = kept.session_id
                      AND lines.position = kept.position)
            RETURNING session_id, position, spoken_at, speaker, text, id, import_id
        """),
        {"id": import_id},
    ).all()
    by_import: dict[int | None, list[SourceLine]] = defaultdict(list)
    for row in sorted(kept, key=lambda row: row.id):
        line = SourceLine(row.session_id, row.position, row.spoken_at, row.speaker, row.text, row.id)
        by_import[row.import_id].append(line)
    for brought_by, lines in sorted(by_import.items(), key=lambda item: item[0] or 0):
        source = SourceTraits(import_id=brought_by)
        report.add(ingest(connection, crew=crew, lines=lines, calendar=calendar, source=source))
    return len(kept) - report.lines_forgotten
