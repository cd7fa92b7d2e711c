"""JSON of any size as a stream of its objects: one at a time in memory, each bounded in size and depth."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from itertools import islice
from typing import IO, Any

import ijson

from crew_pipeline.discovery.exports.files import ExportError, Files, Member
from crew_pipeline.discovery.exports.found import Found
from crew_pipeline.discovery.records import RejectedLineError

MAX_OBJECT_BYTES = 64 * 1024 * 1024
MAX_DEPTH = 200
_CHUNK_BYTES = 64 * 1024
_PER_VALUE_BYTES = 8
_MOST_EVENTS_OF_A_GLANCE = 5_000_000
_MARK = b"\xef\xbb\xbf"
# ijson's C part crashes on integers that are longer than Python's limit of 4,300 digits.
_MOST_DIGITS = 4_000
_LONG_NUMBER = re.compile(rb"[0-9]{%d}" % _MOST_DIGITS)

_OPENINGS: dict[str, Callable[[], Any]] = {"start_map": dict, "start_array": list}

Events = Iterator[tuple[str, Any]]


def objects(
    stream: IO[bytes], name: str, within: Collection[str] = (), limit: int = MAX_OBJECT_BYTES
) -> Iterator[dict[str, Any] | RejectedLineError]:
    """The objects of a JSON array, of JSON lines, or of one JSON document; numbers as Python has them.

    Args:
        name: of the stream, for errors.
        within: keys of wrappers: an object that begins with one of them, or with ``meta``, is entered instead, and the
            objects under these keys are given.
        limit: about how many bytes of text and structure an object may have; one that is larger, or deeper than
            ``MAX_DEPTH``, is given as the reason why it is refused.

    Raises:
        ijson.JSONError: it is not valid JSON, or holds a number that 64 bits cannot.
        ExportError: a single text in it is larger than ``limit``.
    """
    watch = Watch(stream, name, limit)
    events = events_of(watch)
    entered = {*within, "meta"} if within else set()
    key: str | None = None
    for event, value in events:
        watch.silent = 0
        if event == "map_key":
            key = value
        elif event in {"end_map", "end_array"}:
            key = None
        elif event in {"start_map", "start_array"} and key is not None and key not in within:
            skip(events, watch)
        elif event == "start_map":
            head, first = next(events)
            if head == "map_key" and first in entered:
                key = first
            elif head == "map_key":
                yield built(first, events, watch)


def conversations(
    files: Files, members: Sequence[Member], key: str, lines: Callable[[Mapping[str, Any]], Iterator[Found]]
) -> Iterator[Found]:
    """What ``lines`` finds in each object of the members that has this key; too large an object is refused."""
    for member in members:
        with files.open(member) as content:
            for conversation in objects(content, f"{member.name} of {files.path}"):
                if isinstance(conversation, RejectedLineError):
                    yield Found(conversation, where=member.name)
                elif key in conversation:
                    yield from lines(conversation)


def first_keys(stream: IO[bytes], name: str, within: Collection[str], most: int = 3) -> Iterator[set[str]]:
    """The growing set of keys of each of the first objects, so that a caller can stop at a telling key."""
    watch = Watch(stream, name, MAX_OBJECT_BYTES)
    events = events_of(watch)
    keys: set[str] = set()
    depth = seen = 0
    for event, value in islice(events, _MOST_EVENTS_OF_A_GLANCE):
        watch.silent = 0
        if event in {"start_map", "start_array"}:
            depth += bool(depth) or event == "start_map"
        elif event in {"end_map", "end_array"} and depth:
            depth -= 1
            if not depth:
                keys, seen = set(), seen + 1
                if seen == most:
                    return
        elif event == "map_key" and depth == 1:
            keys.add(value)
            yield keys
            if value in within or value == "meta":
                depth = 0


def events_of(watch: Watch) -> Events:
    """The events of a JSON stream, as ijson has them."""
    # Numbers of any size, as Decimal where they have a fraction; the stream lets none through that Python refuses.
    events: Events = ijson.basic_parse(watch, multiple_values=True, buf_size=_CHUNK_BYTES)
    return events


def built(key: str | None, events: Events, watch: Watch) -> dict[str, Any] | RejectedLineError:
    """An object whose first key, ``key``, has just been read; or why it is refused."""
    root: dict[str, Any] = {}
    container: Any = root
    outer: list[tuple[Any, str | None]] = []
    size = 0
    for event, value in events:
        if event == "map_key":
            key = value
            size += len(value)
            watch.silent = 0
            continue
        size += _PER_VALUE_BYTES
        if event in {"end_map", "end_array"}:
            if not outer:
                return root
            container, key = outer.pop()
            continue
        if event == "string":
            size += len(value)
        opening = _OPENINGS.get(event)
        item = opening() if opening else value
        if key is None:
            container.append(item)
        else:
            container[key] = item
        if opening:
            outer.append((container, key))
            container, key = item, None
        if size > watch.limit or len(outer) > MAX_DEPTH:
            return _refused(root, events, watch, len(outer))
    return root


def _refused(root: dict[str, Any], events: Events, watch: Watch, depth: int) -> RejectedLineError:
    name = next((root[key] for key in ("title", "name", "id", "uuid") if isinstance(root.get(key), str)), None)
    reason = "is nested too deeply" if depth > MAX_DEPTH else f"is larger than {watch.limit // 1024**2} MiB of JSON"
    root.clear()
    skip(events, watch, depth + 1)
    return RejectedLineError(f"the conversation{f' {name[:80]!r}' if name else ''} {reason}; it was left out")


def skip(events: Events, watch: Watch, depth: int = 1) -> None:
    """Pass over what is open."""
    for event, _ in events:
        watch.silent = 0
        if event in {"start_map", "start_array"}:
            depth += 1
        elif event in {"end_map", "end_array"}:
            depth -= 1
            if not depth:
                return


class Watch:
    """A stream that refuses to read on if the parser yields nothing for too long: a single text is too large."""

    def __init__(self, stream: IO[bytes], name: str, limit: int) -> None:
        self._stream = stream
        self._name = name
        self._is_start = True
        self._end = b""
        self.limit = limit
        self.silent = 0

    def read(self, count: int = -1) -> bytes:
        content = self._stream.read(count)
        if self._is_start and content:
            self._is_start = False
            content = content.removeprefix(_MARK) or self._stream.read(count)
        if _LONG_NUMBER.search(self._end + content):
            raise ExportError(f"{self._name} holds a number of thousands of digits; nothing was imported.")
        self._end = content[-_MOST_DIGITS:]
        self.silent += len(content)
        if self.silent > self.limit + 2 * _CHUNK_BYTES:
            raise ExportError(
                f"{self._name} holds a single text beyond {self.limit // 1024**2} MiB; nothing was imported. "
                "Shorten it."
            )
        return content
