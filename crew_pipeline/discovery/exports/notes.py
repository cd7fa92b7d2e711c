"""Markdown notes with dates: diaries and daily notes (Obsidian, Logseq), as one file a day or one for many days.

The day is told by the file's name, by the head of the note (``date:``), or by headings that begin with a date. A note
tells no speaker, so its author speaks.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from datetime import datetime, time
from typing import IO, NamedTuple

from crew_pipeline.discovery.exports.files import Files, Member, bounded_lines
from crew_pipeline.discovery.exports.found import Found
from crew_pipeline.discovery.reading import Reading
from crew_pipeline.discovery.records import Limits, RejectedLineError

_MAX_LINE_BYTES = 1024 * 1024
_NAMED = re.compile(r"\.(md|markdown)(\.gz)?$", re.IGNORECASE)
_DATE = r"(?P<year>\d{4})[-_./]?(?P<month>\d{2})[-_./]?(?P<day>\d{2})"
_DATED_NAME = re.compile(rf"(?:.*?[^0-9])?{_DATE}(?![0-9]).*", re.DOTALL)
_DATED_HEADING = re.compile(rf"#{{1,6}}\s+\W{{0,3}}{_DATE}(?![0-9]).*", re.DOTALL)
_FIELD = re.compile(r"(?P<name>[a-z_]{2,20}):\s*[\"']?(?P<value>[^\"'\n]{1,200})", re.IGNORECASE)
_HEADING = re.compile(r"#{1,6}\s+(?P<title>\S.*)", re.DOTALL)
_ITEM = re.compile(r"(?P<indent>\s*)(?:[-*+]|\d{1,3}[.)])\s+(?:\[.\]\s+)?(?P<text>.*)", re.DOTALL)
_TIMED = re.compile(r"\*{0,2}(?P<hour>\d{1,2}):(?P<minute>\d{2})\*{0,2}(?:\s+[-–—]\s+|:?\s+)(?P<text>\S.*)", re.DOTALL)
_FENCE = re.compile(r"\s*(```(?!.*`)|~~~)")
_AUTHOR = "me"
_MOST_ROWS_OF_HEAD = 100


class _Head(NamedTuple):
    """What a note says of itself before it begins."""

    date: str | None
    author: str
    title: str | None
    rows: int


def looks_like_one(member: Member, head: bytes) -> bool:
    """Whether a Markdown file tells a day."""
    if not is_named_one(member):
        return False
    rows = head.decode("utf-8", "replace").lstrip("\ufeff").splitlines()
    return (
        _DATED_NAME.fullmatch(member.base) is not None
        or _head(rows).date is not None
        or any(_DATED_HEADING.fullmatch(row) for row in rows)
    )


def is_named_one(member: Member) -> bool:
    """Whether a file's name says that it is Markdown."""
    return _NAMED.search(member.base) is not None


def read(files: Files, members: Sequence[Member], limits: Limits, reading: Reading) -> Iterator[Found]:
    """The paragraphs and points of notes, numbered from 0 on each day; code stays whole."""
    for member in members:
        with files.open(member) as content:
            rows = list(_rows(content))
        yield from _note(rows, member, limits, reading)


def _rows(content: IO[bytes]) -> Iterator[str]:
    for _, line in bounded_lines(content, _MAX_LINE_BYTES):
        yield line.decode("utf-8-sig", "replace").rstrip("\r\n").replace("\x00", "")


def _note(rows: Sequence[str], member: Member, limits: Limits, reading: Reading) -> Iterator[Found]:
    head = _head(rows)
    name = _NAMED.sub("", member.name)
    day = _day(head.date or "", limits) or _day(member.base, limits)
    session, clock = name, time.min
    positions: Counter[str] = Counter()
    reading.entitle(session, head.title or name.rpartition("/")[2])
    for block in _blocks(rows[head.rows :]):
        if _DATED_HEADING.fullmatch(block) and (said_day := _day(block, limits)):
            day, clock = said_day, time.min
            session = f"{name}/{said_day.date()}"
            if not positions[session]:
                reading.entitle(session, _text(block))
            continue
        if day is None:
            yield Found(RejectedLineError("no day is told before it; name the note 2025-01-15.md"), where=member.base)
            continue
        text = _text(block)
        clock, text = _timed(clock, text)
        if not text:
            continue
        record = {
            "session_id": session,
            "line": positions[session],
            "created_at": datetime.combine(day.date(), clock, limits.zone),
            "time_inferred": clock == time.min,
            "speaker": head.author,
            "text": text,
        }
        positions[session] += 1
        yield Found(record, where=member.base)


def _head(rows: Sequence[str]) -> _Head:
    """The head between two rows of dashes."""
    if not rows or rows[0].rstrip() != "---":
        return _Head(None, _AUTHOR, None, 0)
    fields: dict[str, str] = {}
    for number, row in enumerate(rows[1:_MOST_ROWS_OF_HEAD], 1):
        if row.rstrip() in ("---", "..."):
            date = next((fields[name] for name in ("date", "created", "day") if name in fields), None)
            dated = date if date and re.match(_DATE, date) else None
            return _Head(dated, fields.get("author", _AUTHOR), fields.get("title"), number + 1)
        if field := _FIELD.match(row):
            fields[field["name"].lower()] = field["value"].strip()
    return _Head(None, _AUTHOR, None, 0)


def _day(told: str, limits: Limits) -> datetime | None:
    match = _DATED_HEADING.fullmatch(told) or _DATED_NAME.fullmatch(told)
    try:
        return match and datetime(int(match["year"]), int(match["month"]), int(match["day"]), tzinfo=limits.zone)
    except ValueError:
        return None


def _blocks(rows: Sequence[str]) -> Iterator[str]:
    """Headings, paragraphs, points of lists with what is indented below them, and fenced code."""
    held: list[str] = []
    fence = ""
    for row in rows:
        fenced = _FENCE.match(row)
        if fence:
            held.append(row)
            fence = "" if fenced and fenced[1] == fence else fence
            continue
        begins = _HEADING.match(row) is not None or _ITEM.match(row) is not None
        if held and (begins or not row.strip() or _HEADING.match(held[-1])):
            yield "\n".join(held)
            held = []
        if row.strip():
            held.append(row)
        fence = fenced[1] if fenced else ""
    if held:
        yield "\n".join(held)


def _text(block: str) -> str:
    for form, group in ((_HEADING, "title"), (_ITEM, "text")):
        if match := form.fullmatch(block):
            return match[group].strip()
    return block.strip()


def _timed(clock: time, text: str) -> tuple[time, str]:
    """The time that a point begins with, else the last one told, and what it says."""
    timed = _TIMED.fullmatch(text)
    if timed is None:
        return clock, text
    try:
        return time(int(timed["hour"]), int(timed["minute"])), timed["text"]
    except ValueError:
        return clock, text
