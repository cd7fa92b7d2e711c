"""One import of an export: all of it that can be used, or nothing."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime
from pathlib import Path

from crew_pipeline.discovery.exports.export import open_export
from crew_pipeline.discovery.records import limits_of
from crew_pipeline.discovery.report import CrewReport
from crew_pipeline.settings import Settings
from crew_pipeline.storage.conversations.index import stored_of
from crew_pipeline.storage.conversations.ingest import ingest
from crew_pipeline.storage.database import Database
from crew_pipeline.storage.sources import crews


def import_file(
    db: Database,
    path: Path,
    *,
    client: str,
    crew: str,
    settings: Settings,
    now: datetime,
    file_format: str = "auto",
    columns: Mapping[str, str] | None = None,
    on_progress: Callable[[int], None] | None = None,
) -> CrewReport:
    """Import an export in one transaction, and read back from the store what the crew holds after it.

    Args:
        columns: column by field, for tables.
        on_progress: called with the bytes that have been read of ``Export.size``.

    Raises:
        ExportError: the export cannot be imported at all.
    """
    export = open_export(path, file_format, columns)
    report = CrewReport(client, crew)
    with db.write() as connection:
        report.ingested = ingest(
            connection,
            client=client,
            crew=crew,
            crew_id=crews.ensure_crew(connection, client, crew),
            lines=export.lines(limits_of(settings, now), report.reading, on_progress),
            zone=settings.timezone,
            today=now.astimezone(settings.zone).date(),
            titles=report.reading.titles,
            whole_sessions=export.whole_sessions,
            moved=report.reading.moved,
            spared=report.reading.spared,
        )
    with db.read() as connection:
        report.stored = stored_of(connection, client, crew)
    return report
