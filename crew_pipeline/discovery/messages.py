"""Messages of history tables: who speaks and what is said, whatever shape the message has."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import orjson

from crew_pipeline.discovery.records import RejectedLineError

_SPEAKER_FIELDS = ("speaker", "name", "role", "type", "sender")
_TEXT_FIELDS = ("text", "content", "message", "body")


def speaker_and_text(message: object) -> tuple[str, str]:
    """Speaker and text of a message: an object, or its JSON text.

    Flat messages (n8n: ``{type, content}``; ``{role, content}``; ``{speaker, text}``) and nested ones (LangChain:
    ``{type, data: {content}}``) are known. The text of one that only calls tools names them.

    Raises:
        RejectedLineError: it is no object, or holds no text.
    """
    if isinstance(message, str | bytes):
        try:
            message = orjson.loads(message)
        except orjson.JSONDecodeError:
            raise RejectedLineError("message is not valid JSON") from None
    if not isinstance(message, Mapping):
        raise RejectedLineError("message must be a JSON object with a speaker and a text")
    inner = message.get("data")
    fields: Mapping[str, Any] = {**inner, **message} if isinstance(inner, Mapping) else message
    content = next((fields[name] for name in _TEXT_FIELDS if fields.get(name) is not None), None)
    speaker = next((fields[name] for name in _SPEAKER_FIELDS if fields.get(name) and _is_text(fields[name])), None)
    if content is None and not fields.get("tool_calls"):
        raise RejectedLineError("message has no text")
    if speaker is None:
        raise RejectedLineError("message has no speaker")
    return speaker, plain(content if content is not None else "") or _calls(fields)


def plain(content: object) -> str:
    """The text of a content: a string, or a list of parts, of which some are text.

    Raises:
        RejectedLineError: it is neither.
    """
    if isinstance(content, str):
        return content
    if isinstance(content, Mapping):
        content = [content]
    if isinstance(content, list):
        parts = [
            part if isinstance(part, str) else part.get("text") for part in content if isinstance(part, str | Mapping)
        ]
        return "\n".join(part for part in parts if isinstance(part, str))
    raise RejectedLineError("the text of the message is neither a text nor a list of parts")


def _calls(fields: Mapping[str, Any]) -> str:
    """What a message without text does: the tools that it calls."""
    calls = fields.get("tool_calls")
    if not isinstance(calls, Iterable) or isinstance(calls, str | Mapping):
        return ""
    names = [call.get("name") or _named(call.get("function")) for call in calls if isinstance(call, Mapping)]
    known = [name for name in names if isinstance(name, str)]
    return f"calls {', '.join(known)}" if known else ""


def _named(function: object) -> object:
    return function.get("name") if isinstance(function, Mapping) else None


def _is_text(value: object) -> bool:
    return isinstance(value, str)
