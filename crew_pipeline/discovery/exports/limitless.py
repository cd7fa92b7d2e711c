"""Limitless lifelogs: pages of the API as JSON, or the app's export as a Markdown file for each."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

from crew_pipeline.discovery.exports import markdown
from crew_pipeline.discovery.exports.files import Files, Member
from crew_pipeline.discovery.exports.found import Found, is_number
from crew_pipeline.discovery.exports.objects import objects
from crew_pipeline.discovery.reading import Reading
from crew_pipeline.discovery.records import Limits, RejectedLineError, parse_moment

WRAPPERS = ("data", "lifelogs", "lifelog")

_HEADING = re.compile(r"heading\d*")
_UNKNOWN_SPEAKER = "Unknown"
_OWN_VOICE = "You"


def read(files: Files, members: Sequence[Member], limits: Limits, reading: Reading) -> Iterator[Found]:
    """What was heard, numbered from 0 in each lifelog; headings and summaries are not lines."""
    for member in members:
        with files.open(member) as content:
            if member.name.lower().endswith((".md", ".markdown")) or not _is_json(content.peek(256)):
                yield from markdown.read(content, member.name, limits, reading)
                continue
            for lifelog in objects(content, f"{member.name} of {files.path}", WRAPPERS):
                if isinstance(lifelog, RejectedLineError):
                    yield Found(lifelog, where=member.name)
                else:
                    yield from _lines(lifelog, limits, reading)


def _lines(lifelog: Mapping[str, Any], limits: Limits, reading: Reading) -> Iterator[Found]:
    session_id = lifelog.get("id")
    where = f"lifelog {str(session_id or lifelog.get('title'))[:80]}"
    if not isinstance(session_id, str):
        yield Found(RejectedLineError("it has no id; fetch it again"), where=where)
        return
    reading.entitle(session_id, lifelog.get("title"))
    nodes = [node for node in _flat(lifelog.get("contents")) if _is_said(node)]
    if not nodes and isinstance(lifelog.get("markdown"), str):
        lines = lifelog["markdown"].splitlines()
        yield from markdown.lines(lines, session_id, _start(lifelog, limits), limits, where)
        return
    moment = lifelog.get("startTime")
    for position, node in enumerate(nodes):
        moment = node.get("startTime") or _by_offset(node, lifelog, limits) or moment
        record = {
            "session_id": session_id,
            "line": position,
            "created_at": moment,
            "speaker": _speaker(node),
            "text": node["content"].strip(),
        }
        yield Found(record, where=where)


def _flat(contents: object) -> Iterator[Mapping[str, Any]]:
    """The parts of a lifelog in reading order, each before its children."""
    waiting = [contents]
    while waiting:
        part = waiting.pop()
        if isinstance(part, list):
            waiting.extend(reversed(part))
        elif isinstance(part, Mapping):
            yield part
            waiting.append(part.get("children"))


def _is_said(node: Mapping[str, Any]) -> bool:
    content, kind = node.get("content"), node.get("type")
    return (
        isinstance(content, str)
        and bool(content.strip())
        and not (isinstance(kind, str) and _HEADING.fullmatch(kind))
        and (kind == "blockquote" or bool(node.get("speakerName") or node.get("speakerIdentifier")))
    )


def _speaker(node: Mapping[str, Any]) -> object:
    if node.get("speakerName"):
        return node["speakerName"]
    return _OWN_VOICE if node.get("speakerIdentifier") == "user" else _UNKNOWN_SPEAKER


def _start(lifelog: Mapping[str, Any], limits: Limits) -> datetime | None:
    try:
        return parse_moment(lifelog.get("startTime"), limits)
    except RejectedLineError:
        return None


def _by_offset(node: Mapping[str, Any], lifelog: Mapping[str, Any], limits: Limits) -> datetime | None:
    offset, start = node.get("startOffsetMs"), _start(lifelog, limits)
    if start is None or not is_number(offset) or not 0 <= offset < 10**9:
        return None
    return start + timedelta(milliseconds=int(offset))


def _is_json(head: bytes) -> bool:
    return head.removeprefix(b"\xef\xbb\xbf").lstrip()[:1] in {b"{", b"["}
