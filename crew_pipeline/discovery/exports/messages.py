"""Conversations as programs hand them to models: objects with a list ``messages`` of ``{role, content}``.

A message has its own time, its conversation's, or none: then the lines carry when they were first seen.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import orjson

from crew_pipeline.discovery.exports.columns import COMMON_NAMES
from crew_pipeline.discovery.exports.files import Files, Member
from crew_pipeline.discovery.exports.found import Found, from_epoch, is_number
from crew_pipeline.discovery.exports.objects import conversations
from crew_pipeline.discovery.messages import speaker_and_text
from crew_pipeline.discovery.reading import Reading
from crew_pipeline.discovery.records import LeftOutError, Limits, RejectedLineError

_PROMPTS = ("system", "developer")


def read(files: Files, members: Sequence[Member], limits: Limits, reading: Reading) -> Iterator[Found]:
    """The messages, numbered from 0 in each conversation; instructions to the model are left out."""
    return conversations(files, members, "messages", lambda entry: _lines(entry, limits, reading))


def _lines(entry: Mapping[str, Any], limits: Limits, reading: Reading) -> Iterator[Found]:
    messages = entry["messages"]
    session = _first(entry, (*COMMON_NAMES["session_id"], "id", "uuid")) or _digest(messages)
    reading.entitle(str(session), _first(entry, COMMON_NAMES["title"]))
    own = _first(entry, COMMON_NAMES["created_at"])
    for position, message in enumerate(messages if isinstance(messages, list) else []):
        if isinstance(message, Mapping) and message.get("role") in _PROMPTS:
            reading.leave_out({"instructions": 1})
            continue
        left_out: Counter[str] = Counter()
        try:
            speaker, text = speaker_and_text(message, left_out)
            moment = _first(message, COMMON_NAMES["created_at"]) or own
            created_at: object = from_epoch(moment) if is_number(moment) else moment
        except LeftOutError as passed:
            reading.leave_out(passed.kinds)
            continue
        except RejectedLineError as refusal:
            yield Found(refusal, where=f"conversation {str(session)[:80]}")
            continue
        reading.leave_out(left_out)
        record = {
            "session_id": str(session),
            "line": position,
            "created_at": created_at or limits.now,
            "time_inferred": not created_at,
            "speaker": speaker,
            "text": text,
        }
        yield Found(record, where=f"conversation {str(session)[:80]}")


def _first(fields: Mapping[str, Any], names: Sequence[str]) -> Any:
    return next((fields[name] for name in names if fields.get(name) not in (None, "")), None)


def _digest(messages: object) -> str:
    """A name for a conversation that has none, by how it begins."""
    head = messages[:2] if isinstance(messages, list) else messages
    return hashlib.blake2b(orjson.dumps(head, default=str), digest_size=8).hexdigest()
