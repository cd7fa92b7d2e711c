"""Telegram's ``result.json``: one chat, or all of an account."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from crew_pipeline.discovery.content import content_of
from crew_pipeline.discovery.exports.files import Files, Member
from crew_pipeline.discovery.exports.found import Found, from_epoch
from crew_pipeline.discovery.exports.headed import messages
from crew_pipeline.discovery.reading import Reading
from crew_pipeline.discovery.records import Limits, RejectedLineError

_NOBODY = "Deleted account"
_MEDIA = ("photo", "file", "media_type", "sticker_emoji", "location_information", "contact_information", "poll")


def read(files: Files, members: Sequence[Member], limits: Limits, reading: Reading) -> Iterator[Found]:
    """What was said in each chat; a message's position is its own number."""
    return messages(files, members, lambda chat, message, _member: _line(chat, message, reading))


def _line(chat: Mapping[str, Any], message: Mapping[str, Any], reading: Reading) -> Iterator[Found]:
    if message.get("type") not in (None, "message"):
        reading.leave_out({"notes of Telegram": 1})
        return
    content = content_of(message.get("text"))
    reading.leave_out(+content.left_out)
    # Words and links of one message follow one another without a break.
    text = "".join(content.texts).strip()
    if not text:
        reading.leave_out({"media" if any(name in message for name in _MEDIA) else "empty messages": 1})
        return
    named = chat.get("name") or chat.get("type") or "chat"
    session = f"{chat['id']}" if "id" in chat else str(named)
    reading.entitle(session, named)
    unix = message.get("date_unixtime")
    try:
        moment: object = from_epoch(int(unix)) if isinstance(unix, str) and unix.isdigit() else message.get("date")
    except RejectedLineError as refusal:
        yield Found(refusal, where=str(named)[:80])
        return
    record = {
        "session_id": session,
        "line": message.get("id"),
        "created_at": moment,
        "speaker": message.get("from") or _NOBODY,
        "text": text,
    }
    yield Found(record, where=str(named)[:80])
