"""The coverage pairs: two lines of a day, and which of them says all that the other says.

From the shared data folder (``coverage_pairs``, eight kinds of talk) and from ``coverage/*.jsonl`` here, invented pairs
of kinds that those lack: other languages, code, assistants' near-identical sentences, formulas, talk of many places.
Each was read without seeing what a machine said of it, the shared ones by one reader or two, ours by two.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import orjson

from crew_pipeline.dedup.speech import speaker_names, without_addressees
from crew_pipeline.dedup.text import normalise
from training import corpora

WRITTEN = Path(__file__).parent / "coverage"
UNLICENSED = "developers"
"""The kind whose texts have no licence: measured with, never fitted to."""


@dataclass(frozen=True)
class Side:
    """One of the two lines: its core, who says it where."""

    core: str
    speaker: str
    conversation: str


@dataclass(frozen=True)
class CoveragePair:
    """A pair of lines and the mean of its readings.

    Attributes:
        kind: of talk.
        day: pairs of one day are never parted in cross-validation.
        left_covers, right_covers: 0 to 1, the share of readings by which all of the other line is said by this one too;
            NaN where that was not read.
        own: 0 to 1, the share by which they are two people's own matter in like words; None where nothing is covered.
        formula: 0 to 1, the share by which they are nothing but courtesy or routine; None where nothing is covered.
        agreed: whether two readings agree on both directions; only such pairs are measured with.
        weight: how many candidates of its kind it stands for.
        source: ``label``, or a ``fold`` or ``decoy`` of a sheet of folds.
    """

    kind: str
    day: str
    left: Side
    right: Side
    left_covers: float
    right_covers: float
    own: float | None
    formula: float | None
    agreed: bool
    weight: float
    source: Literal["label", "fold", "decoy"] = "label"


def load() -> list[CoveragePair]:
    """All pairs that a reading could tell, kind by kind in a fixed order.

    The shared ones are left out where the data folder is absent.
    """
    shared = corpora.SHARED / "coverage_pairs"
    paths = [*sorted(shared.glob("*.jsonl")), *sorted(WRITTEN.glob("*.jsonl"))]
    return [pair for path in paths for pair in _pairs(path.stem, [orjson.loads(raw) for raw in path.open("rb")])]


def _pairs(kind: str, records: Sequence[Mapping[str, Any]]) -> Iterator[CoveragePair]:
    names = _names(kind, records)
    for record in records:
        told = [reading for reading in record["readings"] if reading["relation"] != "?"]
        if told:
            yield _pair(kind, record, told, names[record["day"]])


def _names(kind: str, records: Sequence[Mapping[str, Any]]) -> Mapping[str, frozenset[str]]:
    """By whose names each day's lines may be addressed: all who speak that day, as far as they are known."""
    if kind in corpora.FILES:
        return corpora.names_of_days(kind)
    speakers: dict[str, set[str]] = defaultdict(set)
    for record in records:
        speakers[record["day"]].update(record[side]["speaker"] for side in ("a", "b"))
    return {day: speaker_names(of_day) for day, of_day in speakers.items()}


def _pair(
    kind: str, record: Mapping[str, Any], told: Sequence[Mapping[str, str]], names: frozenset[str]
) -> CoveragePair:
    relations = [reading["relation"] for reading in told]
    kinds = [reading["kind"] for reading in told if reading["relation"] != "x"]
    left, right = (
        Side(
            without_addressees(normalise(record[side]["text"]), names),
            normalise(record[side]["speaker"]),
            record[side]["conversation"],
        )
        for side in ("a", "b")
    )
    return CoveragePair(
        kind,
        record["day"],
        left,
        right,
        float(np.mean([relation in "=>" for relation in relations])),
        float(np.mean([relation in "=<" for relation in relations])),
        float(np.mean([said == "o" for said in kinds])) if kinds else None,
        float(np.mean([said == "f" for said in kinds])) if kinds else None,
        len(told) == 2 and len(set(relations)) == 1,
        float(record["weight"]),
    )
