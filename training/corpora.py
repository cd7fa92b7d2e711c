"""The conversations of the shared data folder, day by day, and how the engine folds one of their days."""

from __future__ import annotations

import gzip
from collections import defaultdict
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import orjson

from crew_pipeline.dedup import frames
from crew_pipeline.dedup.config import EngineConfig
from crew_pipeline.dedup.cores import distinct_texts
from crew_pipeline.dedup.folding import cluster_lines
from crew_pipeline.dedup.pair_scorer import scorer_of
from crew_pipeline.dedup.speech import speaker_names
from crew_pipeline.dedup.text_vectors import Vectors, text_vectors

if TYPE_CHECKING:
    import pandas as pd

SHARED = Path(__file__).parent.parent.parent / "shared" / "data"
FILES = {
    "acquaintances": "acquaintances.jsonl.gz",
    "agents": "chat_agents.jsonl.gz",
    "developers": "slack_developers.jsonl.gz",
    "meetings": "ami_meetings.jsonl.gz",
    "orders": "orders.jsonl.gz",
    "service": "service_calls.jsonl.gz",
    "smalltalk": "smalltalk.jsonl.gz",
    "support": "ubuntu_irc.jsonl.gz",
}
"""The kinds of talk that pairs were labelled of, and their corpora."""
CLIENT = "training"

Day = list[tuple[Any, ...]]
"""The lines of a day: rows of ``frames.LINES``."""


def days_of(kind: str) -> dict[str, Day]:
    """The days of a kind of talk (``YYYY-MM-DD``), ascending."""
    days: dict[str, Day] = defaultdict(list)
    with gzip.open(SHARED / FILES[kind]) as file:
        for raw in file:
            line = orjson.loads(raw)
            spoken = datetime.fromisoformat(line["created_at"])
            row = (CLIENT, line["session_id"], line["line"], line["speaker"], spoken, line["text"])
            days[line["created_at"][:10]].append(row)
    return dict(sorted(days.items()))


def days_labelled(kind: str) -> set[str]:
    """The days of a kind of talk that a coverage pair was drawn from."""
    path = SHARED / "coverage_pairs" / f"{kind}.jsonl"
    return {orjson.loads(raw)["day"] for raw in path.open("rb")}


def names_of_days(kind: str) -> dict[str, frozenset[str]]:
    """The names by which each day's speakers are addressed."""
    return {day: speaker_names({row[3] for row in rows}) for day, rows in days_of(kind).items()}


class Engine:
    """The shipped engine with its models loaded, to fold days without a database."""

    def __init__(self, config: EngineConfig | None = None) -> None:
        self.config = config or EngineConfig()
        self._scorer = scorer_of(self.config.pair_scorer)

    def encode(self, texts: Sequence[str]) -> Vectors:
        """Vectors of texts."""
        return text_vectors(texts)

    def fold(self, day: str, rows: Day) -> pd.DataFrame:
        """The clusters of a day: ``frames.MEMBERS``."""
        lines = frames.frame(rows, frames.LINES)
        texts = distinct_texts(lines, self.config)
        vectors = dict(zip(texts, self.encode(list(texts.values())), strict=True))
        return cluster_lines(CLIENT, day, lines, vectors, self.config, self._scorer).members
