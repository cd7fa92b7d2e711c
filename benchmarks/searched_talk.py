"""A store of talk that is ready to be searched: documents as they are made, but nothing folded in them."""

from __future__ import annotations

import gzip
import json
import uuid
from collections import defaultdict
from collections.abc import Iterable, Iterator
from datetime import UTC, date, datetime, timedelta
from typing import Any

from sqlalchemy import Connection, text

from benchmarks.common import TOP, progress
from crew_pipeline.days import claims, publishing
from crew_pipeline.dedup.document import build
from crew_pipeline.model import ClientDay
from crew_pipeline.storage.conversations.ingest import CrewKey, SourceLine, ingest
from crew_pipeline.storage.conversations.parts import Calendar
from crew_pipeline.storage.database import Database
from crew_pipeline.storage.days import content
from crew_pipeline.storage.sources.crews import ensure_crew

SHARED = TOP.parent / "shared" / "data"
_ENGINE = "benchmark"


def rows_of(corpus: str) -> Iterator[dict[str, Any]]:
    """The lines of a shared corpus."""
    with gzip.open(SHARED / f"{corpus}.jsonl.gz", "rt", encoding="utf-8") as file:
        yield from map(json.loads, file)


def line_of(row: dict[str, Any]) -> SourceLine:
    """A line as stores take it in."""
    spoken_at = datetime.fromisoformat(row["created_at"].replace("Z", "+00:00"))
    return SourceLine(row["session_id"], row["line"], spoken_at, row["speaker"], row["text"], row["line"])


def bring(db: Database, client: str, lines: Iterable[SourceLine]) -> list[date]:
    """Take lines in and publish their days; returns the days."""
    by_session: dict[str, list[SourceLine]] = defaultdict(list)
    for line in lines:
        by_session[line.session_id].append(line)
    with db.write() as connection:
        key = CrewKey(client, "corpus", ensure_crew(connection, client, "corpus"))
        calendar = Calendar("UTC", timedelta(hours=4), datetime.now(UTC).date())
        ingest(connection, crew=key, lines=[line for one in by_session.values() for line in one], calendar=calendar)
    with db.read() as connection:
        days = _without_document(connection, client)
    for number, day in enumerate(days):
        publish(db, ClientDay(client, day))
        if number % 100 == 99:
            progress(f"{client}: {number + 1} of {len(days)} days published")
    return days


def publish(db: Database, client_day: ClientDay) -> None:
    """The document of a day, with nothing folded."""
    token = f"benchmark-{uuid.uuid4()}"
    with db.write() as connection:
        claims.acquire(connection, client_day, token, 600)
        claims.begin(connection, client_day)
        conversations = content.conversations_of(connection, client_day)
        made = build(client_day.client, conversations, content.lines_of(connection, client_day), {}, _ENGINE)
        publishing.publish(connection, client_day, made, _ENGINE, token)


def _without_document(connection: Connection, client: str) -> list[date]:
    rows = connection.scalars(
        text("SELECT DISTINCT days_date FROM data_items WHERE client = :client AND semantic_status = 'pending'"),
        {"client": client},
    )
    return sorted(rows)
