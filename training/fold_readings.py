"""Folds of whole days that were read blind (``training.read_folds``), as coverage pairs: what the judge is sure of and
gets wrong.

Kept in ``folds/*.jsonl`` by reference to their lines, for no text of a corpus is in the repository. Their days hold no
coverage pair, and nothing else was fitted to them.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import orjson

from crew_pipeline.dedup.speech import speaker_names, without_addressees
from crew_pipeline.dedup.text import normalise
from training import corpora
from training.coverage import CoveragePair, Side

FOLDER = Path(__file__).parent / "folds"


def days_read(talk: str) -> set[str]:
    """The days of a kind of talk whose folds were read."""
    return {record["day"] for record in _records() if record["talk"] == talk}


def load() -> list[CoveragePair]:
    """All folds and decoys that were read, kind by kind: the left line is the visible one, whether it is covered itself
    was not read. None where the data folder is absent."""
    if not corpora.SHARED.exists():
        return []
    by_talk: dict[str, list[Mapping[str, Any]]] = defaultdict(list)
    for record in _records():
        by_talk[record["talk"]].append(record)
    return [pair for talk in sorted(by_talk) for pair in _of_talk(talk, by_talk[talk])]


def _records() -> list[dict[str, Any]]:
    return [orjson.loads(raw) for path in sorted(FOLDER.glob("*.jsonl")) for raw in path.open("rb")]


def _of_talk(talk: str, records: list[Mapping[str, Any]]) -> Iterator[CoveragePair]:
    days = corpora.days_of(talk)
    lines = {day: {(row[1], row[2]): row for row in days[day]} for day in {record["day"] for record in records}}
    names = {day: speaker_names({row[3] for row in days[day]}) for day in lines}
    for record in records:
        visible, hidden = (
            Side(
                without_addressees(normalise(row[5]), names[record["day"]]),
                normalise(row[3]),
                row[1],
            )
            for row in (lines[record["day"]][tuple(record[side])] for side in ("visible", "hidden"))
        )
        right = record["right"]
        yield CoveragePair(
            kind=talk,
            day=record["day"],
            left=visible,
            right=hidden,
            left_covers=sum(right) / len(right),
            right_covers=math.nan,
            own=None,
            formula=None,
            agreed=len(set(right)) == 1 and len(right) > 1,
            weight=1.0,
            source="decoy" if record["decoy"] else "fold",
        )
