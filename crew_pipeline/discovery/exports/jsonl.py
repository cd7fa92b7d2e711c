"""JSON lines: one object a line, never more than one line in memory."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import orjson

from crew_pipeline.discovery.exports.files import Files, Member, bounded_lines
from crew_pipeline.discovery.exports.found import Found
from crew_pipeline.discovery.exports.objects import objects
from crew_pipeline.discovery.reading import Reading
from crew_pipeline.discovery.records import Limits, RejectedLineError

MAX_LINE_BYTES = 4 * 1024 * 1024


def read(files: Files, members: Sequence[Member], limits: Limits, reading: Reading) -> Iterator[Found]:
    """The records of JSON lines, or of one JSON array; ``title`` is taken where there is one."""
    with files.open(members[0]) as content:
        if content.peek(64).removeprefix(b"\xef\xbb\xbf").lstrip()[:1] == b"[":
            for record in objects(content, f"{members[0].name} of {files.path}"):
                if isinstance(record, dict):
                    reading.entitle(record.get("session_id"), record.get("title"))
                yield Found(record)
            return
        for number, line in bounded_lines(content, MAX_LINE_BYTES):
            if not line.strip():
                continue
            record = _parsed(line, number)
            if isinstance(record, dict):
                reading.entitle(record.get("session_id"), record.get("title"))
            yield Found(record, number)


def _parsed(line: bytes, number: int) -> dict[str, object] | RejectedLineError:
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
