"""How an idea developed: the points of a theme in their order, with what was first said, changed and contradicted."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Connection

from crew_pipeline.history.relations import Relation, relations
from crew_pipeline.history.summaries.points import stacked
from crew_pipeline.history.summaries.reading import shown
from crew_pipeline.history.themes.grid import similarities
from crew_pipeline.storage.history import points as store
from crew_pipeline.storage.history.points import Point, Within

_MOST = 100
"""Points of each kind."""
_SAME_MATTER = 0.5
"""Cosine from which on two points are held against each other."""
_LOOKED_AT = 8
"""Earlier points that each is held against, the nearest ones."""
_FIRST = "first"
_STRONGEST = (Relation.CONTRADICTED, Relation.CHANGED, Relation.AGAIN)


def development(connection: Connection, client: str, theme: int) -> list[dict[str, Any]]:
    """The steps of a theme, in the order in which they were said. Each with what it does with an earlier one, which is
    named: ``first`` says something that no earlier one says."""
    points = store.read(connection, client, Within(theme=theme), _MOST)
    pairs = _pairs(points)
    found = relations([point.text for point in points], pairs)
    steps: dict[int, tuple[Relation, int]] = {}
    for (old, new), relation in zip(pairs, found, strict=True):
        known = steps.get(new)
        if relation in _STRONGEST and (known is None or _STRONGEST.index(relation) < _STRONGEST.index(known[0])):
            steps[new] = relation, old
    return [_shown(points, row, steps.get(row)) for row in range(len(points))]


def _pairs(points: list[Point]) -> list[tuple[int, int]]:
    """Each point with the nearest of those that were said before it."""
    if not points:
        return []
    vectors = stacked([point.vector for point in points])
    cosines = similarities(vectors, vectors)
    return [
        (old, new)
        for new in range(len(points))
        for old in (-cosines[new, :new]).argsort(kind="stable")[:_LOOKED_AT].tolist()
        if cosines[new, old] >= _SAME_MATTER
    ]


def _shown(points: list[Point], row: int, step: tuple[Relation, int] | None) -> dict[str, Any]:
    relation, of = (step[0].value, shown(points[step[1]])) if step is not None else (_FIRST, None)
    return shown(points[row]) | {"kind": points[row].kind, "step": relation, "of": of}
