"""The labelled-pair format: JSON lines of two lines of talk and whether one may be hidden under the other.

``{"corpus", "day", "a": {"speaker", "text"}, "b": {"speaker", "text"}, "duplicate": bool, "weight": float}``; speakers,
``corpus``, ``day`` and ``weight`` may be missing. ``"passage": true``: the texts are parts of longer lines.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import orjson

from crew_pipeline.dedup.evaluation import LabelledPair


class LabelledPairsError(ValueError):
    """A file does not hold labelled pairs; the message says where and what was expected."""


def written(pairs: Iterable[Mapping[str, Any]]) -> bytes:
    """Pairs as the lines of a file."""
    return b"".join(orjson.dumps(pair, option=orjson.OPT_APPEND_NEWLINE) for pair in pairs)


def read_pairs(path: Path) -> list[LabelledPair]:
    """The pairs of a file.

    Raises:
        LabelledPairsError: the file cannot be read, holds no pair, or a line is not of this shape.
    """
    try:
        lines = path.read_bytes().splitlines()
    except OSError as error:
        raise LabelledPairsError(f"{path} cannot be read ({error.strerror}); check the path.") from None
    pairs = [_pair(path, number, line) for number, line in enumerate(lines, 1) if line.strip()]
    if not pairs:
        raise LabelledPairsError(f"{path} holds no pairs; give one JSON object a line.")
    return pairs


def _pair(path: Path, number: int, line: bytes) -> LabelledPair:
    try:
        record = orjson.loads(line)
        left, right, duplicate = record["a"]["text"], record["b"]["text"], record["duplicate"]
        weight = float(record.get("weight", 1.0))
        left_speaker, right_speaker = (str(record[side].get("speaker", "")) for side in ("a", "b"))
        day = f"{record.get('corpus', '')} {record.get('day', '')}"
        is_passage = record.get("passage", False)
        shapes = ((left, str), (right, str), (duplicate, bool), (is_passage, bool))
        if weight < 0 or not all(isinstance(value, shape) for value, shape in shapes):
            raise TypeError
    except (orjson.JSONDecodeError, KeyError, TypeError, ValueError, AttributeError):
        raise LabelledPairsError(
            f'{path}, line {number}: expected {{"a": {{"text"}}, "b": {{"text"}}, "duplicate": true or false, '
            '"weight": number}.'
        ) from None
    return LabelledPair(left, right, duplicate, weight, left_speaker, right_speaker, day, is_passage)
