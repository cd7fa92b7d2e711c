"""Short stretches of a day that are about one thing: what themes are made of."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, NamedTuple

from crew_pipeline.dedup.text import count_words, normalise, text_hash
from crew_pipeline.history.embedding import shown_parts
from crew_pipeline.model import EngineOptions

_WORDS = 40
"""Of a segment: a few sentences. Less says too little to tell what it is about, more is about several things."""
_LINES = 60
"""With those that say too little."""
_PAUSE = timedelta(minutes=30)


class Said(NamedTuple):
    """A text of a segment.

    Attributes:
        text_hash: by which its vector is known.
        words: how many it has.
        times: how often it was said, with what is folded under it.
    """

    text_hash: bytes
    text: str
    words: int
    position: int
    times: int


@dataclass
class Segment:
    """Lines of a conversation that follow each other, without those that say too little (greetings, fillers).

    Attributes:
        first, last: positions of its lines.
    """

    conversation_id: str
    first: int
    last: int
    started_at: datetime
    said: list[Said] = field(default_factory=list)

    @property
    def words(self) -> int:
        """Of all its texts."""
        return sum(said.words for said in self.said)


def segments_of(conversations: Iterable[Mapping[str, Any]], options: EngineOptions) -> list[Segment]:
    """The segments of a document, in its order; what it hides counts with the line that shows it."""
    return [segment for entry in conversations for segment in _of_conversation(entry, options) if segment.said]


def _of_conversation(entry: Mapping[str, Any], options: EngineOptions) -> Iterator[Segment]:
    open_one: Segment | None = None
    before: datetime | None = None
    lines = 0
    for line in entry["display_conversation"]:
        position, moment = int(line["line_id"].rpartition("-")[2]), datetime.fromisoformat(line["spoken_at"])
        rested = before is not None and moment - before > _PAUSE
        if open_one is not None and (rested or open_one.words >= _WORDS or lines >= _LINES):
            yield open_one
            open_one = None
        if open_one is None:
            open_one, lines = Segment(entry["id"], position, position, moment), 0
        lines += 1
        open_one.last = max(open_one.last, position)
        open_one.said += _said(line, position, options)
        before = moment
    if open_one is not None:
        yield open_one


def _said(line: Mapping[str, Any], position: int, options: EngineOptions) -> Iterator[Said]:
    times = 1 + len(line["hidden_variations"])
    for part in shown_parts(line, options):
        normalised = normalise(part)
        words = count_words(normalised)
        if words >= options.min_words:
            yield Said(text_hash(normalised), part, words, position, times)


def texts(segments: Sequence[Segment]) -> set[bytes]:
    """By what the vectors of their texts are known."""
    return {said.text_hash for segment in segments for said in segment.said}
