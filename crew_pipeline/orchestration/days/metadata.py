"""What an operator reads of a day in the Dagster UI, asset by asset.

Totals are of the whole day, every client's, as it is stored: a run of one client, or one with nothing to do, tells the
same as before. What one run did stands beside them.
"""

import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import date, timedelta
from typing import Any

from dagster import MetadataValue, TableColumn, TableRecord, TableSchema
from sqlalchemy import Connection
from sqlalchemy.dialects import postgresql

from crew_pipeline import telemetry
from crew_pipeline.dedup.comparing import Comparison
from crew_pipeline.dedup.document import Document
from crew_pipeline.dedup.frames import MEMBERS
from crew_pipeline.model import ClientDay
from crew_pipeline.orchestration.tags import Asset
from crew_pipeline.storage.days import visits
from crew_pipeline.storage.days.totals import DayTotals
from crew_pipeline.storage.migrations import schema

_LARGEST_SHOWN = 10
_POSTGRES = postgresql.dialect()  # type: ignore[no-untyped-call]
_MOST_VERSIONS = 50
_VISITS_OVER = {"day": timedelta(days=1), "two_weeks": timedelta(days=14)}
_CLUSTER = MEMBERS.index("cluster_id")


@dataclass
class Doing:
    """What a run did for one day, over all its clients.

    Attributes:
        model: what its vectors are made by.
        seconds: all of it; ``spent`` has the parts by asset.
        largest: lines of each cluster, by client and cluster.
        versions: of the documents that were published, by client.
    """

    model: str
    lines: int = 0
    texts: int = 0
    texts_compared: int = 0
    candidate_pairs: int = 0
    pairs_read: int = 0
    seconds: float = 0.0
    hidden_lines: int = 0
    spent: dict[Asset, float] = field(default_factory=dict)
    largest: Counter[tuple[str, str]] = field(default_factory=Counter)
    versions: dict[str, str] = field(default_factory=dict)

    @contextmanager
    def timed(self, asset: Asset) -> Iterator[None]:
        """Add the time that the block takes to the asset's."""
        started = time.monotonic()
        try:
            with telemetry.span(asset.value):
                yield
        finally:
            self.spent[asset] = self.spent.get(asset, 0.0) + time.monotonic() - started

    def compared(self, client: str, comparison: Comparison, members: Sequence[Sequence[Any]]) -> None:
        """Count what was compared for a client, and the clusters (rows of ``frames.MEMBERS``) that came of it."""
        self.texts_compared += len(comparison.texts)
        self.candidate_pairs += comparison.candidates
        self.pairs_read += comparison.read
        self.largest.update((client, row[_CLUSTER]) for row in members)

    def published(self, client: str, document: Document) -> None:
        """Count a client's document."""
        self.versions[client] = document.version
        self.hidden_lines += document.hidden_count


def versions_of(stored: DayTotals, engine: str) -> dict[Asset, str]:
    """What tells whether an asset of a day is another than it was: of those that the run makes or rests on."""
    return {
        Asset.CONVERSATIONS: stored.content,
        Asset.EMBEDDINGS: f"{stored.content}-{engine}",
        Asset.CLUSTERS: stored.versions,
        Asset.DOCUMENT: stored.versions,
    }


def of_day(
    connection: Connection,
    stored: DayTotals,
    taken: Sequence[ClientDay],
    doing: Doing,
    assets: Sequence[Asset],
) -> dict[Asset, dict[str, Any]]:
    """The figures of a day, by asset: of those that the run makes."""
    figures: dict[Asset, dict[str, Any]] = {
        Asset.CONVERSATIONS: {
            "clients": stored.clients,
            "conversations": stored.conversations,
            "lines": stored.lines,
            "clients_taken": len(taken),
            "lines_taken": doing.lines,
        },
        Asset.EMBEDDINGS: {"distinct_texts": doing.texts, "model": doing.model} if doing.texts else {},
        Asset.CLUSTERS: {"clusters": stored.clusters, "hidden_lines": stored.clustered_lines - stored.clusters}
        | _of_comparing(doing),
        Asset.DOCUMENT: {
            "documents": stored.documents,
            "conversations": stored.conversations_shown,
            "lines": stored.lines_shown,
            "hidden_lines": stored.hidden_lines,
            "hidden_ratio": _share(stored.hidden_lines, stored.lines_shown),
            "characters": stored.characters,
            "hidden_characters": stored.hidden_characters,
            "hidden_character_ratio": _share(stored.hidden_characters, stored.characters),
            "bytes": stored.bytes,
            "documents_written": len(doing.versions),
            "versions": dict(sorted(doing.versions.items())[:_MOST_VERSIONS]),
            **(_instant_visits(connection) if doing.versions else {}),
        },
    }
    return {asset: {**figures[asset], "unchanged": not taken, **_seconds(doing, asset)} for asset in assets}


def in_words(day: date, taken: Sequence[ClientDay], doing: Doing) -> str:
    """What was done for a day, as a line of the log."""
    if not taken:
        return f"{day}: nothing to do"
    ready = f"{len(doing.versions)} of {len(taken)} clients ready"
    return f"{day}: {ready}, {doing.lines:,} lines, {doing.hidden_lines:,} folded away, {doing.seconds:.1f} s"


def _of_comparing(doing: Doing) -> dict[str, Any]:
    if not doing.texts_compared:
        return {}
    return {
        "texts_compared": doing.texts_compared,
        "candidate_pairs": doing.candidate_pairs,
        "pairs_read": doing.pairs_read,
        "largest_clusters": _largest(doing.largest),
    }


def _seconds(doing: Doing, asset: Asset) -> dict[str, float]:
    return {"seconds": round(doing.spent[asset], 3)} if asset in doing.spent else {}


def _share(part: int, whole: int) -> float:
    return round(part / whole, 4) if whole else 0.0


def _instant_visits(connection: Connection) -> dict[str, float]:
    shares = {name: visits.instant_share(visits.since(connection, back)) for name, back in _VISITS_OVER.items()}
    return {f"instant_visits_{name}": round(share, 4) for name, share in shares.items() if share is not None}


def _largest(sizes: Counter[tuple[str, str]]) -> MetadataValue[Any]:
    """The largest clusters of a day as a table: ids and counts, for words in Dagster's events cannot be forgotten."""
    largest = sorted(sizes.items(), key=lambda item: (-item[1], item[0]))[:_LARGEST_SHOWN]
    records = [
        TableRecord({"client": client, "cluster": cluster, "lines": size}) for (client, cluster), size in largest
    ]
    return MetadataValue.table(records) if records else MetadataValue.text("none")


def table_of(table: type[schema.Base]) -> dict[str, Any]:
    """Name and columns of a table, as Dagster shows them beside an asset."""
    columns = [
        TableColumn(column.name, str(column.type.compile(dialect=_POSTGRES)), column.comment)
        for column in table.__table__.columns
    ]
    return {"dagster/table_name": table.__tablename__, "dagster/column_schema": TableSchema(columns=columns)}
