"""Captions of meetings, WebVTT and SRT, as Zoom, Teams, Meet and Otter save them: who says what, from when on.

A file tells no day: its name does (``GMT20250115-090000``, ``2025-01-15 09.00``), else the lines carry when they were
first seen.
"""

from __future__ import annotations

import io
import re
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from typing import NamedTuple

import webvtt
from webvtt.errors import MalformedCaptionError, MalformedFileError

from crew_pipeline.discovery.exports.files import ExportError, Files, Member
from crew_pipeline.discovery.exports.found import Found
from crew_pipeline.discovery.reading import Reading
from crew_pipeline.discovery.records import Limits, RejectedLineError

MAX_BYTES = 64 * 1024 * 1024
_NAMED = re.compile(r"\.(vtt|srt)(\.gz)?$", re.IGNORECASE)
_SRT = re.compile(r"\d{1,6}\s*\n\d{1,3}:\d{2}:\d{2},\d{3} --> ")
_GMT = re.compile(r"GMT(\d{8})-(\d{6})")
_DATED = re.compile(
    r"(?<!\d)(\d{4})[-_.]?(\d{2})[-_.]?(\d{2})(?:[ T_-]+(?:at |um )?(\d{2})[-_.h:]?(\d{2})(?:[-_.m:]?(\d{2}))?)?(?!\d)"
)
_SPEAKER = re.compile(r"(?P<speaker>[^:\n<>.!?]{1,60}):\s+(?P<text>\S.*)", re.DOTALL)
_SOMEBODY = "Unknown"
_SAME_BREATH = timedelta(seconds=4)
_MARKUP = re.compile(r"</?[a-z][^<>]{0,80}>")


class _Cue(NamedTuple):
    start: timedelta
    end: timedelta
    speaker: str
    text: str


def is_named_one(member: Member) -> bool:
    """Whether a file's name says that it holds captions."""
    return _NAMED.search(member.base) is not None


def looks_like_one(head: bytes) -> bool:
    """Whether a file's beginning is captions."""
    text = head.decode("utf-8", "replace").lstrip("\ufeff").lstrip()
    return text.startswith("WEBVTT") or _SRT.match(text.replace("\r\n", "\n")) is not None


def read(files: Files, members: Sequence[Member], limits: Limits, reading: Reading) -> Iterator[Found]:
    """What was said, numbered from 0; captions that one speaker goes on over without a pause are one line."""
    for member in members:
        start = _start(member.base, limits)
        session = _NAMED.sub("", member.name)
        reading.entitle(session, session.rpartition("/")[2])
        text = _text(files, member)
        cues = list(_cues(text, member))
        # The library passes over what it cannot read without a word.
        for _ in range(text.count("-->") - len(cues)):
            yield Found(RejectedLineError("a caption has no valid times or no words"), where=member.base)
        for position, said in enumerate(_joined(cues)):
            record = {
                "session_id": session,
                "line": position,
                "created_at": (start or limits.now.replace(microsecond=0)) + said.start,
                "time_inferred": start is None,
                "speaker": said.speaker,
                "text": said.text,
            }
            yield Found(record, where=member.base)


def _text(files: Files, member: Member) -> str:
    with files.open(member) as content:
        raw = content.read(MAX_BYTES + 1)
    if len(raw) > MAX_BYTES:
        raise ExportError(f"{member.name} holds more than {MAX_BYTES // 1024**2} MiB of captions; split it.")
    return raw.decode("utf-8", "replace").lstrip("\ufeff").replace("\r\n", "\n").lstrip()


def _cues(text: str, member: Member) -> Iterator[_Cue]:
    kind = "vtt" if text.startswith("WEBVTT") else "srt"
    try:
        captions = webvtt.from_buffer(io.BytesIO(text.encode()), format=kind)
    except (MalformedFileError, MalformedCaptionError) as error:
        raise ExportError(f"{member.name} is malformed ({error}); nothing was imported. Export it again.") from None
    for caption in captions.captions:
        said = " ".join(_MARKUP.sub("", caption.text).split())
        named = _SPEAKER.fullmatch(said) if not caption.voice else None
        speaker = caption.voice or (named["speaker"].strip() if named else "")
        words = named["text"] if named else said
        if words:
            yield _Cue(_offset(caption.start_time), _offset(caption.end_time), speaker, words)


def _offset(stamp: webvtt.models.Timestamp) -> timedelta:
    return timedelta(hours=stamp.hours, minutes=stamp.minutes, seconds=stamp.seconds, milliseconds=stamp.milliseconds)


def _joined(cues: Sequence[_Cue]) -> Iterator[_Cue]:
    """Captions as they were said: one that names nobody goes on where the last left off."""
    held: _Cue | None = None
    for cue in cues:
        goes_on = held is not None and cue.start - held.end < _SAME_BREATH and not held.text.endswith((".", "!", "?"))
        if held is not None and goes_on and cue.speaker in ("", held.speaker):
            held = held._replace(end=cue.end, text=f"{held.text} {cue.text}")
            continue
        if held is not None:
            yield held
        # Captions of one speaker name them once, at the beginning.
        held = cue if cue.speaker else cue._replace(speaker=held.speaker if held is not None else _SOMEBODY)
    if held is not None:
        yield held


def _start(name: str, limits: Limits) -> datetime | None:
    """When a recording began, as its file's name says."""
    try:
        if gmt := _GMT.search(name):
            return datetime.strptime("".join(gmt.groups()), "%Y%m%d%H%M%S").replace(tzinfo=UTC)
        if dated := _DATED.search(name):
            year, month, day, hour, minute, second = (int(part or 0) for part in dated.groups())
            return datetime(year, month, day, hour, minute, second, tzinfo=limits.zone)
    except ValueError:
        return None
    return None
