"""Themes as they are shown: with a name, what is in them, and what was found of them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import date
from typing import Any

from sqlalchemy import Connection

from crew_pipeline.history.search.folding import fold
from crew_pipeline.storage.history import theme_reading as rows
from crew_pipeline.storage.history import themes as store
from crew_pipeline.storage.history.theme_reading import LOOSE, ThemeRow

_SHOWN_WORDS = 6
_NAMED_BY = 3
_ALL = 10_000


def overview(connection: Connection, client: str) -> dict[str, Any]:
    """All themes of a client: ``themes``, and ``fitted_at``."""
    state = store.state(connection, client)
    noted = rows.patterns(connection, client)
    by_theme: dict[int, list[dict[str, Any]]] = {}
    for pattern in noted.get("patterns", ()):
        by_theme.setdefault(pattern["theme"], []).append(pattern)
    found = [
        _shown(theme, state.forbidden) | {"patterns": by_theme.get(theme.id, [])}
        for theme in rows.themes(connection, client)
    ]
    return {"themes": found, "fitted_at": state.fitted_at and state.fitted_at.isoformat()}


def spoken_of(connection: Connection, client: str, first: date, last: date, most: int) -> list[dict[str, Any]]:
    """What some days were about: the themes that most conversations speak of, with how many did in as many days before
    (``before``)."""
    found = rows.spoken_of(connection, client, first, last, most)
    if not found:
        return []
    ends = first.toordinal() - 1
    begins = max(1, ends - (last - first).days)
    since, until = date.fromordinal(begins), date.fromordinal(max(1, ends))
    before = dict(rows.spoken_of(connection, client, since, until, _ALL))
    state = store.state(connection, client)
    named = {theme.id: _shown(theme, state.forbidden)["name"] for theme in rows.themes(connection, client)}
    return [
        {"id": theme, "name": named[theme], "conversations": count, "before": before.get(theme, 0)}
        for theme, count in found
        if theme in named
    ]


def detail(connection: Connection, client: str, theme_id: int, by: str, zone: str) -> dict[str, Any] | None:
    """A theme, or the one that it was put into; None where there is none."""
    theme_id = rows.standing(connection, client, theme_id) or theme_id
    theme = next(iter(rows.themes(connection, client, theme_id)), None)
    if theme is None:
        return None
    state = store.state(connection, client)
    noted = rows.patterns(connection, client)
    grid = [[0] * 24 for _ in range(7)]
    for weekday, hour, conversations in rows.hours(connection, client, theme_id, zone):
        grid[weekday][hour] = conversations
    return {
        "theme": _shown(theme, state.forbidden)
        | {"patterns": [one for one in noted.get("patterns", ()) if one["theme"] == theme_id]},
        "topics": [
            {"id": part.id, "words": allowed(part.words, state.forbidden), "segments": part.segments,
             "pinned": part.is_pinned}
            for part in rows.parts(connection, client).get(theme_id, ())
        ],
        "timeline": [
            {"from": begins.isoformat(), "conversations": own, "of": every}
            for begins, own, every in rows.timeline(connection, client, theme_id, by)
        ],
        "hours": grid,
        "together": [
            {"theme": pair["other"] if pair["one"] == theme_id else pair["one"], "conversations": pair["conversations"],
             "chance": pair["chance"]}
            for pair in noted.get("together", ()) if theme_id in {pair["one"], pair["other"]}
        ],
    }  # fmt: skip


def segments(
    connection: Connection, client: str, theme_id: int, before: tuple[date, str, int] | None, most: int
) -> dict[str, Any] | None:
    """Where a theme is spoken of, newest day first: ``segments`` and ``next_cursor``; None where there is no theme."""
    standing = rows.standing(connection, client, theme_id)
    if standing is None:
        return None
    found = rows.segments(connection, client, standing, before, most + 1)
    shown = [
        {
            "day": one.day.isoformat(),
            "conversation_id": one.conversation_id,
            "session_id": one.session_id,
            "title": one.title,
            "crew": one.crew,
            "topic": one.topic_id,
            "similarity": round(one.near, 4),
            "loose": one.near < LOOSE,
            "lines": [
                {"line_id": f"{one.conversation_id}-{position}", "speaker": speaker, "text": said}
                for position, speaker, said in one.lines
            ],
        }
        for one in found[:most]
    ]
    cursor = None
    if len(found) > most:
        last = found[most - 1]
        cursor = f"{last.day}~{last.first_position}~{last.conversation_id}"
    return {"segments": shown, "next_cursor": cursor}


def forbidden(connection: Connection, client: str) -> list[str]:
    """Words that name no theme."""
    return list(store.state(connection, client).forbidden)


def allowed(words: Iterable[str], never: Sequence[str]) -> list[str]:
    """The first words that nobody has forbidden."""
    forbidden = {fold(word) for word in never}
    return [word for word in words if forbidden.isdisjoint(word.split())][:_SHOWN_WORDS]


def _shown(theme: ThemeRow, never: Sequence[str]) -> dict[str, Any]:
    words = allowed(theme.words, never)
    line = None
    if theme.text is not None:
        line = {
            "line_id": f"{theme.conversation_id}-{theme.position}", "speaker": theme.speaker, "text": theme.text,
        }  # fmt: skip
    return {
        "id": theme.id,
        "kind": theme.kind,
        "name": theme.name or ", ".join(words[:_NAMED_BY]) or f"Theme {theme.id}",
        "is_named": theme.name is not None,
        "words": words,
        "segments": theme.segments,
        "conversations": theme.conversations,
        "days": theme.days,
        "first_day": theme.first_day and theme.first_day.isoformat(),
        "last_day": theme.last_day and theme.last_day.isoformat(),
        "line": line,
    }
