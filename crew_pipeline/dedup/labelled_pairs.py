"""Labelled pairs of lines, as a JSONL file."""

from __future__ import annotations

from pathlib import Path

import orjson

from crew_pipeline.dedup.evaluation import LabelledPair
from crew_pipeline.discovery.exports.files import ExportError


def read_pairs(path: Path) -> list[LabelledPair]:
    """Pairs ``{"a": {"speaker", "text"}, "b": {"speaker", "text"}, "duplicate": bool, "weight": float}``, one a line.

    Speakers, ``corpus`` and ``day`` may be missing.

    Raises:
        ExportError: the file cannot be read, holds no pair, or a line is not of this shape.
    """
    try:
        lines = path.read_bytes().splitlines()
    except OSError as error:
        raise ExportError(f"{path} cannot be read ({error.strerror}); check the path.") from None
    pairs = [_pair(path, number, line) for number, line in enumerate(lines, 1) if line.strip()]
    if not pairs:
        raise ExportError(f"{path} holds no pairs; give one JSON object a line.")
    return pairs


def _pair(path: Path, number: int, line: bytes) -> LabelledPair:
    try:
        record = orjson.loads(line)
        left, right, duplicate = record["a"]["text"], record["b"]["text"], record["duplicate"]
        weight = float(record.get("weight", 1.0))
        left_speaker, right_speaker = (str(record[side].get("speaker", "")) for side in ("a", "b"))
        day = f"{record.get('corpus', '')} {record.get('day', '')}"
        if not (isinstance(left, str) and isinstance(right, str) and isinstance(duplicate, bool) and weight >= 0):
            raise TypeError
    except (orjson.JSONDecodeError, KeyError, TypeError, ValueError, AttributeError):
        raise ExportError(
            f'{path}, line {number}: expected {{"a": {{"text"}}, "b": {{"text"}}, "duplicate": true or false, '
            '"weight": number}.'
        ) from None
    return LabelledPair(left, right, duplicate, weight, left_speaker, right_speaker, day)
