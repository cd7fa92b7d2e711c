"""Channels as DiscordChatExporter writes them in JSON; its CSV is read as a table."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from crew_pipeline.discovery.exports.files import Files, Member
from crew_pipeline.discovery.exports.found import Found
from crew_pipeline.discovery.exports.headed import messages
from crew_pipeline.discovery.reading import Reading
from crew_pipeline.discovery.records import Limits

_SAID = (None, "Default", "Reply", "ThreadStarterMessage", "ChatInputCommand")


def read(files: Files, members: Sequence[Member], limits: Limits, reading: Reading) -> Iterator[Found]:
    """What was said in each channel; a message's position is its own number."""
    return messages(files, members, lambda head, message, member: _line(head, message, member, reading))


def _line(head: Mapping[str, Any], message: Mapping[str, Any], member: Member, reading: Reading) -> Iterator[Found]:
    channel, guild = (_fields(head.get(name)) for name in ("channel", "guild"))
    where = str(channel.get("name") or member.base)[:80]
    if message.get("type") not in _SAID:
        reading.leave_out({"notes of Discord": 1})
        return
    attachments, embeds = message.get("attachments"), message.get("embeds")
    shown = len(attachments) if isinstance(attachments, list) else 0
    if shown:
        reading.leave_out({"files": shown})
    text = str(message.get("content") or "").strip() or "\n".join(_embedded(embeds))
    if not text:
        if not shown:
            reading.leave_out({"empty messages": 1})
        return
    session = str(channel.get("id") or member.base)
    reading.entitle(session, " / ".join(str(one["name"]) for one in (guild, channel) if one.get("name")))
    author = _fields(message.get("author"))
    number = message.get("id")
    record = {
        "session_id": session,
        "line": int(number) if isinstance(number, str) and number.isdigit() else number,
        "created_at": message.get("timestamp"),
        "speaker": author.get("nickname") or author.get("name"),
        "text": text,
    }
    yield Found(record, where=where)


def _embedded(embeds: object) -> Iterator[str]:
    """What a message of a program shows in cards, where it says nothing beside them."""
    for embed in embeds if isinstance(embeds, list) else []:
        card = _fields(embed)
        for words in (card.get("title"), card.get("description")):
            if isinstance(words, str) and words.strip():
                yield words.strip()


def _fields(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}
