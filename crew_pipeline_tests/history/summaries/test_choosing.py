"""What is chosen covers what was said, once, and is the same in any order and on any processor."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from crew_pipeline.dedup.text import count_words, normalise, text_hash
from crew_pipeline.history.search.query_encoder import query_encoder
from crew_pipeline.history.summaries import coverage
from crew_pipeline.history.summaries.classifier import classifier
from crew_pipeline.history.summaries.cues import Said, last_words, quality, unanswered
from crew_pipeline.history.summaries.points import points_of, without_routine
from crew_pipeline.history.summaries.sentences import Sentence, sentences_of
from crew_pipeline.history.themes.grid import on_grid
from crew_pipeline.model import EngineOptions
from crew_pipeline.storage.history.points import PointRow
from crew_pipeline_tests.history.themes.talk import vector_of

OPTIONS = EngineOptions()


def sentence(text: str, speaker: str = "Ann", position: int = 0) -> Sentence:
    moment = datetime(2025, 1, 15, 9, tzinfo=UTC)
    return Sentence(position, 0, len(text), speaker, moment, text, count_words(text), 1, text_hash(normalise(text)))


def entry(*said: tuple[str, str], **of_first: Any) -> dict[str, Any]:
    lines = [
        {
            "line_id": f"conversation-{position}", "speaker": speaker, "spoken_at": f"2025-01-15T09:{position:02}:00Z",
            "text": text, "hidden_variations": [],
        }
        for position, (speaker, text) in enumerate(said)
    ]  # fmt: skip
    lines[0] |= of_first
    return {"id": "conversation", "display_conversation": lines}


def vectors(conversation: dict[str, Any]) -> dict[bytes, Any]:
    texts = {normalise(line["text"]) for line in conversation["display_conversation"]}
    return {text_hash(text): vector_of(text) for text in texts}


@given(st.integers(0, 2**32 - 1), st.integers(1, 30), st.integers(1, 8))
def test_what_is_chosen_repeats_nothing_and_each_adds_something(seed: int, count: int, most: int) -> None:
    chance = np.random.default_rng(seed)
    grid = on_grid(chance.normal(size=(count, 16)))
    grid[count // 2 :] = grid[: count - count // 2]
    likeness, weights = coverage.alike(grid), chance.integers(1, 40, count)
    chosen = coverage.choose(likeness, weights, chance.integers(0, 101, count), most)
    assert len(chosen) == len({*chosen}) <= most
    assert all(likeness[a, b] < coverage.REPEATS_AT for a in chosen for b in chosen if a != b)


def test_one_who_stands_for_most_comes_first() -> None:
    grid = on_grid(np.array([[1.0, 0.1, 0], [1, 0, 0.1], [0.9, 0.1, 0.1], [0, 0, 1]]))
    weights = np.array([10, 10, 10, 10])
    assert coverage.choose(coverage.alike(grid), weights, np.full(4, 100), 2)[1] == 3


def test_long_lines_are_parted_and_what_is_folded_in_them_is_left_out() -> None:
    first = "The pump in the cellar has to be replaced before the winter comes. "
    second = "Somebody should ask the plumber for an offer. "
    text = (first + second) * 2
    repeats = [{"start": len(first + second), "end": len(text)}]
    found = sentences_of(entry(("Ann", text), repeats=repeats), EngineOptions(max_words=12))
    assert [one.text for one in found] == [first.strip(), second.strip()]
    assert all(text[one.start : one.end] == one.text for one in found)
    whole = sentences_of(entry(("Ann", text + "x" * 100)), EngineOptions(max_words=500))
    assert len({one.text_hash for one in whole}) == 1, "parts of a line that is embedded whole go by its vector"


def test_decisions_and_tasks_are_told_from_the_rest() -> None:
    said = [
        ("Ann", "So we have decided to go for the rubber case and no LCD screen."),
        ("Ben", "I'll send you the drawings of the case by Friday."),
        ("Ann", "My favourite colour was always blue when I was a child."),
        ("Ben", "The weather has been nice for weeks."),
    ]
    sentences = [sentence(text, speaker, place) for place, (speaker, text) in enumerate(said)]
    encoder = query_encoder()
    assert encoder is not None
    vectors = on_grid(np.stack([encoder.encode(normalise(text)) for _, text in said]))
    found = classifier().classify(sentences, vectors)
    assert [one and one.kind for one in found] == ["decision", "task", None, None]
    assert all(0 < one.certainty < 1 for one in found if one)


def test_what_many_conversations_of_a_day_have_is_routine() -> None:
    def task(conversation: int, text: str) -> PointRow:
        return PointRow(str(conversation), 0, 0, len(text), "task", 1, 0.9, 1, on_grid(vector_of(text)[np.newaxis])[0])

    formulas = [task(number, "the kitten will be ready at the bar in a moment") for number in range(4)]
    own = task(5, "the invoice goes to the bank by Friday")
    assert without_routine([*formulas, own]) == [own]
    assert without_routine([*formulas[:3], own]) == [*formulas[:3], own]
    assert without_routine([formulas[0]] * 9) == [formulas[0]] * 9, "of one conversation"
    assert without_routine([]) == []


@pytest.mark.parametrize(
    ("later", "is_open"),
    [
        ([("Ann", "anyone?"), ("Ben", "hm")], True),
        ([("Ben", "the one from the vendor's page")], False),
        ([("Ben", "Yes.")], False),
        ([], True),
    ],
)
def test_a_question_is_open_where_nobody_else_answers(later: list[tuple[str, str]], is_open: bool) -> None:
    asked = sentence("Does anybody know which driver the printer on the second floor needs?", "Ann", 1)
    before = Said(0, "Ben", "the printer is new")
    said = [before, *(Said(place, speaker, words) for place, (speaker, words) in enumerate(later, 2))]
    assert unanswered(asked, last_words(said)) is is_open
    assert not unanswered(sentence("It needs the driver of the vendor."), {})
    assert not unanswered(sentence("really?"), {})


def test_an_answer_that_is_folded_is_an_answer() -> None:
    conversation = entry(("Ann", "Does anybody know which driver the printer on the second floor needs?"))
    kinds = [point.kind for point in points_of(conversation, OPTIONS, vectors(conversation))]
    assert kinds == ["question"]
    folded = [Said(1, "Ben", "the one of the vendor")]
    assert "question" not in [point.kind for point in points_of(conversation, OPTIONS, vectors(conversation), folded)]


@pytest.mark.parametrize(
    "text",
    ["", "ok", "def f(x): return {x: [y for y in x]};", "## The heading of a section", "a " * 500, "no no no no no no"],
)
def test_what_says_nothing_by_itself_is_no_key_point(text: str) -> None:
    assert quality(sentence(text)) == 0


def test_points_stand_where_they_say_and_do_not_depend_on_the_rest_of_the_day() -> None:
    said = [
        ("Ann", f"the {subject} and what comes of it number {number} is still to be looked at by us")
        for number in range(12)
        for subject in ("cellar", "kitten", "invoice")
    ]
    conversation = entry(*said)
    known = vectors(conversation)
    points = points_of(conversation, OPTIONS, known)
    assert points
    for point in points:
        line = conversation["display_conversation"][point.position]
        assert line["text"][point.start : point.end].strip()
    extra = {text_hash(b"something".hex()): vector_of("something")}
    again = points_of(conversation, OPTIONS, dict(reversed({**known, **extra}.items())))
    assert repr(again) == repr(points)
    assert points_of(conversation, OPTIONS, {}) == [] or all(
        one.kind != "key" for one in points_of(conversation, OPTIONS, {})
    )
    assert points_of({"id": "conversation", "display_conversation": []}, OPTIONS, {}) == []
