"""JSON lines: one object a line, never more than one line in memory."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from io import BufferedReader
from typing import Any

import orjson

from crew_pipeline.discovery.exports import columns as tables
from crew_pipeline.discovery.exports.files import Files, Member, bounded_lines
from crew_pipeline.discovery.exports.found import Found
from crew_pipeline.discovery.exports.objects import objects
from crew_pipeline.discovery.reading import Reading
from crew_pipeline.discovery.records import Limits, RejectedLineError

MAX_LINE_BYTES = 4 * 1024 * 1024
_OWN = {"session_id", "line", "created_at", "speaker", "text"}
_TOLD_BY = {"text"}
"""Of our own names, those that tell a record of ours even where it lacks others."""


def read(
    files: Files, members: Sequence[Member], limits: Limits, reading: Reading, given: Mapping[str, str]
) -> Iterator[Found]:
    """The records of JSON lines, or of one JSON array; ``title`` is taken where there is one.

    Args:
        given: names by field, as the user says; where fields have other names than ours, the usual ones are guessed.
    """
    rows = tables.Rows(tables.stem(members[0].name), limits, reading)
    names: dict[str, str] | None = None
    with files.open(members[0]) as content:
        for number, record in _records(content, f"{members[0].name} of {files.path}"):
            if not isinstance(record, dict):
                yield Found(record, number)
                continue
            names = names or _names_of(record, given)
            if names:
                yield from rows.found({field: record.get(name) for field, name in names.items()}, number or 0)
            else:
                reading.entitle(record.get("session_id"), record.get("title"))
                yield Found(record, number)


def _records(content: BufferedReader, name: str) -> Iterator[tuple[int | None, Any]]:
    if content.peek(64).removeprefix(b"\xef\xbb\xbf").lstrip()[:1] == b"[":
        yield from ((None, record) for record in objects(content, name))
        return
    for number, line in bounded_lines(content, MAX_LINE_BYTES):
        if line.strip():
            yield number, parsed(line, number)


def _names_of(record: Mapping[str, object], given: Mapping[str, str]) -> dict[str, str]:
    """The names by field in records like this one; empty where they are our own."""
    if not given and _OWN & record.keys() >= _TOLD_BY:
        return {}
    found = {**tables.guess([name for name in record if name not in given.values()], lambda name: True), **given}
    return found if all(field in found for field in tables.NEEDED) else {}


def parsed(line: bytes, number: int) -> dict[str, object] | RejectedLineError:
    """The object of one line, or why it is refused."""
    if len(line) >= MAX_LINE_BYTES:
        return RejectedLineError(f"the line is longer than {MAX_LINE_BYTES // 1024 // 1024} MiB; split it")
    if number == 1:
        line = line.removeprefix(b"\xef\xbb\xbf")
    try:
        record: dict[str, object] = orjson.loads(line)
    except orjson.JSONDecodeError as error:
        if b"\\ud" in line.lower():
            return RejectedLineError("half of a surrogate pair; export it again as valid UTF-8")
        return RejectedLineError(f"not valid JSON ({error.msg} at character {error.colno})")
    return record
