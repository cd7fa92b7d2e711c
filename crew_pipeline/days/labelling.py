"""Which pairs of a day to ask a person about: those the judge is least sure of."""

from __future__ import annotations

from dataclasses import dataclass

from crew_pipeline.dedup import document, frames
from crew_pipeline.dedup.config import EngineConfig
from crew_pipeline.dedup.embedding import vectors_id
from crew_pipeline.dedup.engine import cores
from crew_pipeline.dedup.pair_model import pair_model
from crew_pipeline.dedup.text import text_hash
from crew_pipeline.model import ClientDay
from crew_pipeline.settings import Settings
from crew_pipeline.storage.conversations import clients
from crew_pipeline.storage.database import Database
from crew_pipeline.storage.days import states as days
from crew_pipeline.storage.evidence import pairs


@dataclass(frozen=True)
class AskedLine:
    """The first line of the day that carries a text."""

    line_id: str
    speaker: str
    text: str


@dataclass(frozen=True)
class Question:
    """Two lines, and what the judge thinks of them."""

    left: AskedLine
    right: AskedLine
    probability: float
    similarity: float
    reason: str


def questions(db: Database, settings: Settings, client_day: ClientDay, most: int) -> list[Question]:
    """The pairs nearest to the client's operating point that nobody has judged, the least sure first."""
    config = EngineConfig.of(settings)
    with db.read() as connection:
        comparison = pairs.load(
            connection, client_day, config.judgement(vectors_id(settings.model, settings.precision))
        )
        if comparison is None:
            return []
        own = config.at(clients.folding_of(connection, client_day.client))
        threshold = pair_model().threshold(own.folding, comparison.stage)
        doubtful = pairs.least_sure(connection, client_day, threshold, most)
        found = days.discovered_of(connection, client_day)
    lines = frames.frame([(client_day.client, *row[:5]) for row in found], frames.LINES)
    first: dict[bytes, AskedLine] = {}
    for row, core in sorted(zip(found, cores(lines), strict=True), key=lambda one: (one[0].spoken_at, one[0][:2])):
        line = AskedLine(document.line_id(row.conversation_id, row.position), row.speaker, row.text)
        first.setdefault(text_hash(core), line)
    return [
        Question(first[one.left_hash], first[one.right_hash], one.probability, one.similarity, one.reason)
        for one in doubtful
        if one.left_hash in first and one.right_hash in first
    ]
