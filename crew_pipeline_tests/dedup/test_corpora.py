"""What parts messages by the code in them takes nothing from talk: over every shared corpus, where it is there."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import islice
from pathlib import Path

import pytest

from benchmarks.passages import days_of
from crew_pipeline.dedup import folding, frames
from crew_pipeline.dedup.comparing import exact_repeats
from crew_pipeline.dedup.config import EngineConfig
from crew_pipeline.model import Line
from crew_pipeline_tests.conftest import SHARED

MOST_DAYS = 60
CORPORA = sorted(path for path in SHARED.glob("*.jsonl.gz") if path.name != "agent_crews.jsonl.gz")


@pytest.mark.corpus
@pytest.mark.parametrize("path", CORPORA or [None], ids=lambda path: path.name if path else "none")
def test_every_line_that_repeats_word_for_word_folds_whatever_is_known_of_code(
    path: Path | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    if path is None:
        pytest.skip("the shared corpora are not here")
    days = list(islice(days_of(path).values(), MOST_DAYS))
    folded = [hidden(lines) for lines in days]
    monkeypatch.setattr(folding, "code_in", lambda text: "")
    assert [hidden(lines) for lines in days] == folded
    assert any(folded)


def hidden(lines: Sequence[Line]) -> set[tuple[str, int]]:
    columns = frames.columns((("acme", *line) for line in lines), frames.LINES)
    clusters = folding.fold_lines("acme", "2025-01-15", columns, exact_repeats(), EngineConfig())
    return {(row[2], row[3]) for row in clusters.rows if not row[4]}
