"""Holds a document against the lines that it was made of: nothing is lost, changed, or folded under what differs."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from crew_pipeline.dedup.passages import Kind, form, passages
from crew_pipeline.model import Line


class DocumentError(ValueError):
    """A document would break an invariant; it must not be stored or served."""


def line_id(conversation_id: str, position: int) -> str:
    """The public id of a line."""
    return f"{conversation_id}-{position}"


def stamp(moment: datetime) -> str:
    """A moment as the document writes it: UTC, ISO 8601, ``Z``."""
    return moment.astimezone(UTC).isoformat().replace("+00:00", "Z")


def verify(lines: Sequence[Line], entries: Sequence[Mapping[str, Any]]) -> None:
    """Check that a document holds each of its lines exactly once, with the line's own speaker, time and words, and that
    every part of a text that is folded is equal to one that is visible.

    Raises:
        DocumentError: naming the first line for which this is not so.
    """
    expected = {line_id(line.conversation_id, line.position): line for line in lines}
    seen: set[str] = set()
    for entered in _entered(entries):
        key = entered["line_id"]
        source = expected.get(key)
        if source is None or key in seen:
            raise DocumentError(f"line {key} stands in the document twice or has no source")
        if (source.speaker, stamp(source.spoken_at), source.text) != (
            entered["speaker"],
            entered["spoken_at"],
            entered["text"],
        ):
            raise DocumentError(f"line {key} does not carry its own speaker, time and words")
        seen.add(key)
    if len(seen) != len(expected):
        raise DocumentError(f"{len(expected) - len(seen)} of {len(expected)} lines are missing from the document")
    _verify_repeats({shown["line_id"]: shown for entry in entries for shown in entry["display_conversation"]})


def _entered(entries: Iterable[Mapping[str, Any]]) -> Iterator[Mapping[str, Any]]:
    for entry in entries:
        for shown in entry["display_conversation"]:
            yield shown
            yield from shown["hidden_variations"]


def _verify_repeats(shown: Mapping[str, Mapping[str, Any]]) -> None:
    """Check that each repeat says what a visible line says in a part that is visible."""
    read: dict[str, _Read] = {}
    forms: dict[tuple[str, Kind], str] = {}
    for key, line in shown.items():
        repeats = line.get("repeats", ())
        mine = _read(read, line) if repeats else None
        for repeat in repeats:
            assert mine is not None
            target = shown.get(repeat["of"]["line_id"])
            if target is None:
                raise DocumentError(f"a part of line {key} is folded under a line that is not visible")
            theirs = _read(read, target)
            wanted = mine.forms(repeat["start"], repeat["end"], forms)
            each, rest = divmod(len(wanted), repeat.get("times", 1))
            found = theirs.visible(repeat["of"]["start"], each, forms)
            if not wanted or rest or found * repeat.get("times", 1) != wanted:
                raise DocumentError(f"a part of line {key} is folded under one that says something else or is folded")
        ends = [0, *(repeat["end"] for repeat in repeats)]
        if any(repeat["start"] < end for repeat, end in zip(repeats, ends, strict=False)):
            raise DocumentError(f"the parts of line {key} that are folded overlap or are out of order")


def _read(read: dict[str, _Read], line: Mapping[str, Any]) -> _Read:
    if line["line_id"] not in read:
        read[line["line_id"]] = _Read(line)
    return read[line["line_id"]]


class _Read:
    """A line of a document, parted into passages."""

    def __init__(self, line: Mapping[str, Any]) -> None:
        self._text: str = line["text"]
        self._parts = passages(self._text)
        self._places = {part.start: place for place, part in enumerate(self._parts)}
        self._folded: set[int] = set()
        for repeat in line.get("repeats", ()):
            self._folded.update(self._within(repeat["start"], repeat["end"]))

    def _within(self, start: int, end: int) -> range:
        """The passages from ``start`` to ``end``; none where these are not borders of passages."""
        first = self._places.get(start, -1)
        last = len(self._parts) if end == len(self._text) else self._places.get(end, -1)
        return range(first, last) if 0 <= first < last else range(0)

    def forms(self, start: int, end: int, known: dict[tuple[str, Kind], str]) -> list[str]:
        """How the passages from ``start`` to ``end`` are compared."""
        return [self._form(place, known) for place in self._within(start, end)]

    def visible(self, start: int, count: int, known: dict[tuple[str, Kind], str]) -> list[str]:
        """The same of ``count`` passages from ``start`` on; none where one of them is folded or missing."""
        first = self._places.get(start, len(self._parts))
        wanted = range(first, min(first + count, len(self._parts)))
        return [] if self._folded.intersection(wanted) else [self._form(place, known) for place in wanted]

    def _form(self, place: int, known: dict[tuple[str, Kind], str]) -> str:
        part = self._parts[place]
        passage = self._text[part.start : part.end], part.kind
        if passage not in known:
            known[passage] = form(*passage).key
        return known[passage]
