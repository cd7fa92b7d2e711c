"""Talk of a few weeks in which things are decided, done and asked, embedded as the model does it."""

from __future__ import annotations

from datetime import date

import orjson

from crew_pipeline.dedup.embedding import model_id
from crew_pipeline.history.embedding import shown_texts
from crew_pipeline.history.search.query_encoder import query_encoder
from crew_pipeline.history.summaries.update import Chosen, summarise
from crew_pipeline.model import BUNDLED_MODEL, ClientDay, EngineOptions
from crew_pipeline.storage.database import Database
from crew_pipeline.storage.evidence import embeddings
from crew_pipeline_tests.conftest import Ready, bring, lines_at

MODEL = f"{model_id(BUNDLED_MODEL)}+made"
OPTIONS = EngineOptions()
FIRST, LATER, NOW = "2025-01-06", "2025-01-13", "2025-01-20"
SAID = {
    FIRST: (
        ("Ann", "The case of the remote control could be made of wood, plastic or rubber."),
        ("Ben", "Rubber feels soft and it does not break when children drop it."),
        ("Ann", "Okay, so we have decided to go for a rubber case for the remote control."),
        ("Ben", "I'll send the drawings of the rubber case to the factory by Friday."),
        ("Ann", "And does anybody know what the batteries of the remote control would cost us?"),
    ),
    LATER: (
        ("Ben", "The factory says that rubber for the remote control is too expensive this year."),
        ("Ann", "Okay, so we have decided to go for a plastic case for the remote control."),
        ("Ben", "I'll ask the factory for new samples of plastic by Monday."),
        ("Ann", "Lunch was very good today in the new canteen by the river."),
    ),
    NOW: (
        ("Ben", "Let us talk about the case of the remote control once more, is plastic still right?"),
        ("Ann", "The samples of the plastic case have arrived from the factory this morning."),
    ),
}


class Meetings:
    """Brings days that are ready and embedded, and chooses their points."""

    def __init__(self, db: Database, make_ready: Ready, client: str = "default") -> None:
        self.db = db
        self.client = client
        self._make_ready = make_ready

    def hold(self, *days: str) -> None:
        """The meetings of some days; without any, all of them."""
        for day in days or SAID:
            self.say(day, *SAID[day])

    def say(self, day: str, *said: tuple[str, str], session: str = "") -> Chosen | None:
        """A meeting in which something is said, summarised."""
        bring(self.db, lines_at(day, session or f"meeting of {day}", *said), client=self.client)
        version = self._make_ready(day, self.client)
        self.embed(day, version)
        return summarise(self.db, ClientDay(self.client, date.fromisoformat(day)), OPTIONS)

    def embed(self, day: str, version: str) -> None:
        """Vectors of what a day shows."""
        encoder = query_encoder()
        assert encoder is not None
        client_day = ClientDay(self.client, date.fromisoformat(day))
        with self.db.write() as connection:
            stored = embeddings.document_without(connection, MODEL, client_day)
            assert stored is not None
            texts = shown_texts(orjson.loads(stored.body), OPTIONS)
            embeddings.store(connection, self.client, MODEL, {key: encoder.encode(text) for key, text in texts.items()})
            embeddings.mark(connection, MODEL, client_day, version)
