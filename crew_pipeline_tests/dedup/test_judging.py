"""Similar lines are not folded where something of substance differs."""

from __future__ import annotations

import numpy as np
import pytest

from crew_pipeline.dedup.judging import OBSTACLES, Judgement, Traits, judge


def judged(left: str, right: str, similarity: float = 0.95) -> Judgement:
    return judge(Traits.of([left, right]), np.array([0]), np.array([1]), np.array([similarity]), 0.85)


@pytest.mark.parametrize(
    ("left", "right", "obstacle"),
    [
        ("install version 10.04 now", "install version 10.10 now", "number"),
        ("two customers cannot log in", "four customers cannot log in", "number"),
        ("the release is blocked", "the release is not blocked", "denies"),
        ("please enable notifications", "please disable notifications", "opposites"),
        ("the export is what blocks it", "is the export what blocks it?", "asks"),
    ],
)
def test_contradictions_are_never_accepted(left: str, right: str, obstacle: str) -> None:
    for one, other in ((left, right), (right, left)):
        result = judged(one, other, similarity=0.99)
        assert not result.accepted[0]
        assert result.score[0] == 0
        assert obstacle in OBSTACLES[result.obstacle[0]]


def test_the_same_in_other_words_is_accepted_from_the_threshold_on() -> None:
    assert judged("the export times out", "the export is timing out", 0.85).accepted[0]
    assert not judged("the export times out", "the export is timing out", 0.8499).accepted[0]


def test_two_denials_of_the_same_agree() -> None:
    assert judged("it does not work", "it doesn't work").accepted[0]
