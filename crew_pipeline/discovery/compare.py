"""Compare what incremental discovery has stored with a reading of the whole table: nothing may be missing."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, text
from sqlalchemy.exc import SQLAlchemyError

from crew_pipeline.discovery import scan
from crew_pipeline.discovery.records import Limits, limits_of
from crew_pipeline.discovery.sources import SourceError, opened
from crew_pipeline.discovery.table import HistoryTable, examine
from crew_pipeline.settings import Settings
from crew_pipeline.storage.conversations import tombstones
from crew_pipeline.storage.conversations.tombstones import WORDS, Arriving
from crew_pipeline.storage.database import Database
from crew_pipeline.storage.sources.crews import HistorySource, history_sources

_SHOWN = 20

_STAGE = """
CREATE TEMP TABLE source_messages (
    session_id text NOT NULL, row bigint NOT NULL, spoken_at timestamptz, digest bytea NOT NULL
) ON COMMIT DROP
"""

_STAGED = Arriving("source_messages", "row", "digest", "true")

# Times that were inferred when a line was first seen cannot be compared.
_FORGET_INFERRED = """
UPDATE source_messages SET spoken_at = NULL WHERE session_id IN (
    SELECT session_id FROM data_items WHERE crew_id = :crew_id AND times_inferred
    UNION SELECT session_id FROM source_messages WHERE spoken_at IS NULL)
"""

# A message is identified by its session, speaker and words, and by its time where the source tells one. Messages that
# are there several times are counted, not only looked for.
_DIFFERENCES = """
WITH ours AS (
    SELECT session_id, position AS row, spoken_at,
           {words} AS digest
    FROM data_items JOIN lines ON conversation_id = id
    WHERE crew_id = :crew_id AND NOT times_inferred
    UNION ALL
    SELECT session_id, position, NULL, {words}
    FROM data_items JOIN lines ON conversation_id = id
    WHERE crew_id = :crew_id AND times_inferred
), numbered AS (
    SELECT 1 AS theirs, *, row_number() OVER (PARTITION BY session_id, spoken_at, digest ORDER BY row) AS occurrence
    FROM source_messages
    UNION ALL
    SELECT -1, *, row_number() OVER (PARTITION BY session_id, spoken_at, digest ORDER BY row) FROM ours
)
SELECT session_id, min(row) AS row, sum(theirs) AS side FROM numbered
GROUP BY session_id, spoken_at, digest, occurrence HAVING sum(theirs) <> 0
ORDER BY session_id, row
"""


@dataclass
class Comparison:
    """Differences between a history table and the store.

    Attributes:
        missing: session and id of messages of the source that the store lacks.
        only_stored: stored lines that the source no longer has (deleted or edited there), as many as shown.
    """

    client: str
    crew: str
    rows: int = 0
    missing_count: int = 0
    only_stored_count: int = 0
    missing: list[tuple[str, int]] = field(default_factory=list)
    only_stored: list[tuple[str, int]] = field(default_factory=list)

    @property
    def agrees(self) -> bool:
        """Whether every message of the source is in the store."""
        return self.missing_count == 0

    def as_dict(self) -> dict[str, Any]:
        """As ``--json`` prints it."""
        return {**asdict(self), "agrees": self.agrees}


def compare(db: Database, source: HistorySource, settings: Settings, now: datetime) -> Comparison:
    """Read the whole table and count what the store lacks; nothing is written.

    Raises:
        SourceError: the source cannot be opened or is no history table.
    """
    limits = limits_of(settings.in_zone(source.timezone), now)
    result = Comparison(source.client, source.code)
    with opened(source, db, 10 * settings.discovery_timeout_s) as source_connection, db.write() as connection:
        with source_connection.begin():
            table = examine(source_connection, source.history_table, source.columns)
        connection.execute(text(_STAGE))
        _copy(connection, _messages(source_connection, table, limits, result))
        tombstones.keep_out(connection, source.client, source.code, _STAGED)
        connection.execute(text(_FORGET_INFERRED), {"crew_id": source.crew_id})
        for row in connection.execute(text(_DIFFERENCES.format(words=WORDS)), {"crew_id": source.crew_id}):
            if row.side > 0:
                result.missing_count += 1
                result.missing += [(row.session_id, row.row)][: _SHOWN - len(result.missing)]
            else:
                result.only_stored_count += 1
                result.only_stored += [(row.session_id, row.row)][: _SHOWN - len(result.only_stored)]
        connection.rollback()
    return result


def compare_all(db: Database, settings: Settings, client: str | None, now: datetime) -> list[dict[str, Any]]:
    """Compare the tables of all crews; one that cannot be read says why, and the others go on."""
    with db.read() as connection:
        sources = history_sources(connection, client)
    compared = []
    for source in sources:
        try:
            compared.append(compare(db, source, settings, now).as_dict())
        except (SourceError, SQLAlchemyError) as error:
            sentence = str(error) if isinstance(error, SourceError) else f"cannot be read ({type(error).__name__})"
            compared.append({"client": source.client, "crew": source.code, "error": sentence, "agrees": False})
    return compared


def _messages(
    source_connection: Connection, table: HistoryTable, limits: Limits, result: Comparison
) -> Iterator[tuple[str, int, datetime | None, bytes]]:
    reached: int | None = None
    more = True
    while more:
        batch = scan.read_batch(
            source_connection, table, scan.above(table, reached), limits, most_sessions=scan.MOST_ROWS
        )
        result.rows += len(batch.rows)
        for row in batch.rows:
            line = row.line
            digest = hashlib.sha256(f"{line.speaker}\x1f{line.text}".encode()).digest()[:16]
            yield line.session_id, row.key, None if line.time_inferred else line.spoken_at, digest
        reached, more = batch.reached, batch.more


def _copy(connection: Connection, rows: Iterator[tuple[str, int, datetime | None, bytes]]) -> None:
    driver: Any = connection.connection.driver_connection
    with driver.cursor() as cursor, cursor.copy("COPY source_messages FROM STDIN (FORMAT BINARY)") as copy:
        copy.set_types(["text", "int8", "timestamptz", "bytea"])
        for row in rows:
            copy.write_row(row)
