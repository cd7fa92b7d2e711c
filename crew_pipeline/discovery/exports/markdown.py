"""Transcripts of Limitless as Markdown: who said what, and when, in the variants that its app and API write."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime, timedelta
from typing import IO, NamedTuple

from crew_pipeline.discovery.exports.files import bounded_lines
from crew_pipeline.discovery.exports.found import Found, from_epoch
from crew_pipeline.discovery.reading import Reading
from crew_pipeline.discovery.records import Limits, RejectedLineError

_MAX_LINE_BYTES = 4 * 1024 * 1024
_EPOCH_FROM_MS = 10**11

# > [Speaker](#startMs=1736931600000&endMs=1736931604000): text
_LINKED = re.compile(
    r"\s*(?:>\s*)?(?:[-*]\s+)?\[(?P<speaker>[^\]]{0,500})\]"
    r"\(#startMs=(?P<start>\d{1,15})(?:&(?:amp;)?endMs=\d+)?\):?\s*(?P<text>.*)"
)
# - Speaker (1/15/25 9:31 AM): text
_STAMPED = re.compile(
    r"\s*(?:>\s*)?(?:[-*]\s+)?\*{0,3}(?P<speaker>\S.{0,499}?)\*{0,3}\s{0,4}"
    r"\((?:(?P<month>\d{1,2})/(?P<day>\d{1,2})/(?P<year>\d{4}|\d{2})|(?P<iso>\d{4}-\d{2}-\d{2})),?[\sT]{1,4}"
    r"(?P<hour>\d{1,2}):(?P<minute>\d{2})(?::(?P<second>\d{2}))?(?:\s{0,4}(?P<half>[AaPp])\.?[Mm]\.?)?\)\*{0,3}:\*{0,3}\s*"
    r"(?P<text>.*)"
)
_TITLE = re.compile(r"#\s+(\S.*)")
_NAME = re.compile(r"(\d{4}-\d{2}-\d{2})_(\d{2})h(\d{2})m(\d{2})s(?:_(.*))?")


class _Said(NamedTuple):
    speaker: str
    moment: datetime | RejectedLineError
    text: str


def holds_talk(head: bytes) -> bool:
    """Whether any line is one of a transcript."""
    return any(_match(line) for line in head.decode("utf-8", "replace").splitlines())


def read(content: IO[bytes], name: str, limits: Limits, reading: Reading) -> Iterator[Found]:
    """The lines of one lifelog's file; its session is the file's dated name, or its path below ``lifelogs``.

    The time in a file's name is read as UTC; it is used where lines count their times from the beginning.
    """
    session_id, start, title = _named(name)
    reading.entitle(session_id, title)
    yield from lines(_texts(content, session_id, reading), session_id, start, limits, name)


def lines(texts: Iterable[str], session_id: str, start: datetime | None, limits: Limits, where: str) -> Iterator[Found]:
    """The lines of a transcript, numbered from 0.

    Args:
        start: when it began; times that count from there need it.
        where: what refusals name.
    """
    spoken = (said for said in _joined(texts, start, limits) if said.text)
    for position, said in enumerate(spoken):
        if isinstance(said.moment, RejectedLineError):
            yield Found(said.moment, where=where)
            continue
        record = {
            "session_id": session_id,
            "line": position,
            "created_at": said.moment,
            "speaker": said.speaker,
            "text": said.text,
        }
        yield Found(record, where=where)


def _texts(content: IO[bytes], session_id: str, reading: Reading) -> Iterator[str]:
    is_entitled = False
    for _, line in bounded_lines(content, _MAX_LINE_BYTES):
        text = line.decode("utf-8-sig", "replace")
        if not is_entitled and (heading := _TITLE.match(text)):
            is_entitled = True
            reading.entitle(session_id, heading[1])
        yield text


def _joined(texts: Iterable[str], start: datetime | None, limits: Limits) -> Iterator[_Said]:
    """What was said, joined with lines directly below that continue it."""
    said: _Said | None = None
    for text in texts:
        if match := _match(text):
            if said:
                yield said
            said = _said(match, start, limits)
        elif said and (more := _continuation(text)):
            said = said._replace(text=f"{said.text}\n{more}".strip())
        elif said:
            yield said
            said = None
    if said:
        yield said


def _match(text: str) -> re.Match[str] | None:
    return _LINKED.match(text) or _STAMPED.match(text)


def _continuation(text: str) -> str:
    """What a line without a speaker adds to the one before: nothing if it is a heading, a point of a list or empty."""
    return "" if re.match(r"\s*(#|[-*]\s|$)", text) else text.strip().removeprefix(">").strip()


def _said(match: re.Match[str], start: datetime | None, limits: Limits) -> _Said:
    speaker = match["speaker"].strip().strip("*")
    speaker = f"Speaker {speaker}" if speaker.isdecimal() else speaker or "Unknown"
    try:
        if "start" in match.groupdict():
            return _Said(speaker, _from_ms(int(match["start"]), start), match["text"].strip())
        return _Said(speaker, _from_clock(match, limits), match["text"].strip())
    except RejectedLineError as refusal:
        return _Said(speaker, refusal, match["text"].strip())


def _from_ms(value: int, start: datetime | None) -> datetime:
    if value >= _EPOCH_FROM_MS:
        return from_epoch(value)
    if start is None:
        raise RejectedLineError("its time counts from a beginning that nothing tells; keep the dated name of the file")
    return start + timedelta(milliseconds=value)


def _from_clock(match: re.Match[str], limits: Limits) -> datetime:
    hour = int(match["hour"])
    if match["half"]:
        hour = hour % 12 + 12 * (match["half"] in "Pp")
    try:
        if match["iso"]:
            year, month, day = (int(part) for part in match["iso"].split("-"))
        else:
            year, month, day = int(match["year"]), int(match["month"]), int(match["day"])
        return datetime(
            year + 2000 * (year < 100), month, day, hour, int(match["minute"]), int(match["second"] or 0),
            tzinfo=limits.zone,
        )  # fmt: skip
    except ValueError:
        raise RejectedLineError(
            f"its time {match[0].strip()[:60]!r} is on no calendar; write it like 1/15/25 9:31 AM"
        ) from None


def _named(name: str) -> tuple[str, datetime | None, str | None]:
    """Session, beginning and title that a file's name tells."""
    path = name.rpartition(".")[0]
    base = path.rpartition("/")[2]
    if not (match := _NAME.fullmatch(base)):
        return path.rpartition("lifelogs/")[2], None, None
    try:
        start = datetime.fromisoformat(f"{match[1]}T{match[2]}:{match[3]}:{match[4]}").replace(tzinfo=UTC)
    except ValueError:
        start = None
    return base, start, match[5] and match[5].replace("-", " ")
