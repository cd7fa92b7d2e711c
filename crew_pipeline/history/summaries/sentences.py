"""The sentences of a document: what a summary is chosen from."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime
from typing import Any, NamedTuple

from crew_pipeline.dedup.passages import passages
from crew_pipeline.dedup.text import count_words, normalise, text_hash
from crew_pipeline.history.embedding import shown_spans
from crew_pipeline.model import EngineOptions


class Sentence(NamedTuple):
    """A sentence that a document shows, or a line that is none.

    Attributes:
        start, end: where it stands in its line (code points).
        words: how many it has.
        times: how often it was said, with what is folded under its line.
        text_hash: by which a vector is known: its own, or that of the line that it stands in.
    """

    position: int
    start: int
    end: int
    speaker: str
    spoken_at: datetime
    text: str
    words: int
    times: int
    text_hash: bytes


def sentences_of(entry: Mapping[str, Any], options: EngineOptions) -> list[Sentence]:
    """The sentences of a conversation of a document, in its order."""
    return [sentence for line in entry["display_conversation"] for sentence in _of_line(line, options)]


def _of_line(line: Mapping[str, Any], options: EngineOptions) -> Iterator[Sentence]:
    position, moment = int(line["line_id"].rpartition("-")[2]), datetime.fromisoformat(line["spoken_at"])
    times = 1 + len(line["hidden_variations"])
    for start, end in shown_spans(line, options):
        part = line["text"][start:end]
        digest = text_hash(normalise(part))
        for sentence_start, sentence_end in _parted(part):
            text = part[sentence_start:sentence_end]
            words = count_words(text)
            if words:
                first = start + sentence_start
                yield Sentence(position, first, first + len(text), line["speaker"], moment, text, words, times, digest)


def _parted(text: str) -> Iterable[tuple[int, int]]:
    for passage in passages(text):
        stripped = text[passage.start : passage.end]
        start = passage.start + len(stripped) - len(stripped.lstrip())
        yield start, start + len(stripped.strip())
