"""The day document: conversations with their visible lines, each hidden line below the line it is folded under, and in
each visible line what stood before in the day.

Plain Python over tuples, no data frames: the API builds raw answers with it and must stay small.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import orjson

from crew_pipeline.dedup import standing
from crew_pipeline.dedup.feedback import Feedback
from crew_pipeline.dedup.repeats import DayPassages
from crew_pipeline.dedup.verification import DocumentError, line_id, stamp, verify
from crew_pipeline.model import Conversation, Fold, Folds, Line, LineKey, Repeat

__all__ = ["Document", "DocumentError", "build", "line_id", "raw", "stamp", "verify"]


@dataclass(frozen=True)
class Document:
    """A finished day.

    Attributes:
        body: UTF-8 JSON, the array of conversations as the API sends it.
        version: 32 hex digits over the body and the engine's fingerprint.
        conversation_count, line_count, hidden_count: of the whole day.
        character_count, hidden_character_count: code points of all texts, and of what is folded: hidden lines, and what
            repeats in visible ones.
        standing: the standing text of each voice that has one: ``Standing`` with ``crew`` and ``speaker``.
    """

    body: bytes
    version: str
    conversation_count: int
    line_count: int
    hidden_count: int
    character_count: int
    hidden_character_count: int
    standing: Sequence[Mapping[str, Any]]


def build(
    client: str,
    conversations: Iterable[Conversation],
    lines: Iterable[Line],
    folds: Folds,
    engine: str,
    feedback: Feedback | None = None,
) -> Document:
    """Build the condensed document of a client's day.

    Conversations are in order of their start, lines in the order of their source; hidden lines in order of time.

    Args:
        engine: fingerprint of the engine that made the folds; part of the version.
        feedback: what people have said; here about passages.

    Raises:
        DocumentError: a line would be lost, shown twice, or hidden without a visible canonical line.
    """
    day, talks = _Day(lines, folds), list(conversations)
    crews = {talk.id: talk.crew for talk in talks}
    return _document(client, talks, day, _inside(day.visible, crews, feedback or Feedback()), engine)


def raw(client: str, conversations: Iterable[Conversation], lines: Iterable[Line]) -> Document:
    """A client's day as it came, nothing folded."""
    return _document(client, conversations, _Day(lines, {}), {}, "raw")


class _Inside(NamedTuple):
    """What is folded inside a line, and the entry of the standing text that it is its voice's first to say."""

    repeats: tuple[Repeat, ...] = ()
    standing: dict[str, Any] | None = None


def _inside(visible: Sequence[Line], crews: Mapping[str, str], feedback: Feedback) -> dict[LineKey, _Inside]:
    """What is folded inside visible lines.

    Args:
        crews: the crew of each conversation.
    """
    day = DayPassages.of(visible, feedback.shown)
    heads = standing.heads(day, visible, crews)
    found: dict[LineKey, _Inside] = {}
    for key in day.lines:
        head = heads.get(key)
        if head is None:
            found[key] = _Inside(tuple(day.repeats(key)))
        elif head.is_first:
            # Part of it may stand elsewhere, in another voice's text; where, its repeats say.
            entry = {**head.standing._asdict(), "spans": _spans(head.shown(day, key))}
            if feedback.hidden and (hidden := head.shown(day, key, feedback.hidden)):
                entry["hidden"] = _spans(hidden)
            found[key] = _Inside(tuple(day.repeats(key)), entry)
        else:
            found[key] = _Inside(tuple(day.repeats(key, head.length, head.standing.name)))
    return found


def _spans(places: Iterable[tuple[int, int]]) -> list[dict[str, int]]:
    return [{"start": start, "end": end} for start, end in places]


class _Day:
    """The lines of a day, in the order of their source, and what is hidden under what."""

    def __init__(self, lines: Iterable[Line], folds: Folds) -> None:
        self.lines = sorted(lines, key=_key)
        present = {_key(line) for line in self.lines}
        canonical = {fold.cluster_id: key for key, fold in folds.items() if fold.is_canonical and key in present}
        # A line whose canonical line is gone (withdrawn since the clusters were made) is shown, never lost.
        self.folds = {key: fold for key, fold in folds.items() if fold.cluster_id in canonical}
        self.visible: list[Line] = []
        self.hidden: dict[LineKey, list[tuple[Line, Fold]]] = {}
        for line in self.lines:
            fold = self.folds.get(_key(line))
            if fold is None or fold.is_canonical:
                self.visible.append(line)
            else:
                self.hidden.setdefault(canonical[fold.cluster_id], []).append((line, fold))


@dataclass
class _Counts:
    """Of a conversation."""

    lines: int = 0
    hidden: int = 0
    characters: int = 0
    hidden_characters: int = 0


def _key(line: Line) -> LineKey:
    return line.conversation_id, line.position


def _document(
    client: str,
    conversations: Iterable[Conversation],
    day: _Day,
    inside: Mapping[LineKey, _Inside],
    engine: str,
) -> Document:
    counts = _counts(day, inside)
    shown: dict[str, list[dict[str, Any]]] = {}
    for line in day.visible:
        entry = _line_entry(line, day, inside.get(_key(line), _Inside()))
        shown.setdefault(line.conversation_id, []).append(entry)
    entries = [
        _conversation_entry(client, one, counts.get(one.id, _Counts()), shown.get(one.id, []))
        for one in sorted(conversations, key=lambda conversation: (conversation.started_at, conversation.id))
    ]
    verify(day.lines, entries)
    body = orjson.dumps(entries)
    return Document(
        body=body,
        version=hashlib.sha256(engine.encode() + b"\n" + body).hexdigest()[:32],
        conversation_count=len(entries),
        line_count=len(day.lines),
        hidden_count=sum(count.hidden for count in counts.values()),
        character_count=sum(count.characters for count in counts.values()),
        hidden_character_count=sum(count.hidden_characters for count in counts.values()),
        standing=[
            {"crew": entry["crew"], "speaker": shown["speaker"], **_without(shown["standing"], "spans", "hidden")}
            for entry in entries
            for shown in entry["display_conversation"]
            if "standing" in shown
        ],
    )


def _without(entry: Mapping[str, Any], *names: str) -> dict[str, Any]:
    return {key: value for key, value in entry.items() if key not in names}


def _counts(day: _Day, inside: Mapping[LineKey, _Inside]) -> dict[str, _Counts]:
    counts: dict[str, _Counts] = {}
    for line in day.lines:
        count = counts.setdefault(line.conversation_id, _Counts())
        count.lines += 1
        count.characters += len(line.text)
        folded = inside.get(_key(line), _Inside()).repeats
        count.hidden_characters += sum(repeat.end - repeat.start for repeat in folded)
    for hidden in day.hidden.values():
        for line, _ in hidden:
            counts[line.conversation_id].hidden += 1
            counts[line.conversation_id].hidden_characters += len(line.text)
    return counts


def _conversation_entry(
    client: str, conversation: Conversation, counts: _Counts, shown: list[dict[str, Any]]
) -> dict[str, Any]:
    return {
        "id": conversation.id,
        "session_id": conversation.session_id,
        "client": client,
        "crew": conversation.crew,
        "title": conversation.title,
        "started_at": stamp(conversation.started_at),
        "ended_at": stamp(conversation.ended_at),
        "line_count": counts.lines,
        "hidden_count": counts.hidden,
        "character_count": counts.characters,
        "hidden_character_count": counts.hidden_characters,
        **({"times_inferred": True} if conversation.times_inferred else {}),
        "display_conversation": shown,
    }


def _line_entry(line: Line, day: _Day, inside: _Inside) -> dict[str, Any]:
    key = _key(line)
    fold = day.folds.get(key)
    variations = sorted(day.hidden.get(key, []), key=lambda pair: (pair[0].spoken_at, _key(pair[0])))
    scores = [evidence.probability for _, evidence in variations]
    return {
        "line_id": line_id(*key),
        "speaker": line.speaker,
        "spoken_at": stamp(line.spoken_at),
        "text": line.text,
        **({"repeats": [_repeat_entry(repeat) for repeat in inside.repeats]} if inside.repeats else {}),
        **({"standing": inside.standing} if inside.standing else {}),
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


def _repeat_entry(repeat: Repeat) -> dict[str, Any]:
    return {
        "start": repeat.start,
        "end": repeat.end,
        "of": {"line_id": line_id(*repeat.of), "start": repeat.of_start},
        "lines": repeat.lines,
        **({"times": repeat.times} if repeat.times > 1 else {}),
        "reason": repeat.reason,
        **({"within": repeat.within} if repeat.within else {}),
    }
