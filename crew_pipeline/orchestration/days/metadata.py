"""What an operator reads of a day in the Dagster UI, step by step."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from datetime import timedelta
from typing import Any

import pandas as pd
from dagster import MetadataValue, TableRecord

from crew_pipeline.dedup.comparing import Comparison
from crew_pipeline.dedup.document import Document
from crew_pipeline.storage.database import Database
from crew_pipeline.storage.days import visits
from crew_pipeline.storage.days.queue import Work

_LARGEST_SHOWN = 10
_VISITS_OVER = {"day": timedelta(days=1), "two_weeks": timedelta(days=14)}


def of_claims(work: Sequence[Work]) -> dict[str, Any]:
    """What of the day needs work."""
    return {
        "clients": len(work),
        "conversations": sum(waiting.conversations for waiting in work),
        "lines": sum(waiting.lines for waiting in work),
        "unchanged": not work,
    }


def of_embedding(distinct: int, model: str, seconds: float) -> dict[str, Any]:
    """How many distinct texts the day has."""
    return {
        "distinct_texts": distinct,
        "model": model,
        "seconds": round(seconds, 3),
    }


def of_clusters(
    lines: pd.DataFrame, members: pd.DataFrame, compared: Sequence[Comparison], seconds: float
) -> dict[str, Any]:
    """What was compared, and what folds."""
    clusters = int(members["cluster_id"].nunique())
    return {
        "lines": len(lines),
        "texts_compared": sum(len(comparison.texts) for comparison in compared),
        "candidate_pairs": sum(comparison.candidates for comparison in compared),
        "pairs_read": sum(comparison.read for comparison in compared),
        "clusters": clusters,
        "hidden_lines": len(members) - clusters,
        "largest_clusters": _largest(members),
        "seconds": round(seconds, 3),
    }


def of_documents(db: Database, documents: Sequence[tuple[str, Document]], seconds: float) -> dict[str, Any]:
    """What is published, by client; and how often visitors were answered at once lately."""
    hidden = sum(document.hidden_count for _, document in documents)
    total = sum(document.line_count for _, document in documents)
    characters = sum(document.character_count for _, document in documents)
    hidden_characters = sum(document.hidden_character_count for _, document in documents)
    return {
        "documents": len(documents),
        "conversations": sum(document.conversation_count for _, document in documents),
        "lines": total,
        "hidden_lines": hidden,
        "hidden_ratio": round(hidden / total, 4) if total else 0.0,
        "characters": characters,
        "hidden_characters": hidden_characters,
        "hidden_character_ratio": round(hidden_characters / characters, 4) if characters else 0.0,
        "bytes": sum(len(document.body) for _, document in documents),
        "versions": {client: document.version for client, document in documents},
        **(_instant_visits(db) if documents else {}),
        "seconds": round(seconds, 3),
    }


def _instant_visits(db: Database) -> dict[str, float]:
    with db.read() as connection:
        shares = {name: visits.instant_share(visits.since(connection, back)) for name, back in _VISITS_OVER.items()}
    return {f"instant_visits_{name}": round(share, 4) for name, share in shares.items() if share is not None}


def _largest(members: pd.DataFrame) -> MetadataValue[Any]:
    """The largest clusters of a day as a table: ids and counts, for words in Dagster's events cannot be forgotten."""
    sizes = Counter(zip(members["client"], members["cluster_id"], strict=True))
    largest = sorted(sizes.items(), key=lambda item: (-item[1], item[0]))[:_LARGEST_SHOWN]
    records = [
        TableRecord({"client": client, "cluster": cluster, "lines": size}) for (client, cluster), size in largest
    ]
    return MetadataValue.table(records) if records else MetadataValue.text("none")
