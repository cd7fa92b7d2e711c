"""One import of an export: all of it that can be used, or nothing."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import datetime

from crew_pipeline.discovery.exports.export import Export
from crew_pipeline.discovery.moments import ANY_FORM, Times
from crew_pipeline.discovery.records import limits_of
from crew_pipeline.discovery.report import CrewReport
from crew_pipeline.settings import Settings
from crew_pipeline.storage.conversations import clients, imports
from crew_pipeline.storage.conversations.index import stored_of
from crew_pipeline.storage.conversations.ingest import CrewKey, SourceTraits, ingest
from crew_pipeline.storage.conversations.parts import calendar_of
from crew_pipeline.storage.database import Database
from crew_pipeline.storage.sources import crews


def import_export(
    db: Database,
    export: Export,
    *,
    client: str,
    crew: str,
    settings: Settings,
    now: datetime,
    times: Times = ANY_FORM,
    on_progress: Callable[[int], None] | None = None,
) -> CrewReport:
    """Import an export in one transaction, and read back from the store what the crew holds after it.

    Args:
        times: how the export writes its times.
        on_progress: called with the bytes that have been read of ``Export.size``.

    Raises:
        ExportError: the export cannot be imported at all.
    """
    report = CrewReport(client, crew)
    reading = report.reading
    with db.write() as connection:
        crew_id = crews.ensure_crew(connection, client, crew)
        own = clients.settings_of(connection, settings, client, hold=True)
        import_id = imports.begin(connection, crew_id, export.path.name, export.format)
        report.ingested = ingest(
            connection,
            crew=CrewKey(client, crew, crew_id),
            lines=export.lines(replace(limits_of(own, now), times=times), reading, on_progress),
            calendar=calendar_of(connection, settings, client, now),
            source=SourceTraits(
                titles=reading.titles,
                whole_sessions=export.whole_sessions,
                moved=reading.moved,
                spared=reading.spared,
                import_id=import_id,
            ),
        )
        if imports.finish(connection, import_id, report.ingested, report.reading.left_out):
            report.import_id = import_id
    with db.read() as connection:
        report.stored = stored_of(connection, client, crew)
        if report.import_id is not None:
            report.twins = imports.twins(connection, crew_id, report.import_id)
    return report
