"""A client's day clusters the same for any order of its lines, and keeps to what the settings allow."""

from __future__ import annotations

import random
from datetime import UTC, datetime, timedelta

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from crew_pipeline.dedup import frames
from crew_pipeline.dedup.config import EngineConfig
from crew_pipeline.dedup.engine import Clusters, cluster_lines, distinct_texts

DAY = "2025-01-15"
START = datetime(2025, 1, 15, 9, tzinfo=UTC)
CONFIG = EngineConfig()


def said(*texts: str, client: str = "acme") -> pd.DataFrame:
    return frames.frame(
        [
            (client, f"c{number % 3}", number, f"speaker {number % 2}", START + timedelta(seconds=number), text)
            for number, text in enumerate(texts)
        ],
        frames.LINES,
    )


def vectors_for(lines: pd.DataFrame, config: EngineConfig = CONFIG) -> dict[bytes, np.ndarray]:
    """Vectors by the first word: texts that begin alike are nearly equal, others are not."""
    made = {}
    for key, text in distinct_texts(lines, config).items():
        base = np.random.default_rng(sum(text.split()[0].encode())).normal(size=24)
        own = np.random.default_rng(int.from_bytes(key[:4], "big")).normal(size=24)
        vector = base / np.linalg.norm(base) + 0.25 * own / np.linalg.norm(own)
        made[key] = (vector / np.linalg.norm(vector)).astype(np.float32)
    return made


def cluster(lines: pd.DataFrame, config: EngineConfig = CONFIG) -> Clusters:
    return cluster_lines("acme", DAY, lines, vectors_for(lines, config), config)


def hidden(result: Clusters) -> set[int]:
    return {row.position for row in frames.rows(result.members) if not row.is_canonical}


phrases = st.lists(
    st.sampled_from(
        [f"{head} {middle} {tail}" for head in ("alpha", "beta") for middle in ("one two", "to do") for tail in "xyz"]
        + ["ok", "alpha beta", "gamma 10.04 is out", "gamma 10.10 is out"]
    ),
    max_size=20,
)


@settings(max_examples=40, deadline=None)
@given(phrases, st.randoms(use_true_random=False))
def test_shuffled_lines_give_the_same_clusters(texts: list[str], order: random.Random) -> None:
    lines = said(*texts)
    shuffled = lines.sample(frac=1, random_state=order.randint(0, 2**31)).reset_index(drop=True)
    pd.testing.assert_frame_equal(cluster(lines).members, cluster(shuffled).members)


@settings(max_examples=40, deadline=None)
@given(phrases)
def test_every_cluster_has_one_canonical_line_and_evidence_for_the_others(texts: list[str]) -> None:
    members = cluster(said(*texts)).members
    assert not members.duplicated(["conversation_id", "position"]).any()
    for _, rows in members.groupby("cluster_id"):
        assert len(rows) >= 2
        assert rows["is_canonical"].sum() == 1
        for row in frames.rows(rows[~rows["is_canonical"].astype(bool)]):
            assert 0.85 <= row.similarity <= 1
            assert 0 < row.score <= 1
            assert row.reason


def test_short_lines_stay_visible_even_when_they_repeat() -> None:
    assert hidden(cluster(said("ok then", "ok then", "ok then"))) == set()


def test_exact_repeats_are_folded_whatever_their_case_and_length() -> None:
    long = "word " * 150
    result = cluster(said("The build is GREEN", "the build  is green", long, long))
    assert hidden(result) == {1, 3}
    assert set(result.members["similarity"]) == {1.0}


def test_lines_beyond_the_word_limit_are_not_compared_by_meaning() -> None:
    long = "alpha " + "word " * 150
    assert hidden(cluster(said(long, long + "more"))) == set()
    assert not distinct_texts(said(long), CONFIG)


def test_smaller_clusters_than_asked_for_are_not_folded() -> None:
    lines = said("alpha one two", "alpha one two", "beta to do", "beta to do", "beta to do")
    assert hidden(cluster(lines, EngineConfig(min_cluster_size=3))) == {3, 4}


def test_lines_of_another_client_are_refused() -> None:
    with pytest.raises(ValueError, match="other clients"):
        cluster_lines("acme", DAY, said("alpha one two", client="rival"), {}, CONFIG)


def test_a_day_without_lines_has_no_clusters() -> None:
    result = cluster(said())
    assert result.members.empty
    assert result.compared == 0


def test_the_fingerprint_covers_every_option_and_the_model() -> None:
    prints = {
        CONFIG.fingerprint("m"),
        CONFIG.fingerprint("n"),
        EngineConfig(similarity_threshold=0.9).fingerprint("m"),
        EngineConfig(min_words=4).fingerprint("m"),
        EngineConfig(max_words=4).fingerprint("m"),
        EngineConfig(min_cluster_size=3).fingerprint("m"),
    }
    assert len(prints) == 6
