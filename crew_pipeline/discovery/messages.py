"""Messages of history tables: who speaks and what is said, whatever shape the message has."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any

import orjson

from crew_pipeline.discovery.content import Content, calls_of, content_of
from crew_pipeline.discovery.records import LeftOutError, RejectedLineError

_SPEAKER_FIELDS = ("speaker", "name", "author", "role", "type", "sender")
_TEXT_FIELDS = ("text", "content", "message", "body", "parts")
_PASSED_OVER = {"reasoning": "thoughts", "function_call_output": "results of tools"}
"""Records of frameworks that keep what an agent does beside what it says, by their type."""
_OF_EVENTS = ("invocation_id", "invocationId")
"""Names that tell an event of Google ADK, which may change a state and say nothing."""


def speaker_and_text(message: object, left_out: Counter[str]) -> tuple[str, str]:
    """Speaker and text of a message: an object, or its JSON text.

    Flat messages (n8n: ``{type, content}``; ``{role, content}``; ``{speaker, text}``), nested ones (LangChain: ``{type,
    data: {content}}``) and those of agent frameworks (parts, calls of tools) are known. The text of one that only calls
    tools names them.

    Args:
        left_out: what of the message is no talk is counted here, by kind.

    Raises:
        RejectedLineError: it is no object, or holds no text.
        LeftOutError: it is no talk, as a thought is not, or holds nothing.
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
    if kind := _PASSED_OVER.get(str(fields.get("type"))):
        raise LeftOutError({kind: 1})
    content, speaker = _content(fields), _speaker(fields)
    if content is None and any(name in fields for name in _OF_EVENTS):
        raise LeftOutError({"events without words": 1})
    if content is None:
        raise RejectedLineError("message has no text")
    if speaker is None:
        raise RejectedLineError("message has no speaker")
    return speaker, said(content, left_out)


def text_of(value: object, left_out: Counter[str], *, is_json: bool) -> str:
    """The text of a column that holds what is said: as it is, or parts of a message as JSON.

    Args:
        is_json: whether the column's type is JSON, so that a string in it stands in quotes.

    Raises:
        RejectedLineError: it is neither.
        LeftOutError: it is no talk, or empty.
    """
    if value is None:
        raise LeftOutError({"empty messages": 1})
    if is_json and isinstance(value, str | bytes):
        try:
            value = orjson.loads(value)
        except orjson.JSONDecodeError:
            raise RejectedLineError("the text of the message is not valid JSON") from None
    if not isinstance(value, str | list | Mapping):
        raise RejectedLineError("the text of the message is neither a text nor a list of parts")
    return said(content_of(value), left_out)


def said(content: Content, left_out: Counter[str]) -> str:
    """What a content says; what is left out of it is counted.

    Raises:
        LeftOutError: it says nothing.
    """
    text = content.text
    if not text:
        raise LeftOutError(content.left_out or {"empty messages": 1})
    left_out.update(content.left_out)
    return text


def _content(fields: Mapping[str, Any]) -> Content | None:
    held = next((fields[name] for name in _TEXT_FIELDS if fields.get(name) is not None), None)
    calls = calls_of(fields.get("tool_calls"))
    if fields.get("type") == "function_call":
        calls = calls_of([fields])
    if held is None and not calls:
        return None
    content = content_of(held)
    content.calls += calls
    return content


def _speaker(fields: Mapping[str, Any]) -> str | None:
    if fields.get("type") == "function_call":
        return "assistant"
    return next((fields[name] for name in _SPEAKER_FIELDS if isinstance(fields.get(name), str) and fields[name]), None)
