"""Lists of any length inside JSON documents, with what stands before them: a chat's name before its messages."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import IO, Any

from crew_pipeline.discovery.exports.files import Files, Member
from crew_pipeline.discovery.exports.found import Found
from crew_pipeline.discovery.exports.objects import MAX_DEPTH, MAX_OBJECT_BYTES, Watch, built, events_of, skip
from crew_pipeline.discovery.records import RejectedLineError

_MOST_FIELDS, _LONGEST_FIELD = 100, 2_000

Head = Mapping[str, Any]


def messages(
    files: Files, members: Sequence[Member], lines: Callable[[Head, Mapping[str, Any], Member], Iterator[Found]]
) -> Iterator[Found]:
    """What ``lines`` finds in each object under ``messages`` of the members; too large an object is refused."""
    for member in members:
        with files.open(member) as content:
            for head, message in headed(content, f"{member.name} of {files.path}", "messages"):
                if isinstance(message, RejectedLineError):
                    yield Found(message, where=member.name)
                else:
                    yield from lines(head, message, member)


def headed(stream: IO[bytes], name: str, key: str) -> Iterator[tuple[Head, dict[str, Any] | RejectedLineError]]:
    """The objects of every list that stands under ``key``, one at a time, each with the fields of the object around the
    list that came before it, as far as they are short.

    Args:
        name: of the stream, for errors.

    Raises:
        ijson.JSONError: it is not valid JSON.
        ExportError: a single text in it is too large.
    """
    watch = Watch(stream, name, MAX_OBJECT_BYTES)
    events = events_of(watch)
    around: list[tuple[dict[str, Any], str | None]] = []
    here: dict[str, Any] = {}
    field: str | None = None
    for event, value in events:
        watch.silent = 0
        if event == "map_key":
            field = value
        elif event == "start_map":
            if len(around) > MAX_DEPTH:
                skip(events, watch)
                continue
            around.append((here, field))
            here, field = {}, None
        elif event == "end_map" and around:
            done = here
            here, held_by = around.pop()
            if held_by is not None and len(here) < _MOST_FIELDS:
                here[held_by] = done
            field = None
        elif event == "start_array" and field == key:
            yield from ((here, item) for item in _items(events, watch))
        elif event not in {"start_array", "end_array"} and field is not None and len(here) < _MOST_FIELDS:
            here[field] = value[:_LONGEST_FIELD] if isinstance(value, str) else value


def _items(events: Iterator[tuple[str, Any]], watch: Watch) -> Iterator[dict[str, Any] | RejectedLineError]:
    for event, _ in events:
        watch.silent = 0
        if event == "end_array":
            return
        if event == "start_array":
            skip(events, watch)
        elif event == "start_map":
            head, first = next(events)
            yield built(first, events, watch) if head == "map_key" else {}
