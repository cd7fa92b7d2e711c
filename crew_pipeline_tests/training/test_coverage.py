"""Coverage pairs are the mean of their readings, and are measured as a day would fold them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import orjson
import pytest

from crew_pipeline.dedup import judging
from crew_pipeline.dedup.comparing import Comparison
from crew_pipeline.dedup.config import EngineConfig
from crew_pipeline.dedup.text import text_hash
from training import as_folded, corpora, coverage
from training.coverage import CoveragePair, Side


def test_a_pair_is_the_mean_of_its_readings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sides = [{"conversation": "c", "line": n, "speaker": name, "text": f"ben: line {n}", "before": ""}
             for n, name in ((1, "ann"), (2, "ben"))]  # fmt: skip
    record = {
        "corpus": "harbour", "day": "2025-01-15", "a": sides[0], "b": sides[1], "weight": 3.0,
        "readings": [{"relation": ">", "kind": "r"}, {"relation": "=", "kind": "o"}, {"relation": "?"}],
    }  # fmt: skip
    (tmp_path / "harbour.jsonl").write_bytes(orjson.dumps(record))
    monkeypatch.setattr(coverage, "WRITTEN", tmp_path)
    monkeypatch.setattr(corpora, "SHARED", tmp_path / "absent")
    (pair,) = coverage.load()
    assert (pair.left_covers, pair.right_covers, pair.own, pair.formula) == (1.0, 0.5, 0.5, 0.0)
    assert (pair.agreed, pair.weight) == (False, 3.0)
    assert pair.left.core == "line 1"


def test_the_written_pairs_were_read_twice_and_mostly_agreed_on() -> None:
    pairs = [pair for pair in coverage.load() if pair.kind not in corpora.FILES]
    assert {"german", "spanish", "french", "code", "assistants", "formulas"} <= {pair.kind for pair in pairs}
    assert sum(pair.agreed for pair in pairs) > 0.95 * len(pairs) > 1000


def folded(pair: CoveragePair) -> as_folded.Outcome:
    """What becomes of a pair that the judge is sure of."""
    first, second = sorted((pair.left.core, pair.right.core), key=text_hash)
    zero, one, sure = np.array([0]), np.array([1]), np.array([1.0])
    pairs = judging.Pairs(zero, one, sure, sure, sure, [""])
    comparison = Comparison([text_hash(first), text_hash(second)], pairs, 1, 1, basis="reading")
    return as_folded.outcome(pair, comparison, EngineConfig())


def pair_of(left_covers: float, right_covers: float, own: float = 0.0, speakers: str = "aa") -> CoveragePair:
    left, right = ("the lift is broken once more", "the lift is broken once more since noon")
    sides = [Side(text, speaker, "c1") for text, speaker in zip((left, right), speakers, strict=True)]
    return CoveragePair("harbour", "d", *sides, left_covers, right_covers, own, 0.0, True, 2.0)


@pytest.mark.parametrize(
    ("pair", "hidden", "right", "possible"),
    [
        (pair_of(0, 1), True, True, True),  # the longer line stays visible, and covers
        (pair_of(1, 0), True, False, True),  # it stays visible, and does not
        (pair_of(0, 0), True, False, False),
        (pair_of(1, 1, own=1.0), True, False, False),
        (pair_of(1, 1, speakers="ab"), False, False, True),
    ],
)
def test_a_fold_is_right_where_the_visible_line_covers_the_hidden_one(
    pair: CoveragePair, hidden: bool, right: bool, possible: bool
) -> None:
    outcome = folded(pair)
    assert (outcome.hidden, outcome.right, outcome.possible) == (hidden, right, possible)


def test_a_pair_counts_as_often_as_it_stands_for() -> None:
    outcomes = [folded(pair) for pair in (pair_of(0, 1), pair_of(0, 0), pair_of(1, 1, speakers="ab"))]
    assert as_folded.measured(outcomes).startswith("P 0.50  R 0.50      2 (0)")
