"""What is searched: the distinct texts of a day, each with the places where it stands."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import NamedTuple

from crew_pipeline.dedup.passages import passages
from crew_pipeline.dedup.text import count_words, normalise, text_hash
from crew_pipeline.history.search.folding import words_of
from crew_pipeline.storage.days.content import Discovered

KEY_BYTES = 8


class Place(NamedTuple):
    """Where a text stands: a stretch (code points) of a line."""

    conversation_id: str
    position: int
    start: int
    end: int


@dataclass
class DayText:
    """A text, and where it was said on one day.

    Attributes:
        key: the first bytes of its hash, as a number that indexes can hold.
        words: folded, in order.
        places: by crew and speaker.
    """

    text_hash: bytes
    words: list[str]
    places: dict[tuple[str, str], list[Place]] = field(default_factory=dict)

    @property
    def key(self) -> int:
        """See above."""
        return key_of(self.text_hash)


def key_of(digest: bytes) -> int:
    """A hash as indexes know it."""
    return int.from_bytes(digest[:KEY_BYTES], "big")


def parts_of(text: str, max_words: int) -> Iterator[tuple[int, int]]:
    """The stretches of a line that are texts of their own: its passages where it is long, else all of it.

    What goes beyond the window of the embedding model would else be found by nobody.
    """
    if count_words(text) <= max_words:
        yield 0, len(text)
        return
    for passage in passages(text):
        yield passage.start, passage.end


def texts_of(lines: Iterable[Discovered], max_words: int) -> list[DayText]:
    """The texts of a day's lines, by hash; what has no word in it is no text."""
    found: dict[bytes, DayText] = {}
    for line in lines:
        for start, end in parts_of(line.text, max_words):
            part = line.text[start:end]
            digest = text_hash(normalise(part))
            said = found.get(digest)
            if said is None:
                words = [word.folded for word in words_of(part)]
                if not words:
                    continue
                said = found[digest] = DayText(digest, words)
            place = Place(line.conversation_id, line.position, start, end)
            said.places.setdefault((line.crew, line.speaker), []).append(place)
    return [found[digest] for digest in sorted(found)]
