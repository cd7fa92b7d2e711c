"""Where else in the history the same was said as in a line: by the engine's judgement, not by nearness."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from datetime import date, timedelta
from typing import Any, NamedTuple
from zoneinfo import ZoneInfo

from crew_pipeline.dedup.verification import line_id, stamp
from crew_pipeline.history.relations import Relation, relations
from crew_pipeline.history.search.index import OpenIndex
from crew_pipeline.history.search.texts import DayText, Place, key_of, texts_of
from crew_pipeline.history.search.words import EVERYWHERE, Occurrence
from crew_pipeline.storage.conversations import searched
from crew_pipeline.storage.conversations.searched import FoundLine
from crew_pipeline.storage.database import Database

_CANDIDATES = 60
_MOST_DAYS = 1_000
_MOST_LINES = 4_000
_SHOWN = 50


class _Same(NamedTuple):
    """A text that says the same, and where."""

    key: int
    exact: bool


def said(
    db: Database, index: OpenIndex, client: str, conversation_id: str, position: int, max_words: int, zone: str
) -> dict[str, Any] | None:
    """How often the same was said as in a line (``times``), on how many ``days``, ``first`` and ``last``; the newest
    ``places``; by week (``weeks``) and by weekday and hour (``hours``, the first is Monday; at most ten a day of each
    speaker). Of a long line the passage counts that tells most.

    Args:
        zone: the time zone of the client's days.

    Returns:
        None where there is no such line.
    """
    with db.read() as connection:
        lines = searched.conversation(connection, client, conversation_id)
    asked = next((line for line in lines if line.position == position), None)
    if asked is None:
        return None
    found = _occurrences(db, index, client, texts_of([asked], max_words))
    places = {_line(place): one.exact for one in found for place in one.where.places}
    places.setdefault((conversation_id, position), True)
    with db.read() as connection:
        there = searched.found_lines(connection, client, sorted(places)[:_MOST_LINES])
    found_lines = sorted(there.values(), key=_moment, reverse=True)
    own = Occurrence(found_lines[0].day, 1, []) if found_lines else None
    counted = [one.where for one in found] or ([own] if own else [])
    return _counted(counted) | _shown(found_lines, places, zone)


class _Found(NamedTuple):
    """Where the same was said, and whether in the same words."""

    where: Occurrence
    exact: bool


def _occurrences(db: Database, index: OpenIndex, client: str, texts: Sequence[DayText]) -> list[_Found]:
    if index.words is None:
        return []
    words = index.words
    weights = {said.key: sum(map(words.weight, dict.fromkeys(said.words))) for said in texts}
    telling = max(texts, key=lambda said: (weights[said.key], -said.key), default=None)
    if telling is None:
        return []
    same = [_Same(telling.key, exact=True), *_same_as(db, index, client, telling)]
    return [_Found(where, one.exact) for one in same for where in words.occurrences(one.key, _MOST_DAYS)]


def _same_as(db: Database, index: OpenIndex, client: str, own: DayText) -> list[_Same]:
    """Other texts that say all that a text says, or of which it says all."""
    words, meaning = index.words, index.meaning
    if words is None or meaning is None or not len(meaning):
        return []
    with db.read() as connection:
        vector = searched.vectors(connection, client, index.model, [own.text_hash]).get(own.text_hash)
    if vector is None:
        return []
    keys = [
        key for digest in meaning.near(vector, EVERYWHERE, _CANDIDATES) if (key := key_of(bytes(digest))) != own.key
    ]
    told = {key: one.places[0][1] for key in keys if (one := words.told(key, EVERYWHERE)) is not None and one.places}
    mine = next(place for places in own.places.values() for place in places)
    with db.read() as connection:
        there = searched.found_lines(connection, client, [_line(place) for place in (mine, *told.values())])
    own_text = _text(there, mine)
    others = {key: text for key, place in told.items() if (text := _text(there, place))}
    if not own_text or not others:
        return []
    judged = relations([own_text, *others.values()], [(0, row) for row in range(1, len(others) + 1)])
    return [_Same(key, exact=False) for key, one in zip(others, judged, strict=True) if one is Relation.AGAIN]


def _line(place: Place) -> tuple[str, int]:
    return place.conversation_id, place.position


def _text(there: dict[tuple[str, int], FoundLine], place: Place) -> str:
    line = there.get(_line(place))
    return line.text[place.start : place.end] if line is not None else ""


def _moment(line: FoundLine) -> tuple[Any, ...]:
    return line.spoken_at, line.conversation_id, line.position


def _counted(found: Sequence[Occurrence]) -> dict[str, Any]:
    weeks: Counter[date] = Counter()
    for one in found:
        weeks[one.day - timedelta(days=one.day.weekday())] += one.times
    days = sorted({one.day for one in found})
    return {
        "times": sum(one.times for one in found),
        "days": len(days),
        "first": days[0].isoformat() if days else None,
        "last": days[-1].isoformat() if days else None,
        "weeks": [{"from": week.isoformat(), "times": weeks[week]} for week in sorted(weeks)],
    }


def _shown(lines: Sequence[FoundLine], exact: dict[tuple[str, int], bool], zone: str) -> dict[str, Any]:
    hours = [[0] * 24 for _ in range(7)]
    for line in lines:
        hours[line.day.weekday()][line.spoken_at.astimezone(ZoneInfo(zone)).hour] += 1
    return {
        "places": [
            {
                "line_id": line_id(line.conversation_id, line.position),
                "day": line.day.isoformat(),
                "session_id": line.session_id,
                "title": line.title,
                "crew": line.crew,
                "speaker": line.speaker,
                "spoken_at": stamp(line.spoken_at),
                "text": line.text,
                "same_words": exact[line.conversation_id, line.position],
            }
            for line in lines[:_SHOWN]
        ],
        "hours": hours,
    }
