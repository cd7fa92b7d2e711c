"""What was said before about a conversation or a day: when last, what was decided, what is still open."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import Connection

from crew_pipeline.history.relations import Relation, relations
from crew_pipeline.history.summaries.points import stacked
from crew_pipeline.history.summaries.reading import shown
from crew_pipeline.history.themes.grid import Grid, similarities
from crew_pipeline.storage.history import points as store
from crew_pipeline.storage.history.points import DECISION, QUESTION, TASK, Before, Point, Within

_MOST_EARLIER = 20_000
_MOST_OWN = 16
"""Points of each kind."""
_CANDIDATES = 30
_LEAST = 0.5
_ABOVE_USUAL = 3.0
_FEWEST_USUAL = 50
_MOST = 6
_MOST_RELATED, _SHOWN_POINTS = 4, 2
_SETTLED = 0.55
"""Cosine of a decision with a question from which on it settles it, where it came later."""
_REVISED = (Relation.CHANGED, Relation.CONTRADICTED)


class Own(NamedTuple):
    """What is recalled for.

    Attributes:
        texts, vectors: what is said now: int8 (n, dimension).
        before: what counts as said before.
    """

    texts: list[str]
    vectors: Grid
    before: Before = Before()


def recall(connection: Connection, client: str, own: Own) -> dict[str, Any]:
    """``last``: where it was spoken of last; ``related``: the conversations that spoke of it most; ``decided``:
    decisions that stand, with those whose place they took; ``open``: questions that no later decision settles;
    ``tasks``."""
    if not len(own.vectors):
        return _nothing()
    earlier = store.earlier(connection, client, own.before, _MOST_EARLIER)
    if not earlier.keys:
        return _nothing()
    near, nearest = _near(own.vectors, earlier.vectors)
    ranked = np.argsort(-near, kind="stable")
    by_kind = {
        kind: [row for row in ranked.tolist() if near[row] > 0 and earlier.kinds[row] == kind][:_CANDIDATES]
        for kind in store.KINDS
    }
    chosen = sorted({row for rows in by_kind.values() for row in rows})
    found = store.at(connection, client, [earlier.keys[row] for row in chosen])
    there = {row: found[earlier.keys[row]] for row in chosen if earlier.keys[row] in found}
    because = {
        row: {"similarity": round(float(near[row]), 4), "said_now": own.texts[int(nearest[row])]} for row in there
    }

    def told(kind: str) -> list[tuple[Point, dict[str, Any]]]:
        return [(there[row], because[row]) for row in by_kind[kind] if row in there]

    decisions = told(DECISION)
    standing, revised = _standing([point for point, _ in decisions])
    everything = [(point, because[row]) for row, point in there.items()]
    return {
        "last": _last(everything),
        "related": _related(everything),
        "decided": _shown([one for one in decisions if _key(one[0]) in standing], revised),
        "open": _shown(_unsettled(told(QUESTION), [point for point, _ in decisions]), {}),
        "tasks": _shown(told(TASK), {}),
    }


def own_of(connection: Connection, client: str, within: Within) -> Own:
    """What the points of a conversation or a day say."""
    points = store.read(connection, client, within, _MOST_OWN)
    before = Before(day=within.first)
    if within.conversation_id is not None:
        before = store.begins(connection, client, within.conversation_id)
    return Own([point.text for point in points], stacked([point.vector for point in points]), before)


def _nothing() -> dict[str, Any]:
    return {"last": None, "related": [], "decided": [], "open": [], "tasks": []}


def _near(own: Grid, earlier: Grid) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """How near each earlier point is to the nearest of one's own, 0 where that is nothing unusual; and which it is."""
    cosines = similarities(own, earlier)
    floors = np.full(len(own), _LEAST, np.float32)
    if cosines.shape[1] >= _FEWEST_USUAL:
        floors = np.maximum(floors, cosines.mean(axis=1) + _ABOVE_USUAL * cosines.std(axis=1))
    near = np.where(cosines >= floors[:, np.newaxis], cosines, 0)
    nearest = near.argmax(axis=0)
    return near[nearest, np.arange(near.shape[1])], nearest


def _last(found: Sequence[tuple[Point, dict[str, Any]]]) -> dict[str, Any] | None:
    """The newest conversation that spoke of it, with what shows it best."""
    if not found:
        return None
    newest = max((point.day, point.spoken_at, point.conversation_id) for point, _ in found)
    there = [one for one in found if one[0].conversation_id == newest[2]]
    point, why = max(there, key=lambda one: (one[1]["similarity"], -one[0].position))
    return shown(point) | why | {"revises": []}


def _related(found: Sequence[tuple[Point, dict[str, Any]]]) -> list[dict[str, Any]]:
    """The conversations with most that is near, each with what is nearest of it."""
    by_conversation: dict[str, list[tuple[Point, dict[str, Any]]]] = {}
    for one in sorted(found, key=lambda one: (-one[1]["similarity"], _key(one[0]))):
        by_conversation.setdefault(one[0].conversation_id, []).append(one)
    ranked = sorted(
        by_conversation.values(), key=lambda some: (-sum(one[1]["similarity"] for one in some), _key(some[0][0]))
    )
    return [
        {
            "conversation_id": some[0][0].conversation_id,
            "day": some[0][0].day.isoformat(),
            "session_id": some[0][0].session_id,
            "title": some[0][0].title,
            "crew": some[0][0].crew,
            "points": [shown(point) | why | {"revises": []} for point, why in some[:_SHOWN_POINTS]],
        }
        for some in ranked[:_MOST_RELATED]
    ]


def _shown(found: Sequence[tuple[Point, dict[str, Any]]], revised: dict[Any, list[Point]]) -> list[dict[str, Any]]:
    """The nearest ones, in the order in which they were said."""
    nearest = sorted(found[:_MOST], key=lambda one: (one[0].spoken_at, _key(one[0])))
    return [
        shown(point) | why | {"revises": [shown(old) for old in revised.get(_key(point), ())]} for point, why in nearest
    ]


def _key(point: Point) -> tuple[str, int, int]:
    return point.conversation_id, point.position, point.start


def _standing(decisions: Sequence[Point]) -> tuple[set[Any], dict[Any, list[Point]]]:
    """The decisions that no later one changes or contradicts, and which earlier ones each of these does."""
    ordered = sorted(decisions, key=lambda point: (point.spoken_at, _key(point)))
    pairs = [(old, new) for new in range(len(ordered)) for old in range(new)]
    found = relations([point.text for point in ordered], pairs)
    revised: dict[int, list[int]] = {}
    over: set[int] = set()
    for (old, new), relation in zip(pairs, found, strict=True):
        if relation in _REVISED and ordered[old].conversation_id != ordered[new].conversation_id:
            over.add(old)
            revised.setdefault(new, []).append(old)
    standing = {_key(point) for row, point in enumerate(ordered) if row not in over}
    return standing, {_key(ordered[new]): [ordered[row] for row in old] for new, old in revised.items()}


def _unsettled(
    questions: Sequence[tuple[Point, dict[str, Any]]], decisions: Sequence[Point]
) -> list[tuple[Point, dict[str, Any]]]:
    if not questions or not decisions:
        return list(questions)
    cosines = similarities(
        stacked([point.vector for point, _ in questions]), stacked([point.vector for point in decisions])
    )
    return [
        one
        for one, row in zip(questions, cosines, strict=True)
        if not any(
            cosine >= _SETTLED and decision.spoken_at > one[0].spoken_at
            for cosine, decision in zip(row.tolist(), decisions, strict=True)
        )
    ]
