"""WhatsApp's "export chat": a text file of a chat, as iPhones and as Android phones write it.

Day and month stand in the order of the phone that exported it, which the file itself tells: by a number above twelve,
else by the order in which its messages go on.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import IO

from crew_pipeline.discovery.exports.columns import Rows
from crew_pipeline.discovery.exports.files import Files, Member, bounded_lines
from crew_pipeline.discovery.exports.found import Found
from crew_pipeline.discovery.moments import Times, read_moment
from crew_pipeline.discovery.reading import Reading
from crew_pipeline.discovery.records import Limits

_MAX_LINE_BYTES = 4 * 1024 * 1024
_MOST_STAMPS = 200_000
_MONTHS = 12
# Marks of direction before names and notes, and narrow spaces before AM.
_MARKS = "\u200e\u200f\u202a-\u202e\u2066-\u2069\ufeff"
_STAMP = (
    r"(?P<date>\d{1,4}[./-]\s?\d{1,2}[./-]\s?\d{1,4}),?\s"
    r"(?P<time>\d{1,2}[:.]\d{2}(?:[:.]\d{2})?(?:\s?[AaPp]\.?\s?[Mm]\.?)?)"
)
_IPHONE = re.compile(rf"[{_MARKS}]*\[{_STAMP}\]\s(?P<rest>.*)", re.DOTALL)
_ANDROID = re.compile(rf"[{_MARKS}]*{_STAMP}\s[-–]\s(?P<rest>.*)", re.DOTALL)
_SPEAKER = re.compile(rf"[{_MARKS}~\s]*(?P<speaker>[^:\n]{{1,100}}?):\s(?P<text>.*)", re.DOTALL)
_NOTE = re.compile(r"<[^<>\n]{3,60}>")
_ATTACHED = re.compile(rf"[{_MARKS}]*(?:<[^<>\n]{{3,200}}>|\S[^\n]{{0,200}}\.\w{{2,4}} \([^()\n]{{3,40}}\))")
_EDITED = re.compile(rf"\s*[{_MARKS}]*<[^<>\n]{{3,60}}>$")
_CHAT_OF = re.compile(
    r"(?:^|/)(?:WhatsApp Chat (?:with|-) |Chat WhatsApp (?:con|com|avec) |WhatsApp-Chat mit )(.+)", re.IGNORECASE
)


@dataclass
class _Message:
    moment: str
    rest: str
    number: int
    more: list[str] = field(default_factory=list)

    @property
    def text(self) -> str:
        return "\n".join([self.rest, *self.more])


def looks_like_one(head: bytes) -> bool:
    """Whether a file's beginning is a chat: two of its first lines begin with a moment, or the only one does."""
    rows = [row for row in head.decode("utf-8", "replace").splitlines()[:40] if row.strip()]
    found = sum(_stamped(row) is not None for row in rows)
    return found > 1 or (bool(rows) and found == len(rows))


def read(files: Files, members: Sequence[Member], limits: Limits, reading: Reading) -> Iterator[Found]:
    """What was said, with the lines that a message goes on over; notes of WhatsApp itself and media are left out."""
    for member in members:
        times = limits.times
        if times.day_first is None and times.format is None:
            with files.open(member) as content:
                times = Times(day_first=_day_first(_stamps(content)))
        rows = Rows(_chat(files, member), limits, reading)
        with files.open(member) as content:
            for message in _messages(content):
                yield from _found(message, rows, replace(limits, times=times), _chat(files, member), reading)


def _found(message: _Message, rows: Rows, limits: Limits, chat: str, reading: Reading) -> Iterator[Found]:
    said = _SPEAKER.match(message.text)
    if said is None:
        reading.leave_out({"notes of WhatsApp": 1})
        return
    text = _EDITED.sub("", said["text"]).strip() if not _NOTE.fullmatch(said["text"].strip()) else ""
    if not text or _ATTACHED.fullmatch(text) or said["text"].startswith("\u200e"):
        reading.leave_out({"media": 1})
        return
    try:
        moment: object = read_moment(message.moment, limits.times)
    except ValueError:
        moment = message.moment
    cells: Mapping[str, object] = {
        "session_id": chat,
        "created_at": moment,
        "speaker": said["speaker"].strip(),
        "text": text,
    }
    yield from rows.found(cells, message.number)


def _messages(content: IO[bytes]) -> Iterator[_Message]:
    message: _Message | None = None
    for number, row in _rows(content):
        stamped = _stamped(row)
        if stamped is not None:
            if message is not None:
                yield message
            message = _Message(_moment(stamped), stamped["rest"], number)
        elif message is not None:
            message.more.append(row)
    if message is not None:
        yield message


def _rows(content: IO[bytes]) -> Iterator[tuple[int, str]]:
    for number, line in bounded_lines(content, _MAX_LINE_BYTES):
        yield number, line.decode("utf-8", "replace").rstrip("\r\n").replace("\x00", "")


def _stamped(row: str) -> re.Match[str] | None:
    return _IPHONE.match(row) or _ANDROID.match(row)


def _moment(stamped: re.Match[str]) -> str:
    date = stamped["date"].replace(" ", "").replace("\u202f", "")
    clock = re.sub(r"[\s.]+", lambda match: ":" if match[0] == "." else " ", stamped["time"].rstrip("."))
    return f"{date}, {re.sub(r':(?=[Mm])', '', clock)}"


def _stamps(content: IO[bytes]) -> Iterator[tuple[int, int, int]]:
    """The three numbers of the dates of messages, as they stand."""
    seen = 0
    for _, row in _rows(content):
        stamped = _stamped(row)
        if stamped is not None:
            one, two, three = re.split(r"[./-]\s?", stamped["date"])
            yield int(one), int(two), int(three)
            seen += 1
            if seen == _MOST_STAMPS:
                return


def _day_first(stamps: Iterator[tuple[int, int, int]]) -> bool | None:
    """Whether the day stands before the month; None where the file does not tell."""
    back_if_day_first = back_if_month_first = 0
    before: tuple[int, int, int] | None = None
    for one, two, year in stamps:
        if one > _MONTHS or two > _MONTHS:
            return one > _MONTHS
        if before is not None:
            back_if_day_first += (year, two, one) < (before[2], before[1], before[0])
            back_if_month_first += (year, one, two) < (before[2], before[0], before[1])
        before = one, two, year
    if back_if_day_first == back_if_month_first:
        return None
    return back_if_day_first < back_if_month_first


def _chat(files: Files, member: Member) -> str:
    """What the chat is called: in its file's name, else in that of the folder or archive that it lies in."""
    bare = re.sub(r"\.(txt|gz)+$", "", member.name, flags=re.IGNORECASE)
    named = _CHAT_OF.search(bare)
    if named:
        return named[1].strip()
    if member.base.startswith("_chat"):
        around = member.name.rpartition("/")[0].rpartition("/")[2] or files.path.stem
        named = _CHAT_OF.search(around)
        return (named[1] if named else around).strip() or "chat"
    return bare.rpartition("/")[2] or "chat"
