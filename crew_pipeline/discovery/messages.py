"""Messages of history tables: who speaks and what is said, whatever shape the message has."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import orjson

from crew_pipeline.discovery.records import RejectedLineError

_SPEAKER_FIELDS = ("speaker", "name", "role", "type", "sender")
_TEXT_FIELDS = ("text", "content", "message", "body")


def speaker_and_text(message: object) -> tuple[str, str]:
    """Speaker and text of a message: an object, or its JSON text.

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
    text = next((fields[name] for name in _TEXT_FIELDS if fields.get(name) is not None), None)
    speaker = next((fields[name] for name in _SPEAKER_FIELDS if isinstance(fields.get(name), str)), None)
    if text is None or speaker is None:
        raise RejectedLineError(f"message has no {'text' if text is None else 'speaker'}")
    return speaker, _plain(text)


def _plain(content: object) -> str:
    """The text of a content: a string, or parts of which some are text."""
    if isinstance(content, str):
        return content
    if isinstance(content, list):
        parts = [
            part if isinstance(part, str) else part.get("text") for part in content if isinstance(part, str | Mapping)
        ]
        return "\n".join(part for part in parts if isinstance(part, str))
    raise RejectedLineError("the text of the message is neither a text nor a list of parts")
