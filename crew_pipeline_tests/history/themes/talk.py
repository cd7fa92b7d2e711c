"""Talk about a few subjects, with vectors that say which: what themes are tried with."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from datetime import date, timedelta

import numpy as np
import orjson
from numpy.typing import NDArray

from crew_pipeline.dedup.embedding import model_id
from crew_pipeline.history.embedding import shown_texts
from crew_pipeline.model import BUNDLED_MODEL, ClientDay, EngineOptions
from crew_pipeline.storage.database import Database
from crew_pipeline.storage.evidence import embeddings
from crew_pipeline_tests.conftest import Ready, bring, lines_at

CLIENT = "acme"
MODEL = f"{model_id(BUNDLED_MODEL)}+made"
OPTIONS = EngineOptions()
FIRST = date(2025, 1, 6)
"""A Monday."""
SUBJECTS = {
    "cellar": ["pump", "water", "pipe", "valve", "flood", "plumber", "drain", "leak", "basement", "heater"],
    "kitten": ["cat", "food", "sofa", "vet", "whiskers", "toy", "basket", "litter", "purring", "milk"],
    "invoice": ["payment", "tax", "account", "ledger", "sum", "bank", "transfer", "receipt", "discount", "quarter"],
    "football": [
        "goal",
        "match",
        "referee",
        "league",
        "striker",
        "penalty",
        "stadium",
        "season",
        "trainer",
        "defender",
    ],
}


def vector_of(text: str) -> NDArray[np.float32]:
    """Near the direction of the subject that a text names first, whatever else it says; of length 1."""
    names = [*SUBJECTS]
    subject = next((name for name in text.split() if name in names), names[0])
    direction = np.random.default_rng(names.index(subject)).normal(size=384)
    noise = np.random.default_rng(list(text.encode())).normal(size=384)
    mixed = direction + 0.7 * noise
    return np.asarray(mixed / np.linalg.norm(mixed), np.float32)


def said_of(subject: str, chance: random.Random, lines: int = 8) -> list[tuple[str, str]]:
    """Lines about a subject."""
    others = SUBJECTS[subject]
    return [
        (chance.choice(("Ann", "Ben")), f"the {subject} and its {' '.join(chance.sample(others, 4))} once more today")
        for _ in range(lines)
    ]


class History:
    """Brings days of talk that are ready and embedded."""

    def __init__(self, db: Database, make_ready: Ready) -> None:
        self._db = db
        self._make_ready = make_ready

    def add(self, day: date, subjects: Sequence[str], client: str = CLIENT) -> None:
        """A day with a conversation about each of some subjects."""
        for number, subject in enumerate(subjects):
            said = said_of(subject, random.Random(f"{day} {number} {subject}"))
            bring(self._db, lines_at(day.isoformat(), f"{subject} {day} {number}", *said), client=client)
        self.embed(day, client)

    def embed(self, day: date, client: str = CLIENT) -> None:
        """Make a day ready, and its texts known by vectors."""
        client_day = ClientDay(client, day)
        version = self._make_ready(day.isoformat(), client)
        with self._db.write() as connection:
            stored = embeddings.document_without(connection, MODEL, client_day)
            assert stored is not None
            texts = shown_texts(orjson.loads(stored.body), OPTIONS)
            embeddings.store(connection, client, MODEL, {key: vector_of(text) for key, text in texts.items()})
            embeddings.mark(connection, MODEL, client_day, version)

    def weeks(self, count: int, client: str = CLIENT) -> None:
        """Five days a week, each about three subjects in turn."""
        names = [*SUBJECTS]
        for number in range(count * 5):
            day = FIRST + timedelta(weeks=number // 5, days=number % 5)
            self.add(day, [names[(number + step) % len(names)] for step in range(3)], client)


Talk = Callable[[], History]
