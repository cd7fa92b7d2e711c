"""The day document: conversations with their visible lines, each hidden line below the line it is folded under.

Plain Python over tuples, no data frames: the API builds raw answers with it and must stay small.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import orjson

from crew_pipeline.model import Conversation, Fold, Folds, Line, LineKey


class DocumentError(ValueError):
    """A document would break an invariant; it must not be stored or served."""


@dataclass(frozen=True)
class Document:
    """A finished day.

    Attributes:
        body: UTF-8 JSON, the array of conversations as the API sends it.
        version: 32 hex digits over the body and the engine's fingerprint.
        conversation_count, line_count, hidden_count: of the whole day.
    """

    body: bytes
    version: str
    conversation_count: int
    line_count: int
    hidden_count: int


def line_id(conversation_id: str, position: int) -> str:
    """The public id of a line."""
    return f"{conversation_id}-{position}"


def build(
    client: str, conversations: Iterable[Conversation], lines: Iterable[Line], folds: Folds, engine: str
) -> Document:
    """Build the condensed document of a client's day; without folds it is the raw day.

    Conversations are in order of their start, lines in the order of their source; hidden lines in order of time.

    Args:
        engine: fingerprint of the engine that made the folds; part of the version.

    Raises:
        DocumentError: a line would be lost, shown twice, or hidden without a visible canonical line.
    """
    ordered = sorted(lines, key=lambda line: (line.conversation_id, line.position))
    present = {(line.conversation_id, line.position) for line in ordered}
    canonical = {fold.cluster_id: key for key, fold in folds.items() if fold.is_canonical and key in present}
    # A line whose canonical line is gone (withdrawn since the clusters were made) is shown, never lost.
    folds = {key: fold for key, fold in folds.items() if fold.cluster_id in canonical}
    hidden: dict[LineKey, list[tuple[Line, Fold]]] = {}
    visible: dict[str, list[Line]] = {}
    counts: dict[str, list[int]] = {}
    for line in ordered:
        fold = folds.get((line.conversation_id, line.position))
        count = counts.setdefault(line.conversation_id, [0, 0])
        count[0] += 1
        if fold is None or fold.is_canonical:
            visible.setdefault(line.conversation_id, []).append(line)
        else:
            count[1] += 1
            hidden.setdefault(canonical[fold.cluster_id], []).append((line, fold))
    entries = [
        _conversation_entry(
            client,
            conversation,
            counts.get(conversation.id, [0, 0]),
            [_line_entry(line, folds, hidden) for line in visible.get(conversation.id, [])],
        )
        for conversation in sorted(conversations, key=lambda conversation: (conversation.started_at, conversation.id))
    ]
    verify(ordered, entries)
    body = orjson.dumps(entries)
    return Document(
        body=body,
        version=hashlib.sha256(engine.encode() + b"\n" + body).hexdigest()[:32],
        conversation_count=len(entries),
        line_count=len(ordered),
        hidden_count=sum(hidden_count for _, hidden_count in counts.values()),
    )


def verify(lines: Sequence[Line], entries: Sequence[dict[str, Any]]) -> None:
    """Check that a document holds each of its lines exactly once, with the line's own speaker, time and words.

    Raises:
        DocumentError: naming the first line for which this is not so.
    """
    expected = {line_id(line.conversation_id, line.position): line for line in lines}
    seen: set[str] = set()
    for entry in entries:
        for shown in entry["display_conversation"]:
            for entered in (shown, *shown["hidden_variations"]):
                key = entered["line_id"]
                source = expected.get(key)
                if source is None or key in seen:
                    raise DocumentError(f"line {key} stands in the document twice or has no source")
                if (source.speaker, stamp(source.spoken_at), source.text) != (
                    entered["speaker"],
                    entered["spoken_at"],
                    entered["text"],
                ):
                    raise DocumentError(f"line {key} does not carry its own speaker, time and words")
                seen.add(key)
    if len(seen) != len(expected):
        raise DocumentError(f"{len(expected) - len(seen)} of {len(expected)} lines are missing from the document")


def full_view(body: bytes) -> bytes:
    """The same day with every line in its place; a hidden line names the line that represents it."""
    entries: list[dict[str, Any]] = orjson.loads(body)
    hidden: dict[str, list[dict[str, Any]]] = {}
    for entry in entries:
        for shown in entry["display_conversation"]:
            for variation in shown["hidden_variations"]:
                hidden.setdefault(variation["conversation_id"], []).append(
                    {
                        "line_id": variation["line_id"],
                        "speaker": variation["speaker"],
                        "spoken_at": variation["spoken_at"],
                        "text": variation["text"],
                        "is_unique": False,
                        "is_deduplicated": True,
                        "represents_cluster": None,
                        "canonical_confidence": None,
                        "hidden_variations": [],
                        "represented_by": shown["line_id"],
                        "similarity": variation["similarity"],
                        "probability": variation["probability"],
                        "reason": variation["reason"],
                    }
                )
    for entry in entries:
        for shown in entry["display_conversation"]:
            shown["represented_by"] = None
        entry["display_conversation"] = sorted(
            entry["display_conversation"] + hidden.get(entry["id"], []),
            key=lambda line: int(line["line_id"].rpartition("-")[2]),
        )
    return orjson.dumps(entries)


def stamp(moment: datetime) -> str:
    """A moment as the document writes it: UTC, ISO 8601, ``Z``."""
    return moment.astimezone(UTC).isoformat().replace("+00:00", "Z")


def _conversation_entry(
    client: str, conversation: Conversation, counts: list[int], shown: list[dict[str, Any]]
) -> dict[str, Any]:
    return {
        "id": conversation.id,
        "session_id": conversation.session_id,
        "client": client,
        "crew": conversation.crew,
        "title": conversation.title,
        "started_at": stamp(conversation.started_at),
        "ended_at": stamp(conversation.ended_at),
        "line_count": counts[0],
        "hidden_count": counts[1],
        **({"times_inferred": True} if conversation.times_inferred else {}),
        "display_conversation": shown,
    }


def _line_entry(line: Line, folds: Folds, hidden: dict[LineKey, list[tuple[Line, Fold]]]) -> dict[str, Any]:
    key = (line.conversation_id, line.position)
    fold = folds.get(key)
    variations = sorted(
        hidden.get(key, []), key=lambda pair: (pair[0].spoken_at, pair[0].conversation_id, pair[0].position)
    )
    scores = [evidence.probability for _, evidence in variations]
    return {
        "line_id": line_id(*key),
        "speaker": line.speaker,
        "spoken_at": stamp(line.spoken_at),
        "text": line.text,
        "is_unique": not variations,
        "is_deduplicated": bool(variations),
        "represents_cluster": fold.cluster_id if fold and variations else None,
        "canonical_confidence": round(sum(scores) / len(scores), 4) if scores else None,
        "hidden_variations": [
            {
                "line_id": line_id(variation.conversation_id, variation.position),
                "conversation_id": variation.conversation_id,
                "speaker": variation.speaker,
                "spoken_at": stamp(variation.spoken_at),
                "text": variation.text,
                "similarity": evidence.similarity,
                "probability": evidence.probability,
                "reason": evidence.reason,
            }
            for variation, evidence in variations
        ],
    }
