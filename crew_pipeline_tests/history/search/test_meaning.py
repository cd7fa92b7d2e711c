"""Meanings are found near their query, compressed or not, and change with their days."""

from __future__ import annotations

from datetime import date, timedelta
from pathlib import Path

import numpy as np
import pytest

from crew_pipeline.dedup.embedding import SentenceTransformerEncoder
from crew_pipeline.history.search import meaning
from crew_pipeline.history.search.meaning import Builder, MeaningIndex, Quantiser
from crew_pipeline.history.search.query_encoder import QueryEncoder, query_encoder
from crew_pipeline.history.search.texts import DayText, Place
from crew_pipeline.history.search.words import EVERYWHERE, Filter

DIMENSION = 384
DAY = date(2025, 1, 15)


def vectors_of(count: int, seed: int = 1) -> meaning.Floats:
    chance = np.random.default_rng(seed)
    centres = chance.normal(size=(40, DIMENSION))
    made = centres[chance.integers(0, 40, count)] + 0.7 * chance.normal(size=(count, DIMENSION))
    return (made / np.linalg.norm(made, axis=1, keepdims=True)).astype(np.float32)


def text_of(number: int, crew: str = "desk", speaker: str = "Ann") -> DayText:
    digest = number.to_bytes(8, "big") * 2
    return DayText(digest, ["word"], {(crew, speaker): [Place("c", number, 0, 4)]})


def built(
    days: dict[date, list[int]], vectors: meaning.Floats, held: meaning.Meanings | None = None
) -> meaning.Meanings:
    stored = held or meaning.empty()
    builder = Builder(stored, Quantiser(DIMENSION, stored.trained), stored.trained_with)
    builder.drop(days)
    for day, numbers in days.items():
        texts = [text_of(number) for number in numbers]
        builder.add(day, texts, {digest: vectors[int.from_bytes(digest[:8], "big")] for digest in builder.lacks(texts)})
    return builder.finish()


def nearest(index: MeaningIndex, vector: meaning.Floats, among: Filter = EVERYWHERE, most: int = 10) -> list[int]:
    return [int.from_bytes(bytes(digest[:8]), "big") for digest in index.near(vector, among, most)]


def test_a_query_means_here_what_it_means_to_the_model() -> None:
    said = ["how do I mount a usb stick", "wo ist der Schlüssel?", "x", "東京タワー", "a " * 200]
    slow = SentenceTransformerEncoder(precision="float32").encode(said)
    fast = query_encoder()
    assert fast is not None
    for text, expected in zip(said[:4], slow[:4], strict=True):
        assert float(fast.encode(text) @ expected) > 0.9999
    assert abs(float(np.linalg.norm(fast.encode(said[4]))) - 1) < 1e-5


def test_a_folder_without_such_a_model_is_none(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text('{"model_type": "gpt2"}')
    with pytest.raises(ValueError, match="no BERT"):
        QueryEncoder(tmp_path)
    assert query_encoder(str(tmp_path)) is None


def test_days_that_change_leave_nothing_behind(tmp_path: Path) -> None:
    vectors = vectors_of(30)
    days = {DAY: [1, 2, 3], DAY + timedelta(days=1): [3, 4]}
    held = built(days, vectors)
    path = tmp_path / "meaning.npz"
    meaning.save(path, held)
    index = MeaningIndex(meaning.load(path), DIMENSION)
    assert nearest(index, vectors[2])[0] == 2
    assert len(index) == 4
    again = built({DAY: [5, 3]}, vectors, meaning.load(path))
    assert nearest(MeaningIndex(again, DIMENSION), vectors[2], most=4).count(2) == 0
    assert sorted(nearest(MeaningIndex(again, DIMENSION), vectors[2])) == [3, 4, 5]
    only = Filter(first=DAY + timedelta(days=1))
    assert sorted(nearest(MeaningIndex(again, DIMENSION), vectors[2], only)) == [3, 4]
    nothing = built({DAY: [], DAY + timedelta(days=1): []}, vectors, again)
    assert nearest(MeaningIndex(nothing, DIMENSION), vectors[2]) == []


def test_the_way_to_a_state_leaves_no_trace_in_it() -> None:
    vectors = vectors_of(40)
    days = {DAY + timedelta(days=number): list(range(number, number + 9)) for number in range(20)}
    at_once = built(days, vectors)
    held = built({DAY: [30, 31], DAY + timedelta(days=3): [0]}, vectors)
    for day in sorted(days, reverse=True):
        held = built({day: days[day]}, vectors, held)
    for one, other in (
        (at_once.hashes, held.hashes),
        (at_once.codes, held.codes),
        *zip(at_once.rows, held.rows, strict=True),
    ):
        assert np.array_equal(one, other)


def test_a_large_history_is_compressed_and_its_nearest_are_among_the_candidates(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    count, asked = 12_000, 50
    vectors = vectors_of(count)
    monkeypatch.setattr(meaning, "COMPRESSED_FROM", 10_000)
    assert meaning.needs_training(meaning.empty(), count)
    quantiser = Quantiser(DIMENSION)
    quantiser.train(vectors[:6_000])
    builder = Builder(meaning.empty(), quantiser, count)
    texts = [text_of(number) for number in range(count)]
    builder.add(DAY, texts, {said.text_hash: vectors[number] for number, said in enumerate(texts)})
    held = builder.finish()
    assert held.codes.shape == (count, 96)
    assert not meaning.needs_training(held, count)
    assert meaning.needs_training(held, 4 * count)
    index = MeaningIndex(held, DIMENSION)
    queries = vectors_of(asked, seed=2)
    met = 0
    for query in queries:
        best = set(np.argsort(-(vectors @ query), kind="stable")[:10].tolist())
        met += len(best & set(nearest(index, query, most=400)))
    assert met / (10 * asked) >= 0.99
    assert set(nearest(index, queries[0], Filter(speaker="Nobody"))) == set()
    filtered = nearest(index, queries[0], Filter(speaker="Ann"), most=400)
    assert len(set(filtered) & set(nearest(index, queries[0], most=400))) > 380
