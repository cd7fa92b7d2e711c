"""Claude exports: conversations as lists of messages, of which the text and what was pasted beside it are read."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from crew_pipeline.discovery.content import Content, content_of
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
        content = _content(message)
        reading.leave_out(+content.left_out)
        text = content.text
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


def _content(message: Mapping[str, Any]) -> Content:
    """What a message holds: its parts, or its plain text where it has none; then the text that was pasted beside it."""
    parts, plain = message.get("content"), message.get("text")
    content = content_of(parts if isinstance(parts, list) and parts else plain if isinstance(plain, str) else None)
    content.calls.clear()  # a tool's call stands between the parts that say what came of it
    attachments, files = message.get("attachments"), message.get("files")
    for attachment in attachments if isinstance(attachments, list) else []:
        pasted = attachment.get("extracted_content") if isinstance(attachment, Mapping) else None
        if isinstance(pasted, str) and pasted.strip():
            content.texts.append(pasted)
        else:
            content.left_out["files"] += 1
    content.left_out["files"] += len(files) if isinstance(files, list) else 0
    return content
