"""Try how a crew's history table is read, storing nothing."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from sqlalchemy.exc import SQLAlchemyError

from crew_pipeline.discovery.records import limits_of
from crew_pipeline.discovery.scan import read_batch
from crew_pipeline.discovery.sources import SourceError, opened
from crew_pipeline.discovery.table import examine
from crew_pipeline.settings import Settings
from crew_pipeline.storage.database import Database
from crew_pipeline.storage.sources.crews import HistorySource
from crew_pipeline.storage.sources.watermarks import refused_of


def check_source(db: Database, settings: Settings, source: HistorySource) -> dict[str, Any]:
    """How a crew's table is read and how its first rows fare, or why it cannot be read."""
    check: dict[str, Any] = {"client": source.client, "crew": source.code, "table": source.history_table}
    check |= {"framework": None, "columns": {}, "key": None, "warnings": [], "refused": [], "error": None}
    try:
        with opened(source, db, settings.discovery_timeout_s) as source_connection:
            with source_connection.begin():
                table = examine(source_connection, source.history_table, source.columns)
            check |= {"columns": table.columns, "key": table.kind, "warnings": table.warnings}
            check["framework"] = table.framework.name if table.framework is not None else None
            limits = limits_of(settings.in_zone(source.timezone), datetime.now(UTC))
            batch = read_batch(source_connection, table, None, limits, most_sessions=10, most_rows=20)
            refused = [f"row {key}: {reason}" for key, _, reason in batch.refused]
            check["first_rows"] = {"read": len(batch.rows), "refused": refused}
    except SourceError as error:
        check["error"] = str(error)
    except SQLAlchemyError as error:
        check["error"] = f"the source of {source.code} cannot be read ({type(error).__name__}); check that it runs."
    with db.read() as connection:
        check["refused"] = [
            {"row": row, "reason": reason} for row, reason in refused_of(connection, source.crew_id, 10)
        ]
    return check
