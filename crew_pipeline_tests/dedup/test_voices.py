"""Only one voice's lines fold by judgement: what two people say in like words is each one's own."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

import numpy as np
import pytest

from crew_pipeline.dedup import frames
from crew_pipeline.dedup.comparing import compare_lines
from crew_pipeline.dedup.config import EngineConfig
from crew_pipeline.dedup.cores import distinct_texts
from crew_pipeline.dedup.folding import fold_lines
from crew_pipeline.dedup.text_vectors import text_vectors
from crew_pipeline.dedup.voices import voice

ASKED, ASKED_AGAIN = "the invoice export times out again", "um the invoice export, it times out again!"
START = datetime(2025, 1, 15, 9, tzinfo=UTC)


class Agreeing:
    """A pair scorer that takes everything for the same."""

    fitted = True

    def logits(self, pairs: Sequence[tuple[str, str]]) -> np.ndarray:
        return np.tile([8.0, 8.0, 0.0, 0.0], (len(pairs), 1))


def hidden(*said: tuple[str, str, str]) -> int:
    """How many lines of a day of (conversation, speaker, text) are hidden."""
    rows = [
        ("acme", conversation, number, speaker, START + timedelta(minutes=number), text)
        for number, (conversation, speaker, text) in enumerate(said)
    ]
    lines, config = frames.frame(rows, frames.LINES), EngineConfig()
    texts = distinct_texts(lines, config)
    vectors = dict(zip(texts, text_vectors(list(texts.values())), strict=True))
    comparison = compare_lines(lines, vectors, config, Agreeing())
    clusters = fold_lines("acme", "2025-01-15", lines, comparison, config)
    return sum(not row[4] for row in clusters.rows)


def test_one_person_says_it_again() -> None:
    assert hidden(("c1", "Ann", ASKED), ("c1", "ann", ASKED_AGAIN)) == 1
    assert hidden(("c1", "Ann", ASKED), ("c2", "Ann", ASKED_AGAIN)) == 1


def test_two_people_have_each_their_own_trouble() -> None:
    assert hidden(("c1", "Ann", ASKED), ("c1", "Ben", ASKED_AGAIN)) == 0
    assert hidden(("c1", "Ann", ASKED), ("c2", "Ben", ASKED_AGAIN)) == 0


def test_a_part_that_many_people_take_is_another_voice_in_each_conversation() -> None:
    assert hidden(("c1", "customer", ASKED), ("c2", "customer", ASKED_AGAIN)) == 0
    assert hidden(("c1", "customer", ASKED), ("c1", "customer", ASKED_AGAIN)) == 1
    assert hidden(("c1", "agent", ASKED), ("c2", "agent", ASKED_AGAIN)) == 1


def test_word_for_word_repeats_fold_whoever_says_them() -> None:
    assert hidden(("c1", "Ann", ASKED), ("c2", "Ben", ASKED)) == 1


def test_what_two_voices_said_word_for_word_goes_under_neither_of_them() -> None:
    assert hidden(("c1", "Ann", ASKED), ("c2", "Ben", ASKED), ("c3", "Ann", f"{ASKED_AGAIN} on monday")) == 1


@pytest.mark.parametrize("name", ["user", "Customer 12", "SPEAKER_00", "speaker b", "Guest", "unknown"])
def test_names_of_parts(name: str) -> None:
    assert voice(name, "c1") != voice(name, "c2")


@pytest.mark.parametrize("name", ["Ann", "agent", "Userland", "barista", "speaker of the house", "members", "王小明"])
def test_names_of_voices(name: str) -> None:
    assert voice(name, "c1") == voice(name, "c2")
