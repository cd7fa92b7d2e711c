"""A client's day as it is read: its document, or the conversations as they came where there is none."""

from __future__ import annotations

from typing import Any, Literal, NamedTuple

import orjson
from sqlalchemy import Connection

from crew_pipeline.dedup import document, views
from crew_pipeline.model import ClientDay, DayState
from crew_pipeline.storage.days import content, documents, preliminary, states

LinesShown = Literal["condensed", "full"]
PassagesShown = Literal["whole", "omit"]


class View(NamedTuple):
    """How a day is shown.

    Attributes:
        lines: ``condensed``: hidden lines below the one they are folded under; ``full``: each in its place.
        passages: ``whole``: texts as they are; ``omit``: without what is folded in them.
    """

    lines: LinesShown = "condensed"
    passages: PassagesShown = "whole"


AS_STORED = View()


class Unfinished(NamedTuple):
    """What there is of a day without a document.

    Attributes:
        version: changes whenever the bytes do.
        body: UTF-8 JSON like a document; None where the caller has this version.
        is_first_look: whether it is a preliminary result; else the lines as they came.
    """

    version: str
    body: bytes | None
    is_first_look: bool


def unfinished(
    connection: Connection, client_day: ClientDay, view: View, known: str = "", *, first_look: bool = True
) -> Unfinished:
    """A day that is not ready: its first look, or its lines as they came.

    Args:
        known: the version that the caller has in this view.
        first_look: whether a preliminary result may be shown.
    """
    if first_look and (look := preliminary.current(connection, client_day, known)):
        return Unfinished(look.version, None if look.body is None else in_view(look.body, view), True)
    version = content.version_of(connection, client_day)
    return Unfinished(version, None if version == known else raw(connection, client_day, view), False)


def raw(connection: Connection, client_day: ClientDay, view: View = AS_STORED) -> bytes:
    """The conversations as they came, nothing folded: UTF-8 JSON like a document."""
    conversations = content.conversations_of(connection, client_day)
    lines = content.lines_of(connection, client_day)
    return in_view(document.raw(client_day.client, conversations, lines).body, view)


def in_view(body: bytes, view: View) -> bytes:
    """A document's bytes as a view shows them."""
    if view == AS_STORED:
        return body
    entries = orjson.loads(body)
    if view.passages == "omit":
        views.without_passages(entries)
    if view.lines == "full":
        views.full_view(entries)
    return orjson.dumps(entries)


def read_day(connection: Connection, client_day: ClientDay, fingerprint: str, view: View) -> dict[str, Any]:
    """The answer that the API gives for a day, without waiting for one that is not ready.

    Args:
        fingerprint: of the engine in force.
    """
    stored = documents.current(connection, client_day, fingerprint)
    status = states.status_of(connection, client_day)
    if stored is not None and stored.body is not None:
        body = in_view(stored.body, view)
    else:
        body = raw(connection, client_day, view)
    ready = stored is not None or status is None
    return {
        "success": True,
        "data": orjson.loads(body),
        "metadata": {
            "processing_status": DayState.COMPLETED if ready or status is None else status.state,
            "cache_hit": stored is not None,
            "semantic_enabled": True,
            "stale": stored is not None and stored.stale,
            "version": stored.version if stored else None,
            "processed_at": document.stamp(stored.processed_at) if stored else None,
            "character_count": stored.character_count if stored else None,
            "hidden_character_count": stored.hidden_character_count if stored else None,
        },
    }


def read_line(connection: Connection, client: str, line_id: str, fingerprint: str) -> dict[str, Any] | None:
    """One line whole, with what it hides or where it is hidden, as its day stands; None where there is none.

    Args:
        fingerprint: of the engine in force.
    """
    conversation_id, _, position = line_id.rpartition("-")
    day = content.day_of(connection, client, conversation_id, position)
    if day is None:
        return None
    client_day = ClientDay(client, day)
    stored = documents.current(connection, client_day, fingerprint)
    # What came since the document was made stands among the raw lines alone.
    found = _line_in(stored.body, conversation_id, line_id) if stored and stored.body else None
    found = found or _line_in(raw(connection, client_day), conversation_id, line_id)
    return {**found, "conversation_id": conversation_id, "day": day.isoformat()} if found else None


def _line_in(body: bytes, conversation_id: str, line_id: str) -> dict[str, Any] | None:
    """The line of a document, in its place."""
    entries: list[dict[str, Any]] = orjson.loads(body)
    views.full_view(entries)
    lines = (line for entry in entries if entry["id"] == conversation_id for line in entry["display_conversation"])
    return next((line for line in lines if line["line_id"] == line_id), None)
