"""What a day shows is embedded once, what is folded is not, and a death in between costs little."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import UTC, date, datetime

import numpy as np
import pytest

from crew_pipeline.days import forgetting
from crew_pipeline.days.forgetting import Scope
from crew_pipeline.dedup.text import normalise, text_hash
from crew_pipeline.history import embedding
from crew_pipeline.history.embedding import Embedded, embed_day, shown_texts
from crew_pipeline.model import ClientDay, EngineOptions
from crew_pipeline.settings import Settings
from crew_pipeline.storage.database import Database
from crew_pipeline.storage.evidence import embeddings
from crew_pipeline_tests.conftest import Ready, bring, lines_at

Query = Callable[..., list[tuple[object, ...]]]

DAY = ClientDay("default", date(2025, 1, 15))
OPTIONS = EngineOptions()
PROMPT = "You are the reviewer of a small team of builders.\nAnswer in at most three sentences.\n"
LONG = "\n".join(f"The step {number} of the plan is done by the team of hall {number}." for number in range(12))


class Counting:
    """An encoder that counts what it is given, and dies when told to."""

    model_id = "counting"

    def __init__(self, dies_after: int = 10**9) -> None:
        self.given: list[str] = []
        self._dies_after = dies_after

    def encode(self, texts: Sequence[str]) -> np.ndarray:
        if len(self.given) + len(texts) > self._dies_after:
            raise ConnectionError("gone")
        self.given.extend(texts)
        return np.ones((len(texts), 4), np.float32) / 2


def embed(db: Database, encoder: Counting) -> Embedded | None:
    return embed_day(db, DAY, encoder, OPTIONS, lambda: None)


@pytest.fixture
def talk(db: Database, make_ready: Ready) -> None:
    said = [f"{PROMPT}The plan is good.", f"{PROMPT}The plan is late.", "ok", "We meet at nine, then.", LONG]
    bring(db, lines_at("2025-01-15", "a", *(("Ann", text) for text in said)), client="default")
    make_ready("2025-01-15")


@pytest.mark.usefixtures("talk")
def test_what_is_shown_is_embedded_once_and_what_is_folded_is_not(db: Database) -> None:
    encoder = Counting()
    assert embed(db, encoder) == Embedded(15, 15)
    assert sorted(encoder.given) == sorted(set(encoder.given))
    assert normalise(f"{PROMPT}The plan is good.") in encoder.given
    assert normalise(f"{PROMPT}The plan is late.") in encoder.given
    assert "the step 7 of the plan is done by the team of hall 7." in encoder.given
    assert not any(text == normalise(PROMPT) for text in encoder.given)
    assert embed(db, encoder) is None


@pytest.mark.usefixtures("talk")
def test_another_document_or_another_model_embeds_what_is_new(db: Database, make_ready: Ready) -> None:
    embed(db, Counting())
    bring(db, lines_at("2025-01-15", "b", ("Bo", "The contract is in the drawer.")), client="default")
    make_ready("2025-01-15")
    encoder = Counting()
    assert embed(db, encoder) == Embedded(16, 1)
    assert encoder.given == ["the contract is in the drawer."]
    encoder.model_id = "another"
    assert embed(db, encoder) == Embedded(16, 16)


@pytest.mark.usefixtures("talk")
def test_what_was_stored_before_a_death_is_not_embedded_again(db: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(embedding, "AT_ONCE", 4)
    first = Counting(dies_after=10)
    with pytest.raises(ConnectionError):
        embed(db, first)
    with db.read() as connection:
        assert embeddings.days_without(connection, "counting", 10)
    second = Counting()
    assert embed(db, second) == Embedded(15, 7)
    assert not set(first.given) & set(second.given)


@pytest.mark.usefixtures("talk")
def test_a_document_that_came_meanwhile_is_not_taken_for_embedded(db: Database, make_ready: Ready) -> None:
    class Slow(Counting):
        def encode(self, texts: Sequence[str]) -> np.ndarray:
            bring(db, lines_at("2025-01-15", "b", ("Bo", "The contract is in the drawer.")), client="default")
            make_ready("2025-01-15")
            return super().encode(texts)

    embed(db, Slow())
    with db.read() as connection:
        (work,) = embeddings.days_without(connection, "counting", 10)
    assert work.client_day == DAY


def test_a_day_without_a_document_has_nothing_to_embed(db: Database) -> None:
    bring(db, lines_at("2025-01-15", "a", ("Ann", "one two three")), client="default")
    encoder = Counting()
    assert embed(db, encoder) is None
    assert encoder.given == []


def test_texts_come_by_hash_whatever_the_order_of_the_lines() -> None:
    lines = [{"text": f"line number {number} of many"} for number in range(20)]
    one = shown_texts([{"display_conversation": lines}], OPTIONS)
    assert one == shown_texts([{"display_conversation": lines[::-1]}], OPTIONS)
    assert list(one) == sorted(one)
    assert all(text_hash(text) == key for key, text in one.items())


@pytest.mark.usefixtures("talk")
def test_what_is_forgotten_while_it_is_embedded_leaves_no_vector(
    db: Database, settings: Settings, query: Query
) -> None:
    class Forgetting(Counting):
        def encode(self, texts: Sequence[str]) -> np.ndarray:
            forgetting.forget(db, settings, Scope("default"), datetime.now(UTC))
            return super().encode(texts)

    embed(db, Forgetting())
    assert query("SELECT count(*) FROM line_embeddings") == [(0,)]
