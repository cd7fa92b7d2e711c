"""A day as a file to take elsewhere: Markdown to read, JSON Lines and CSV to work with."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Mapping, Sequence
from datetime import date, datetime
from typing import Any, Literal
from zoneinfo import ZoneInfo

import orjson

Format = Literal["markdown", "jsonl", "csv"]
MEDIA_TYPES: dict[Format, tuple[str, str]] = {
    "markdown": ("text/markdown; charset=utf-8", "md"),
    "jsonl": ("application/x-ndjson", "jsonl"),
    "csv": ("text/csv; charset=utf-8", "csv"),
}
"""Media type and ending of each format."""

COLUMNS = (
    "day", "conversation_id", "crew", "title", "line_id", "speaker", "spoken_at", "text", "repeats", "represented_by",
    "reason",
)  # fmt: skip
"""Of CSV, and the keys of JSON Lines: ``repeats`` is how many lines a visible one stands for besides itself,
``represented_by`` the visible line of a hidden one, which only a full export holds."""

# What a spreadsheet would take for a formula (OWASP, "CSV Injection"), in the width of any script.
_FORMULA = tuple("=+-@\uff1d\uff0b\uff0d\uff20")


def exported(entries: Sequence[Mapping[str, Any]], day: date, zone: str, form: Format) -> bytes:
    """The conversations of a day in a format, UTF-8.

    Args:
        entries: as a document holds them, in either view.
        zone: in which Markdown gives times; the others give them in UTC.
    """
    if form == "markdown":
        return _markdown(entries, day, ZoneInfo(zone)).encode()
    rows = list(_rows(entries, day))
    if form == "jsonl":
        return b"".join(orjson.dumps(row) + b"\n" for row in rows)
    written = io.StringIO()
    writer = csv.DictWriter(written, COLUMNS, lineterminator="\r\n")
    writer.writeheader()
    writer.writerows({name: _defused(value) for name, value in row.items()} for row in rows)
    return written.getvalue().encode("utf-8-sig")


def _rows(entries: Sequence[Mapping[str, Any]], day: date) -> Iterator[dict[str, Any]]:
    for entry in entries:
        for line in entry["display_conversation"]:
            yield {
                "day": day.isoformat(),
                "conversation_id": entry["id"],
                "crew": entry["crew"],
                "title": entry["title"],
                "line_id": line["line_id"],
                "speaker": line["speaker"],
                "spoken_at": line["spoken_at"],
                "text": line["text"],
                "repeats": len(line["hidden_variations"]),
                "represented_by": line.get("represented_by"),
                "reason": line.get("reason"),
            }


def _defused(value: object) -> object:
    """A value that no spreadsheet reads as a formula."""
    if not isinstance(value, str) or (not value.lstrip().startswith(_FORMULA) and value[:1] not in ("\t", "\r", "\n")):
        return value
    return f"'{value}"


def _markdown(entries: Sequence[Mapping[str, Any]], day: date, zone: ZoneInfo) -> str:
    parts = [f"# {day} ({zone.key})"]
    for entry in entries:
        begin, end = (_clock(entry[name], zone) for name in ("started_at", "ended_at"))
        title = " ".join(str(entry["title"] or entry["session_id"]).split())
        parts.append(f"## {_escaped(title)}")
        parts.append(f"{_escaped(' '.join(entry['crew'].split()))}, {begin} to {end}, {entry['line_count']} lines")
        parts += [_spoken(line, zone) for line in entry["display_conversation"]]
        if not entry["display_conversation"]:
            parts.append("*Every line repeats what is shown elsewhere.*")
    return "\n\n".join(parts) + "\n"


def _spoken(line: Mapping[str, Any], zone: ZoneInfo) -> str:
    """A line as a list item; what follows in it is indented, so that it stays one."""
    text = line["text"].replace("\r\n", "\n").replace("<", "\\<").replace("\n", "\n  ")
    repeats = len(line["hidden_variations"])
    more = f" *(+{repeats} {'repeat' if repeats == 1 else 'repeats'})*" if repeats else ""
    hidden = f" *(folded: {line['reason']})*" if line.get("represented_by") else ""
    speaker = _escaped(" ".join(line["speaker"].split()))
    return f"- {_clock(line['spoken_at'], zone)} **{speaker}** {text}{more}{hidden}"


def _clock(moment: str, zone: ZoneInfo) -> str:
    return f"{datetime.fromisoformat(moment).astimezone(zone):%H:%M}"


def _escaped(name: str) -> str:
    return "".join(f"\\{sign}" if sign in "\\`*_[]<>#|" else sign for sign in name)
