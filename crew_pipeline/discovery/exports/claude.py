"""Claude exports: conversations as lists of messages, of which the text is read."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from crew_pipeline.discovery.exports.files import Files, Member
from crew_pipeline.discovery.exports.found import Found
from crew_pipeline.discovery.exports.objects import conversations
from crew_pipeline.discovery.reading import Reading
from crew_pipeline.discovery.records import Limits, RejectedLineError


def read(files: Files, members: Sequence[Member], limits: Limits, reading: Reading) -> Iterator[Found]:
    """What human and assistant said to each other, numbered from 0 in each conversation."""
    return conversations(files, members, "chat_messages", lambda conversation: _lines(conversation, reading))


def _lines(conversation: Mapping[str, Any], reading: Reading) -> Iterator[Found]:
    session_id, messages = conversation.get("uuid"), conversation["chat_messages"]
    where = f"conversation {str(session_id or conversation.get('name'))[:80]}"
    if not isinstance(session_id, str) or not isinstance(messages, list):
        yield Found(RejectedLineError("it has no uuid or no list of messages; export it again"), where=where)
        return
    reading.entitle(session_id, conversation.get("name"))
    moment = conversation.get("created_at")
    position = 0
    for message in messages:
        if not isinstance(message, Mapping):
            yield Found(RejectedLineError("a message is no object; export it again"), where=where)
            continue
        moment = message.get("created_at") or moment
        text = _text(message)
        if text:
            record = {
                "session_id": session_id,
                "line": position,
                "created_at": moment,
                "speaker": message.get("sender"),
                "text": text,
            }
            yield Found(record, where=where)
            position += 1


def _text(message: Mapping[str, Any]) -> str:
    """The text parts of a message, or its plain text where it has no parts; thoughts and tools are left out."""
    content = message.get("content")
    parts = content if isinstance(content, list) else []
    said = [part.get("text") for part in parts if isinstance(part, Mapping) and part.get("type") == "text"]
    texts = [text.strip() for text in said if isinstance(text, str) and text.strip()]
    plain = message.get("text")
    return "\n".join(texts) if parts or not isinstance(plain, str) else plain.strip()
