"""A client's day clusters the same for any order of its lines, and keeps to what the settings allow."""

from __future__ import annotations

import itertools
import random
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from crew_pipeline.dedup import frames
from crew_pipeline.dedup.comparing import Comparison, compare_lines, exact_repeats
from crew_pipeline.dedup.config import EngineConfig
from crew_pipeline.dedup.cores import cores, distinct_texts
from crew_pipeline.dedup.feedback import Feedback
from crew_pipeline.dedup.folding import BY_A_READER, Clusters, cluster_lines, fold_lines
from crew_pipeline.dedup.judging import EXACT, TO_OTHERS
from crew_pipeline.dedup.text import text_hash
from crew_pipeline.dedup.text_vectors import text_vectors

DAY = "2025-01-15"
START = datetime(2025, 1, 15, 9, tzinfo=UTC)
CONFIG = EngineConfig()


SPEAKERS = ("ann", "ben")


def said(*texts: str, client: str = "acme") -> pd.DataFrame:
    return frames.frame(
        [
            (client, f"c{number % 3}", number, SPEAKERS[number % 2], START + timedelta(seconds=number), text)
            for number, text in enumerate(texts)
        ],
        frames.LINES,
    )


def vectors_for(lines: pd.DataFrame, config: EngineConfig = CONFIG) -> dict[bytes, np.ndarray]:
    texts = distinct_texts(lines, config)
    return dict(zip(texts, text_vectors(list(texts.values())), strict=True))


class EveryOther:
    """A reader whose verdict follows from the words: it agrees where both texts are of even or both of odd length."""

    fitted = True

    def __init__(self) -> None:
        self.read = 0

    def logits(self, pairs: Sequence[tuple[str, str]]) -> np.ndarray:
        self.read += len(pairs)
        agrees = [6.0 if (len(one) + len(other)) % 2 == 0 else -6.0 for one, other in pairs]
        return np.column_stack([agrees, agrees, np.zeros(len(pairs)), np.zeros(len(pairs))])


def cluster(lines: pd.DataFrame, config: EngineConfig = CONFIG) -> Clusters:
    return cluster_lines("acme", DAY, lines, vectors_for(lines, config), config, EveryOther())


def hidden(result: Clusters) -> set[int]:
    return {row.position for row in frames.rows(result.members) if not row.is_canonical}


SAID = [
    "the invoice export times out again",
    "ben: the invoice export times out again",
    "um, the invoice export, it times out again",
    "the invoice export is timing out again",
    "does the invoice export time out again?",
    "the invoice export doesn't time out again",
    "the import of invoices works now",
    "version 10.04 of the export is out",
    "version 10.10 of the export is out",
    "i will try that now",
    "ok i will try that",
    "yeah i'll try it",
    "can anyone help me with the printer",
    "please can somebody help me with the printer",
    "ok",
    "alpha beta",
]
phrases = st.lists(st.sampled_from(SAID), max_size=16)


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
            assert 0 <= row.similarity <= 1
            assert 0 < row.probability <= 1
            assert row.reason


def test_short_lines_stay_visible_even_when_they_repeat() -> None:
    assert hidden(cluster(said("ok then", "ok then", "ok then"))) == set()


def test_exact_repeats_are_folded_whatever_their_case_and_length() -> None:
    long = " ".join(f"word{number}" for number in range(150))
    result = cluster(said("The build server is GREEN", "the build  server is green", long, long))
    assert hidden(result) == {1, 3}
    assert set(result.members["similarity"]) == {1.0}


def test_lines_beyond_the_word_limit_are_not_compared_by_meaning() -> None:
    long = "alpha " + " ".join(f"word{number}" for number in range(150))
    assert hidden(cluster(said(long, long + " more"))) == set()
    assert not distinct_texts(said(long), CONFIG)


def test_smaller_clusters_than_asked_for_are_not_folded() -> None:
    one, other = "the office printer is on fire", "nobody answers the phone today"
    lines = said(one, one, other, other, other)
    assert hidden(cluster(lines, EngineConfig(min_cluster_size=3))) == {3, 4}


def test_lines_of_another_client_are_refused() -> None:
    with pytest.raises(ValueError, match="other clients"):
        cluster_lines("acme", DAY, said("alpha one two", client="rival"), {}, CONFIG)


def test_a_day_without_lines_has_no_clusters() -> None:
    result = cluster(said())
    assert result.members.empty
    assert result.compared == 0


def test_the_fingerprint_covers_every_option() -> None:
    prints = {
        CONFIG.fingerprint,
        EngineConfig(folding="strict").fingerprint,
        EngineConfig(pair_scorer="off").fingerprint,
        EngineConfig(short_repeats="any").fingerprint,
        EngineConfig(min_words=4).fingerprint,
        EngineConfig(max_words=4).fingerprint,
        EngineConfig(min_cluster_size=3).fingerprint,
    }
    assert len(prints) == 7


@settings(max_examples=60, deadline=None)
@given(phrases, st.lists(st.tuples(st.sampled_from(SAID), st.sampled_from(SAID), st.booleans()), max_size=4))
def test_what_readers_say_holds(texts: list[str], words: list[tuple[str, str, bool]]) -> None:
    lines = said(*texts)
    hash_of = dict(zip(texts, [text_hash(core) for core in cores(lines)], strict=True))
    spoken = [(one, other, same) for one, other, same in words if one in hash_of and other in hash_of and one != other]
    verdicts = {Feedback.key(hash_of[one], hash_of[other]): same for one, other, same in spoken}
    verdicts = {pair: same for pair, same in verdicts.items() if pair[0] != pair[1]}
    feedback = Feedback(
        [pair for pair, same in verdicts.items() if same], [pair for pair, same in verdicts.items() if not same]
    )
    comparison = compare_lines(lines, vectors_for(lines), CONFIG, EveryOther())
    members = fold_lines("acme", DAY, lines, comparison, CONFIG, feedback).members
    cluster_of = {row.position: row.cluster_id for row in frames.rows(members)}
    text_of = {row.position: text_hash(core) for row, core in zip(frames.rows(lines), cores(lines), strict=True)}
    long = {text_hash(core) for core in cores(lines) if len(core.split()) >= 3}
    for (one, other), same in verdicts.items():
        pairs = [(a, b) for a in text_of for b in text_of if (text_of[a], text_of[b]) == (one, other)]
        if not same:
            assert not any(a in cluster_of and cluster_of[a] == cluster_of.get(b) for a, b in pairs)
        elif len(feedback.different) == 0 and {one, other} <= long:
            assert all(cluster_of[a] == cluster_of[b] for a, b in pairs)


def test_a_text_that_is_said_to_be_different_from_itself_stays_visible() -> None:
    lines = said("the printer is on fire", "the printer is on fire")
    key = text_hash("the printer is on fire")
    comparison = compare_lines(lines, vectors_for(lines), CONFIG)
    members = fold_lines("acme", DAY, lines, comparison, CONFIG, Feedback(different=[(key, key)])).members
    assert members.empty


def test_a_readers_word_is_the_evidence_it_leaves() -> None:
    lines = said("the printer is on fire", "nobody answers the phone today")
    pair = Feedback.key(*(text_hash(core) for core in cores(lines)))
    comparison = compare_lines(lines, vectors_for(lines), CONFIG)
    members = fold_lines("acme", DAY, lines, comparison, CONFIG, Feedback(same=[pair])).members
    assert sorted(members["reason"]) == [BY_A_READER, "canonical line"]
    (row,) = (row for row in frames.rows(members) if not row.is_canonical)
    assert row.probability == 1
    assert 0 <= row.similarity < 0.9


def test_the_reason_tells_when_the_same_words_were_said_to_somebody_else() -> None:
    words = "the office printer is on fire once again today"
    lines = said(f"ann: {words}", f"ben: {words}", f"Ann:  {words}")
    members = cluster(lines).members
    reasons = {row.position: row.reason for row in frames.rows(members)}
    assert reasons == {0: "canonical line", 1: TO_OTHERS, 2: EXACT}


def test_a_short_line_is_never_hidden_under_another_speakers() -> None:
    lines = said("i think so too", "i think so too", "i think so too")
    assert hidden(cluster(lines)) == {2}
    assert hidden(cluster(lines, EngineConfig(short_repeats="any"))) == {1, 2}


def test_the_same_words_to_different_people_are_one_text() -> None:
    lines = said("ann: restart the printer service first", "ben: restart the printer service first")
    assert hidden(cluster(lines)) == {1}


@settings(max_examples=40, deadline=None)
@given(phrases)
def test_a_hidden_line_holds_no_number_that_its_canonical_line_lacks(texts: list[str]) -> None:
    members = cluster(said(*texts)).members
    for _, rows in members.groupby("cluster_id"):
        assert len({word for row in frames.rows(rows) for word in texts[row.position].split() if word[:2] == "10"}) <= 1


def test_stricter_points_fold_no_more_and_need_no_new_comparison() -> None:
    lines = said(*SAID)
    comparison = compare_lines(lines, vectors_for(lines), CONFIG, EveryOther())
    folded = [
        len(hidden(fold_lines("acme", DAY, lines, comparison, CONFIG.at(point))))
        for point in ("strict", "balanced", "loose")
    ]
    assert folded == sorted(folded)


@settings(deadline=None, max_examples=30)
@given(st.lists(st.sampled_from(SAID), min_size=1, max_size=12))
def test_what_repeats_word_for_word_stays_together_from_the_first_look_to_the_document(texts: list[str]) -> None:
    lines = said(*texts)

    def clusters(comparison: Comparison) -> dict[int, str]:
        members = fold_lines("acme", DAY, lines, comparison, CONFIG).members
        return {row.position: row.cluster_id for row in frames.rows(members)}

    exact = clusters(exact_repeats())
    later = clusters(compare_lines(lines, vectors_for(lines), CONFIG, EveryOther()))
    for one, other in itertools.combinations(exact, 2):
        if exact[one] == exact[other]:
            assert later[one] == later[other]


def test_the_clearer_version_is_canonical_though_it_came_later() -> None:
    lines = said("um so the the invoice export uh it times out again", "the invoice export times out again")
    comparison = compare_lines(lines, vectors_for(lines), CONFIG)
    pair = Feedback.key(*(text_hash(core) for core in cores(lines)))
    members = fold_lines("acme", DAY, lines, comparison, CONFIG, Feedback(same=[pair])).members
    assert [row.position for row in frames.rows(members) if row.is_canonical] == [1]
