"""Chats as Open WebUI exports them: trees of messages, of which the branch last seen is read."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from crew_pipeline.discovery.content import content_of
from crew_pipeline.discovery.exports.files import Files, Member
from crew_pipeline.discovery.exports.found import Found, from_epoch, is_number
from crew_pipeline.discovery.exports.objects import conversations
from crew_pipeline.discovery.reading import Reading
from crew_pipeline.discovery.records import Limits, RejectedLineError

_SPOKEN = ("user", "assistant")


def read(files: Files, members: Sequence[Member], limits: Limits, reading: Reading) -> Iterator[Found]:
    """What user and assistant said to each other, numbered from 0 in each chat."""
    return conversations(files, members, "chat", lambda entry: _lines(entry, reading))


def _lines(entry: Mapping[str, Any], reading: Reading) -> Iterator[Found]:
    chat = entry["chat"] if isinstance(entry["chat"], Mapping) else {}
    session, title = entry.get("id"), entry.get("title") or chat.get("title")
    where = f"chat {str(title or session)[:80]}"
    if not isinstance(session, str):
        yield Found(RejectedLineError("it has no id; export it again"), where=where)
        return
    reading.entitle(session, title)
    moment = entry.get("created_at")
    position = 0
    for message in _branch(chat):
        moment = message.get("timestamp") or moment
        content = content_of(message.get("content"))
        reading.leave_out(+content.left_out)
        if message.get("role") not in _SPOKEN or not content.text:
            reading.leave_out({"empty messages" if message.get("role") in _SPOKEN else "settings": 1})
            continue
        try:
            created_at = from_epoch(moment) if is_number(moment) else moment
        except RejectedLineError as refusal:
            yield Found(refusal, where=where)
            continue
        record = {
            "session_id": session,
            "line": position,
            "created_at": created_at,
            "speaker": message["role"],
            "text": content.text,
        }
        yield Found(record, where=where)
        position += 1


def _branch(chat: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """The messages from the first to the one last seen; those of a list where there is no tree."""
    history = chat.get("history")
    tree = history.get("messages") if isinstance(history, Mapping) else None
    if not isinstance(history, Mapping) or not isinstance(tree, Mapping):
        listed = chat.get("messages")
        return [one for one in listed if isinstance(one, Mapping)] if isinstance(listed, list) else []
    branch: list[Mapping[str, Any]] = []
    at, seen = history.get("currentId"), set()
    while isinstance(at, str) and at not in seen:
        seen.add(at)
        message = tree.get(at)
        if not isinstance(message, Mapping):
            break
        branch.append(message)
        at = message.get("parentId")
    return branch[::-1]
