"""Summaries as they are shown: of a conversation, of days, of a theme."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple
from zoneinfo import ZoneInfo

import numpy as np

from crew_pipeline.dedup.verification import line_id, stamp
from crew_pipeline.history.relations import Relation, relations
from crew_pipeline.history.summaries import coverage
from crew_pipeline.history.summaries.points import stacked
from crew_pipeline.history.summaries.tasks import todo
from crew_pipeline.history.themes import reading as themes
from crew_pipeline.history.themes.grid import NORM
from crew_pipeline.storage.history import points as store
from crew_pipeline.storage.history.points import DECISION, KEY, QUESTION, TASK, Point, Within

_MOST_READ = 2_000
"""Points of each kind."""
_WHOLE = 100
_MOST_THEMES = 8
_MOST_COMPARED = 200
_COMPARED_AT = int(0.7 * NORM**2)
"""How alike two points are (a cosine of 0.7) from which on the judge is asked whether they say the same."""


class Size(NamedTuple):
    """How many points of each kind a summary shows at most."""

    key: int = 8
    decision: int = 12
    task: int = 12
    question: int = 8


CONVERSATION = Size(key=6)
DAY = Size()
SPAN = Size(key=12, decision=20, task=20, question=12)
"""Of more than a day, and of a theme."""


def summary(connection: Any, client: str, within: Within, size: Size, zone: str) -> dict[str, Any]:
    """``key_points``, ``decisions``, ``tasks`` and ``questions``, each in the order in which they were said; how much
    they are of (``days``, ``conversations``, ``lines``), of how many days nothing is in it yet (``missing_days``), and
    what the days were about (``themes``).

    Args:
        zone: the time zone of the client's days.
    """
    by_kind: dict[str, list[Point]] = defaultdict(list)
    for point in store.read(connection, client, within, _MOST_READ):
        by_kind[point.kind].append(point)
    extent = store.extent(connection, client, within)
    tasks = _once(by_kind[TASK], size.task)
    present = store.speakers(connection, sorted({point.conversation_id for point, _ in tasks}))
    return {
        "days": extent.days,
        "missing_days": extent.missing,
        "conversations": extent.conversations,
        "lines": extent.lines,
        "key_points": [shown(point) for point in _keys(by_kind[KEY], size.key)],
        "decisions": [shown(point, again) for point, again in _once(by_kind[DECISION], size.decision)],
        "tasks": [shown(point, again) | _todo(point, zone, present) for point, again in tasks],
        "questions": [shown(point, again) for point, again in _once(by_kind[QUESTION], size.question)],
        "themes": _themes(connection, client, within),
    }


def _themes(connection: Any, client: str, within: Within) -> list[dict[str, Any]]:
    if within.first is None or within.last is None:
        return []
    return themes.spoken_of(connection, client, within.first, within.last, _MOST_THEMES)


def shown(point: Point, again: Sequence[Point] = ()) -> dict[str, Any]:
    """A point with its sentence, and where else it was said."""
    return {
        "line_id": line_id(point.conversation_id, point.position),
        "start": point.start,
        "end": point.end,
        "day": point.day.isoformat(),
        "conversation_id": point.conversation_id,
        "session_id": point.session_id,
        "title": point.title,
        "crew": point.crew,
        "speaker": point.speaker,
        "spoken_at": stamp(point.spoken_at),
        "text": point.text,
        "certainty": point.certainty,
        "times": point.times + sum(other.times for other in again),
        "again": [line_id(other.conversation_id, other.position) for other in again],
    }


def _keys(points: list[Point], most: int) -> list[Point]:
    """Those that together stand for most of what was said."""
    if not points:
        return []
    weights = np.array([point.weight for point in points], np.int64)
    rows = coverage.weightiest(weights)
    likeness = coverage.alike(stacked([points[row].vector for row in rows.tolist()]))
    chosen = coverage.choose(likeness, weights[rows], np.full(len(rows), _WHOLE, np.int64), most)
    return [points[row] for row in sorted(rows[chosen].tolist())]


def _once(points: list[Point], most: int) -> list[tuple[Point, list[Point]]]:
    """The most certain ones, what says the same once: each with those that say it again."""
    ranked = sorted(points, key=lambda point: (-point.certainty, -point.weight))[:_MOST_COMPARED]
    again = _again(ranked)
    kept: dict[int, list[Point]] = {}
    for row, point in enumerate(ranked):
        before = next((other for other in kept if (other, row) in again), None)
        if before is not None:
            kept[before].append(point)
        elif len(kept) < most:
            kept[row] = []
    return sorted(((ranked[row], _in_order(others)) for row, others in kept.items()), key=lambda one: _said_at(one[0]))


def _again(points: list[Point]) -> set[tuple[int, int]]:
    """The pairs of points of which one says what the other says: by the judge, of those that are near enough."""
    if not points:
        return set()
    near = np.argwhere(np.triu(coverage.alike(stacked([point.vector for point in points])) >= _COMPARED_AT, 1))
    pairs = [(int(one), int(other)) for one, other in near]
    judged = relations([point.text for point in points], pairs)
    return {pair for pair, relation in zip(pairs, judged, strict=True) if relation is Relation.AGAIN}


def _in_order(points: list[Point]) -> list[Point]:
    return sorted(points, key=_said_at)


def _said_at(point: Point) -> tuple[Any, ...]:
    return point.spoken_at, point.conversation_id, point.position, point.start


def _todo(point: Point, zone: str, present: Mapping[str, Sequence[str]]) -> dict[str, Any]:
    said_on = point.spoken_at.astimezone(ZoneInfo(zone)).date()
    found = todo(point.text, point.speaker, said_on, present.get(point.conversation_id, ()))
    return {"who": found.who, "due": found.due, "due_on": found.due_on and found.due_on.isoformat()}
