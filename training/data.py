"""The labelled duplicates that earlier judges were fitted to; they measure now.

Three sources, all judged by reading: the pairs of the shared data folder (``shared``); more pairs of the same corpora,
from other days, kept here by reference to their lines (``labels/*.jsonl``: no text of a corpus is in the repository);
and pairs of invented conversations of other kinds (``written/*.jsonl``).
"""

from __future__ import annotations

import gzip
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson

from crew_pipeline.dedup.speech import speaker_names, without_addressees
from crew_pipeline.dedup.text import normalise
from training.corpora import FILES, SHARED

HERE = Path(__file__).parent
CORPORA = {"irc": FILES["support"], "ami": FILES["meetings"]}


@dataclass(frozen=True)
class Pair:
    """A labelled pair.

    Attributes:
        source: ``shared``, ``ours`` or ``written``.
        corpus: the kind of conversation.
        day: of the corpus.
        left, right: cores.
        same_speaker: whether one speaker says both.
        weight: how many pairs of that corpus it stands for.
    """

    source: str
    corpus: str
    day: str
    left: str
    right: str
    same_speaker: bool
    duplicate: bool
    weight: float


def load() -> list[Pair]:
    """All pairs, in a fixed order."""
    lines, speakers = _corpora()
    pairs = [*_shared(speakers), *_ours(lines, speakers), *_written()]
    return sorted(pairs, key=lambda one: (one.source, one.corpus, one.day, one.left, one.right, one.same_speaker))


def _corpora() -> tuple[dict[tuple[str, str, int], dict[str, Any]], dict[tuple[str, str], frozenset[str]]]:
    lines: dict[tuple[str, str, int], dict[str, Any]] = {}
    speakers: dict[tuple[str, str], set[str]] = defaultdict(set)
    for corpus, name in CORPORA.items():
        with gzip.open(SHARED / name) as file:
            for raw in file:
                line = orjson.loads(raw)
                lines[corpus, line["session_id"], line["line"]] = line
                speakers[corpus, line["created_at"][:10]].add(line["speaker"])
    return lines, {key: speaker_names(found) for key, found in speakers.items()}


def _shared(speakers: dict[tuple[str, str], frozenset[str]]) -> Iterator[Pair]:
    for corpus in CORPORA:
        for record in _records([SHARED / "duplicate_pairs" / f"{corpus}.jsonl"]):
            names = speakers[corpus, record["day"]]
            yield _pair("shared", corpus, record["day"], record["a"], record["b"], record, names)


def _ours(
    lines: dict[tuple[str, str, int], dict[str, Any]], speakers: dict[tuple[str, str], frozenset[str]]
) -> Iterator[Pair]:
    for record in _records(sorted((HERE / "labels").glob("*.jsonl"))):
        corpus = record["corpus"]
        one, other = (lines[corpus, *record[side]] for side in ("a", "b"))
        day = one["created_at"][:10]
        yield _pair("ours", corpus, day, one, other, record, speakers[corpus, day])


def _written() -> Iterator[Pair]:
    for path in sorted((HERE / "written").glob("*.jsonl")):
        records = list(_records([path]))
        speakers: dict[str, set[str]] = defaultdict(set)
        for record in records:
            speakers[record["day"]].update(record[side]["speaker"] for side in ("a", "b"))
        for record in records:
            names = speaker_names(speakers[record["day"]])
            yield _pair("written", path.stem, record["day"], record["a"], record["b"], record, names)


def _records(paths: Iterable[Path]) -> Iterator[dict[str, Any]]:
    for path in paths:
        for raw in path.read_bytes().splitlines():
            yield orjson.loads(raw)


def _pair(
    source: str,
    corpus: str,
    day: str,
    one: dict[str, Any],
    other: dict[str, Any],
    record: dict[str, Any],
    names: frozenset[str],
) -> Pair:
    left, right = (without_addressees(normalise(line["text"]), names) for line in (one, other))
    same = normalise(one["speaker"]) == normalise(other["speaker"])
    return Pair(source, corpus, day, left, right, same, bool(record["duplicate"]), float(record.get("weight", 1.0)))
