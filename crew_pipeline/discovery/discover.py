"""One import of a file, one round of discovery over the history tables."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

from sqlalchemy import Engine
from sqlalchemy.exc import SQLAlchemyError

from crew_pipeline.discovery.exports.export import open_export
from crew_pipeline.discovery.history import SourceError, opened, read_history
from crew_pipeline.discovery.reading import Reading
from crew_pipeline.discovery.records import Limits
from crew_pipeline.settings import Settings
from crew_pipeline.storage import crews
from crew_pipeline.storage.crews import HistorySource
from crew_pipeline.storage.ingest import IngestReport, ingest

logger = logging.getLogger(__name__)


@dataclass
class CrewReport:
    """What one crew's source brought: counts, refused lines with reasons, or the error that ended it."""

    client: str
    crew: str
    reading: Reading = field(default_factory=Reading)
    ingested: IngestReport = field(default_factory=IngestReport)
    error: str | None = None

    @property
    def rejected(self) -> int:
        """Lines that were not imported."""
        return self.reading.rejected + len(self.ingested.conflicts)

    @property
    def rejections(self) -> list[tuple[int, str]]:
        """Line number (or message id) and reason of what was not imported, in order."""
        return sorted([*self.reading.rejections, *self.ingested.conflicts])

    def as_dict(self) -> dict[str, object]:
        """The report as ``--json`` prints it."""
        done = self.ingested
        return {
            "client": self.client,
            "crew": self.crew,
            "conversations": {
                "read": done.conversations,
                "new": done.conversations_new,
                "changed": done.conversations_changed,
                "skipped": done.conversations_unchanged,
            },
            "lines": {
                "read": self.reading.lines_read,
                "new": done.lines_new,
                "changed": done.lines_changed,
                "skipped": done.lines_unchanged,
                "rejected": self.rejected,
            },
            "rejections": [{"line": number, "reason": reason} for number, reason in self.rejections],
            "days": [day.isoformat() for day in done.days],
            "error": self.error,
        }


def limits_of(settings: Settings, now: datetime) -> Limits:
    """The bounds on a line that the settings ask for."""
    return Limits(settings.zone, settings.first_day, now, settings.max_text_chars)


def import_file(
    engine: Engine,
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
    """Import an export in one transaction: all that can be used of it, or nothing.

    Args:
        path: a file, or the folder of an export.
        columns: column names by field, for tables.

    Raises:
        ExportError: the export cannot be imported at all.
    """
    export = open_export(path, file_format, columns)
    report = CrewReport(client, crew)
    with engine.begin() as connection:
        report.ingested = ingest(
            connection,
            client=client,
            crew=crew,
            crew_id=crews.ensure_crew(connection, client, crew),
            lines=export.lines(limits_of(settings, now), report.reading, on_progress),
            zone=settings.timezone,
            today=now.astimezone(settings.zone).date(),
        )
    return report


def discover(engine: Engine, settings: Settings, now: datetime, client: str | None = None) -> list[CrewReport]:
    """Read the history tables of all active crews; a crew that fails is reported and the others go on."""
    with engine.connect() as connection:
        sources = crews.history_sources(connection, client)
    return [_discover_crew(engine, source, settings, now) for source in sources]


def _discover_crew(engine: Engine, source: HistorySource, settings: Settings, now: datetime) -> CrewReport:
    report = CrewReport(source.client, source.code)
    try:
        with opened(source, engine) as reader, engine.begin() as connection:
            report.ingested = ingest(
                connection,
                client=source.client,
                crew=source.code,
                crew_id=source.crew_id,
                lines=read_history(reader, source, limits_of(settings, now), report.reading),
                zone=settings.timezone,
                today=now.astimezone(settings.zone).date(),
            )
    except SourceError as error:
        report.error = str(error)
    except SQLAlchemyError as error:
        # The driver's own text may hold the address; its class and the table tell enough.
        report.error = (
            f"the history table {source.history_table} of {source.code} cannot be read ({type(error).__name__}); "
            "check that it exists and has id, session_id, message and created_at"
        )
        logger.warning("discovery of %s failed: %s", source.code, type(error).__name__, exc_info=True)
    with engine.begin() as connection:
        crews.record_discovery(connection, source, report.ingested.conversations, report.error)
    logger.info(
        "%s: %d new, %d skipped, %d errors",
        source.code,
        report.ingested.conversations_new,
        report.ingested.conversations_unchanged,
        report.rejected,
    )
    return report
