"""Which pairs of a day to ask a person about: those the judge is least sure of."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from crew_pipeline.days import folding
from crew_pipeline.dedup import document
from crew_pipeline.dedup.config import EngineConfig
from crew_pipeline.dedup.cores import cores
from crew_pipeline.dedup.pair_model import pair_model
from crew_pipeline.dedup.text import text_hash
from crew_pipeline.model import ClientDay
from crew_pipeline.settings import Settings
from crew_pipeline.storage.database import Database
from crew_pipeline.storage.days import content
from crew_pipeline.storage.days.content import Discovered
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
        comparison = pairs.load(connection, client_day, config.judgement)
        if comparison is None:
            return []
        own = folding.config_of(connection, client_day.client, config)
        threshold = pair_model().threshold(own.folding, comparison.basis)
        doubtful = pairs.least_sure(connection, client_day, threshold, most)
        discovered = content.discovered_of(connection, client_day)
    first_with = _first_lines(client_day, discovered)
    return [
        Question(
            first_with[pair.left_hash], first_with[pair.right_hash], pair.probability, pair.similarity, pair.reason
        )
        for pair in doubtful
        if pair.left_hash in first_with and pair.right_hash in first_with
    ]


def _first_lines(client_day: ClientDay, discovered: Sequence[Discovered]) -> dict[bytes, AskedLine]:
    """The first line of the day that carries a text, by the text's hash."""
    with_cores = zip(discovered, cores(folding.columns_of(client_day, discovered)), strict=True)
    first: dict[bytes, AskedLine] = {}
    for line, core in sorted(with_cores, key=lambda pair: (pair[0].spoken_at, pair[0][:2])):
        asked = AskedLine(document.line_id(line.conversation_id, line.position), line.speaker, line.text)
        first.setdefault(text_hash(core), asked)
    return first
