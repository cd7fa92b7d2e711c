"""Keeps a client's points those of its days: one day at a time, as documents and their vectors come."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import orjson

from crew_pipeline.dedup.embedding import model_id
from crew_pipeline.dedup.text import normalise, text_hash
from crew_pipeline.history.embedding import shown_parts
from crew_pipeline.history.summaries.classifier import classifier
from crew_pipeline.history.summaries.cues import Said
from crew_pipeline.history.summaries.points import VERSION, points_of, without_routine
from crew_pipeline.model import BUNDLED_MODEL, ClientDay, EngineOptions, line_key
from crew_pipeline.storage.conversations import searched
from crew_pipeline.storage.database import Database
from crew_pipeline.storage.days.queue import Work
from crew_pipeline.storage.history import points as store
from crew_pipeline.storage.history import themes
from crew_pipeline.storage.history.points import Due, PointRow


class Chosen(NamedTuple):
    """How many points of each kind a day has now."""

    key: int = 0
    decision: int = 0
    task: int = 0
    question: int = 0


def how() -> str:
    """In which way points are chosen: another one has all days' points chosen anew."""
    return f":{classifier().fingerprint}:{VERSION}"


def days_without(db: Database, most: int) -> list[Work]:
    """Days whose points are not those of their document, of any client, newest first."""
    with db.read() as connection:
        return store.days_without(connection, model_id(BUNDLED_MODEL), how(), most)


def summarise(
    db: Database,
    client_day: ClientDay,
    options: EngineOptions,
    *,
    anew: bool = False,
    rest: Callable[[], object] = lambda: None,
) -> Chosen | None:
    """Choose the points of a client's day; may be done twice, or broken off.

    Args:
        anew: also where they are known.
        rest: called when they are chosen.

    Returns:
        None where nothing is to be done: they are known, or the day has no vectors yet.
    """
    with db.read() as connection:
        due = store.due(connection, client_day, model_id(BUNDLED_MODEL), "" if anew else how())
        is_gone = store.is_gone(connection, client_day)
    if is_gone:
        with db.write() as connection:
            store.replace_day(connection, client_day, None, "", ())
        return Chosen()
    if due is None:
        return None
    rows = _chosen(db, client_day, due, options)
    rest()
    with db.write() as connection:
        # Who forgets holds the same lock: what is erased meanwhile does not come back.
        themes.lock(connection, client_day.client)
        if themes.document(connection, client_day, due.version) is None:
            return None
        store.replace_day(connection, client_day, due.version, due.model + how(), rows)
    kinds = [row.kind for row in rows]
    return Chosen(*map(kinds.count, store.KINDS))


def _chosen(db: Database, client_day: ClientDay, due: Due, options: EngineOptions) -> list[PointRow]:
    with db.read() as connection:
        body = themes.document(connection, client_day, due.version)
        entries = orjson.loads(body) if body is not None else []
        vectors = searched.vectors(connection, client_day.client, due.model, sorted(_hashes(entries, options)))
    folded = _folded(entries)
    return without_routine(
        [row for entry in entries for row in points_of(entry, options, vectors, folded.get(entry["id"], ()))]
    )


def _folded(entries: Sequence[Mapping[str, Any]]) -> dict[str, list[Said]]:
    """What a document hides, by the conversation in which it was said."""
    found: dict[str, list[Said]] = {}
    for entry in entries:
        for line in entry["display_conversation"]:
            for hidden in line["hidden_variations"]:
                key = line_key(hidden["line_id"])
                assert key is not None
                found.setdefault(key[0], []).append(Said(key[1], hidden["speaker"], hidden["text"]))
    return found


def _hashes(entries: Sequence[Mapping[str, Any]], options: EngineOptions) -> set[bytes]:
    return {
        text_hash(normalise(part))
        for entry in entries
        for line in entry["display_conversation"]
        for part in shown_parts(line, options)
    }
