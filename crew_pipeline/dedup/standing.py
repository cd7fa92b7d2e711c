"""Standing text: what a voice of a crew says at the head of most of its long messages, its prompt.

The head of a message is what it has in common with most others of its voice, from its beginning on. A passage in
between may be the message's own where most others have one there that begins in the same words, which is how values
differ ("The task: …", "Today is …"); it stays visible.
"""

from __future__ import annotations

import hashlib
from collections import Counter, defaultdict
from collections.abc import Container, Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple, TypeVar

from crew_pipeline.dedup.repeats import FEWEST_CHARACTERS, FEWEST_WORDS, DayPassages
from crew_pipeline.model import Line, LineKey

FEWEST_MESSAGES = 3
LONGEST_HEAD = 60
"""Passages at the beginning of a message that may be its head."""
OPENING = 3
"""Words in which passages begin alike."""
_LONGEST_OPENING = 100

_Item = TypeVar("_Item")


class Standing(NamedTuple):
    """The standing text of a voice on a day.

    Attributes:
        name: what it is called.
        messages: how many of the day begin with it.
        characters: how long it is (code points), without what differs.
        key: 16 hex digits, the same on every day on which it says the same.
    """

    name: str
    messages: int
    characters: int
    key: str


class Head(NamedTuple):
    """The head of a message: so many passages, of which ``shared`` (places of the day) are standing text.

    ``is_first``: whether it is the first of its voice on the day, where the text is named.
    """

    standing: Standing
    length: int
    shared: Sequence[int]
    is_first: bool

    def shown(self, day: DayPassages, key: LineKey, among: Container[bytes] | None = None) -> list[tuple[int, int]]:
        """Which standing text the message shows, for it stands there first: spans of its text (code points).

        Args:
            among: only passages with one of these hashes.
        """
        line = day.lines[key]
        spans: list[tuple[int, int]] = []
        for place in self.shared:
            part = line.parts[place - line.begin]
            if day.roots[place] != place or not (among is None or day.form_at(place).hash in among):
                continue
            if spans and spans[-1][1] == part.start:
                spans[-1] = spans[-1][0], part.end
            else:
                spans.append((part.start, part.end))
        return spans


def heads(day: DayPassages, lines: Sequence[Line], crews: Mapping[str, str]) -> dict[LineKey, Head]:
    """The heads of the messages that begin with the standing text of their voice.

    Args:
        lines: those of ``day``.
        crews: the crew of each conversation.
    """
    messages: dict[tuple[str, str], list[LineKey]] = defaultdict(list)
    for line in lines:
        key = (line.conversation_id, line.position)
        if len(day.lines[key].parts) > 1:
            messages[crews.get(line.conversation_id, ""), line.speaker].append(key)
    return {key: head for (_, speaker), keys in sorted(messages.items()) for key, head in _of_voice(day, speaker, keys)}


def _of_voice(day: DayPassages, speaker: str, keys: Sequence[LineKey]) -> Iterator[tuple[LineKey, Head]]:
    least = max(FEWEST_MESSAGES, len(keys) // 2 + 1)
    standing = _often((set(_beginning(day, key)) for key in keys), least)
    openings = _often((_openings(day, key, standing) for key in keys), least)
    in_time = sorted(keys, key=lambda key: day.lines[key].begin)
    found = {key: shared for key in in_time if (shared := _shared(day, key, standing, openings))}
    if len(found) < least:
        return
    said = {day.numbers[place]: place for shared in found.values() for place in shared}
    forms = [day.form_at(place) for place in said.values()]
    length = sum(made.length for made in forms)
    text = Standing(f"standing text of {speaker}", len(found), length, _digest(made.key for made in forms))
    for number, (key, shared) in enumerate(found.items()):
        yield key, Head(text, shared[-1] + 1 - day.lines[key].begin, shared, is_first=not number)


def _digest(keys: Iterable[str]) -> str:
    content = "\n".join(sorted(keys)).encode("utf-8", "surrogatepass")
    return hashlib.blake2b(content, digest_size=8).hexdigest()


def _beginning(day: DayPassages, key: LineKey) -> Sequence[int]:
    line = day.lines[key]
    return day.numbers[line.begin : line.begin + min(len(line.parts), LONGEST_HEAD)]


def _often(sets: Iterable[set[_Item]], least: int) -> set[_Item]:
    """What is in so many of the sets."""
    times = Counter(item for one in sets for item in one)
    return {item for item, count in times.items() if count >= least}


def _openings(day: DayPassages, key: LineKey, standing: set[int]) -> set[str]:
    """The first words of those passages at the beginning of a message that are its own."""
    begin = day.lines[key].begin
    numbers = enumerate(_beginning(day, key), begin)
    return {_opening(day, key, place) for place, number in numbers if number not in standing} - {""}


def _opening(day: DayPassages, key: LineKey, place: int) -> str:
    line = day.lines[key]
    part = line.parts[place - line.begin]
    words = line.text[part.start : min(part.end, part.start + _LONGEST_OPENING)].split(maxsplit=OPENING)
    return " ".join(words[:OPENING]) if len(words) > OPENING else ""


def _shared(day: DayPassages, key: LineKey, standing: set[int], openings: set[str]) -> list[int]:
    """Places of the passages of a message's head that are standing text; none where that is too little."""
    begin = day.lines[key].begin
    shared: list[int] = []
    for place, number in enumerate(_beginning(day, key), begin):
        if number in standing:
            shared.append(place)
        elif _opening(day, key, place) not in openings:
            break
    forms = [day.form_at(place) for place in shared]
    long = sum(form.length for form in forms) >= FEWEST_CHARACTERS and sum(form.words for form in forms) >= FEWEST_WORDS
    return shared if long else []
