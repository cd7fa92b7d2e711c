"""The pages: their frame and the first lines of a day, so that something stands there before any script runs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import date, datetime
from functools import lru_cache
from pathlib import Path
from typing import Any
from urllib.parse import urlencode
from zoneinfo import ZoneInfo

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from crew_pipeline.web.static_files import static_files

POLICY = "; ".join(
    (
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "img-src 'self' data:",
        "connect-src 'self'",
        "form-action 'none'",
        "base-uri 'none'",
        "frame-ancestors 'none'",
    )
)
"""Of all pages: nothing from elsewhere, nothing inline."""

VIEW_COOKIE = "crew_view"
VIEW = {"view": "full", "passages": "omit", "wait_s": "0"}
"""How the script asks for a day."""
_PREFERENCES = {
    "theme": ("system", "light", "dark"),
    "clock": ("24", "12"),
    "density": ("comfortable", "compact"),
    "numbers": ("pointed", "always"),
    "keys": ("on", "off"),
}
_FIRST_ROWS = 40
_LONGEST_CHARS = 1_200
"""Of a message in the first lines; the script draws it whole."""


@lru_cache(maxsize=1)
def _templates() -> Environment:
    loader = FileSystemLoader(Path(__file__).parent / "templates")
    environment = Environment(loader=loader, autoescape=True, undefined=StrictUndefined, trim_blocks=True)
    environment.globals["static"] = static_files().address
    return environment


def preferences(cookie: str) -> dict[str, str]:
    """How somebody likes the page, from the cookie that it keeps; what is unknown counts as unsaid."""
    chosen = {name: values[0] for name, values in _PREFERENCES.items()}
    for pair in cookie.split("_"):
        name, _, value = pair.partition("-")
        if value in _PREFERENCES.get(name, ()):
            chosen[name] = value
    return chosen


def day_page(
    day: date | None,
    zone: str,
    entries: Sequence[Mapping[str, Any]],
    cookie: str,
    client: str | None,
    *,
    full: bool,
    whose: str = "",
    root: str = "",
) -> bytes:
    """The day page, UTF-8.

    Args:
        day: that is looked at; None where that is not known yet.
        entries: its conversations in the full view, where they are at hand; their first lines are drawn.
        client: that the address names.
        full: whether hidden lines are shown in their places.
        whose: whose conversations these are; empty for who has not signed in.
        root: the path that all addresses lie below.
    """
    chosen = preferences(cookie)
    clock = _Clock(zone, chosen["clock"])
    name = f"{day:%a}, {day.day} {day:%B %Y}" if day else "…"
    return (
        _templates()
        .get_template("day.html")
        .render(
            preferences=chosen,
            script="day.js",
            answer=_answer(day, client) if entries else None,
            title=f"{name} · Clean Up Crew" if day else "Clean Up Crew",
            day=day.isoformat() if day else "",
            day_name=name,
            zone=zone,
            summary=_summary(entries, zone),
            entries=list(_first(entries, clock, day, client, full=full)),
            full=full,
            whose=whose,
            named=client or "",
            root=root,
        )
        .encode()
    )


def status_page(cookie: str, root: str = "") -> bytes:
    """The operator's page, UTF-8; ``root`` as of ``day_page``."""
    template = _templates().get_template("status.html")
    return template.render(preferences=preferences(cookie), script="status.js", answer=None, root=root).encode()


def themes_page(cookie: str, root: str = "") -> bytes:
    """The page of themes, UTF-8; ``root`` as of ``day_page``."""
    template = _templates().get_template("themes.html")
    return template.render(preferences=preferences(cookie), script="themes.js", answer=None, root=root).encode()


def digest_page(cookie: str, root: str = "") -> bytes:
    """The page of what a week or a day comes to, UTF-8; ``root`` as of ``day_page``."""
    template = _templates().get_template("digest.html")
    return template.render(preferences=preferences(cookie), script="digest.js", answer=None, root=root).encode()


def _answer(day: date | None, client: str | None) -> str:
    """The address that the script will ask for first, so that the browser may fetch it meanwhile."""
    named = {"client": client} if client else {}
    return f"/api/days/{day}/conversations?{urlencode({**VIEW, **named})}"


class _Clock:
    def __init__(self, zone: str, hours: str) -> None:
        self._zone = ZoneInfo(zone)
        self._format = "%I:%M %p" if hours == "12" else "%H:%M"

    def __call__(self, moment: str) -> str:
        return datetime.fromisoformat(moment).astimezone(self._zone).strftime(self._format)


def _summary(entries: Sequence[Mapping[str, Any]], zone: str) -> str:
    lines, hidden = (sum(entry[name] for entry in entries) for name in ("line_count", "hidden_count"))
    if not entries:
        return ""
    conversations = f"{len(entries):,} conversation{'s' if len(entries) != 1 else ''}"
    return f"{conversations} · {lines:,} lines · {hidden:,} folded · {zone}"


def _first(
    entries: Sequence[Mapping[str, Any]], clock: _Clock, day: date | None, client: str | None, *, full: bool
) -> Iterator[dict[str, Any]]:
    left = _FIRST_ROWS
    for entry in entries:
        if left <= 0:
            return
        named = {"client": client} if client else {}
        rows = list(_rows(entry["display_conversation"], clock, {"day": str(day)}, named, left, full=full))
        left -= len(rows) + 2
        speakers = list(dict.fromkeys(line["speaker"] for line in entry["display_conversation"]))
        told = (
            _isolated(entry["crew"]),
            f"{clock(entry['started_at'])} to {clock(entry['ended_at'])}",
            f"{entry['line_count']:,} line{'s' if entry['line_count'] != 1 else ''}",
            f"{entry['hidden_count']} folded" if entry["hidden_count"] else "",
            ", ".join(map(_isolated, speakers[:4])) + (f" and {len(speakers) - 4} more" if len(speakers) > 4 else ""),
        )
        yield {
            "title": entry["title"] or entry["session_id"],
            "told": " · ".join(part for part in told if part),
            "rows": rows,
        }


def _rows(
    lines: Sequence[Mapping[str, Any]],
    clock: _Clock,
    place: dict[str, str],
    named: dict[str, str],
    most: int,
    *,
    full: bool,
) -> Iterator[dict[str, Any]]:
    """Rows as the script draws them: lines, and a mark where some are hidden."""
    hidden, speaker, drawn = 0, "", 0
    for number, line in enumerate(lines, 1):
        if drawn >= most:
            return
        if line.get("represented_by") and not full:
            hidden += 1
            continue
        if hidden:
            yield {"gap": _said_elsewhere(hidden)}
            hidden, drawn = 0, drawn + 1
        text = line["text"]
        yield {
            "gap": "",
            "same": line["speaker"] == speaker,
            "hidden": bool(line.get("represented_by")),
            "link": f"/?{urlencode({**place, 'line': line['line_id'], **named})}",
            "number": number,
            "speaker": line["speaker"],
            "text": text[:_LONGEST_CHARS],
            "long": "\n" in text or "repeats" in line,
            "repeats": len(line["hidden_variations"]),
            "clock": clock(line["spoken_at"]),
        }
        speaker, drawn = line["speaker"], drawn + 1
    if hidden:
        yield {"gap": _said_elsewhere(hidden)}


def _isolated(name: str) -> str:
    """A name that is read in its own direction, whatever stands beside it (Unicode Standard Annex 9)."""
    return f"\u2068{name}\u2069"


def _said_elsewhere(lines: int) -> str:
    return f"{lines} line{'s' if lines != 1 else ''} said elsewhere"
