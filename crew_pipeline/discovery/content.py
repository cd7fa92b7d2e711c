"""What a message says, in whatever shape its maker keeps it: a text, parts, blocks, attachments, the call of a tool.

One place for what the makers share. Nothing is dropped in silence: what is no talk is counted by kind.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import orjson

_DEEPEST = 20
_TEXTS = ("text", "content", "parts", "output_text", "value")
"""Where a part keeps its words, or further parts."""
_THOUGHTS = ("thinking", "redacted_thinking", "reasoning", "reasoning_content", "thought", "thoughts", "summary_text")
_CALLS = ("tool_use", "server_tool_use", "tool_call", "function_call", "tool-invocation", "mcp_call", "mcp_tool_use")
_RESULTS = (
    "tool_result", "function_call_output", "tool_output", "web_search_tool_result", "mcp_tool_result",
    "computer_call_output", "code_execution_tool_result",
)  # fmt: skip
_MEDIA = {
    "image": "images", "image_url": "images", "input_image": "images", "image_file": "images",
    "image_asset_pointer": "images", "audio": "recordings", "input_audio": "recordings",
    "audio_asset_pointer": "recordings", "real_time_user_audio_video_asset_pointer": "recordings",
    "video": "recordings",
    "file": "files", "input_file": "files", "document": "files",
}  # fmt: skip
_KEYED_CALLS = ("functionCall", "function_call", "toolInvocation")
_KEYED_RESULTS = ("functionResponse", "function_response")
_KEYED_MEDIA = ("inlineData", "inline_data", "fileData", "file_data")
_STEPS = ("step-start", "step-finish", "step_start", "step_finish")
"""Parts that mark a place and hold nothing."""


@dataclass
class Content:
    """What a message holds.

    Attributes:
        texts: what it says, part by part.
        calls: names of the tools that it calls.
        left_out: how many parts are no talk, by kind: images, files, recordings, thoughts, results of tools, others.
    """

    texts: list[str] = field(default_factory=list)
    calls: list[str] = field(default_factory=list)
    left_out: Counter[str] = field(default_factory=Counter)

    @property
    def text(self) -> str:
        """What is said, or else which tools are called; empty where it is neither."""
        said = "\n".join(text.strip() for text in self.texts if text.strip())
        return said or (f"calls {', '.join(self.calls)}" if self.calls else "")

    def add(self, other: Content) -> None:
        """Take in what another part holds."""
        self.texts += other.texts
        self.calls += other.calls
        self.left_out.update(other.left_out)


def content_of(value: object) -> Content:
    """What a content holds: a string, a part, or a list of either; a string may be such a list as JSON."""
    if isinstance(value, str):
        return _of_string(value)
    content = Content()
    _gather(value, content, 0)
    return content


def _of_string(value: str) -> Content:
    bare = value.strip()
    if bare[:1] + bare[-1:] in ("[]", "{}"):
        try:
            decoded = orjson.loads(bare)
        except orjson.JSONDecodeError:
            return Content([value])
        if _are_parts(decoded):
            return content_of(decoded)
    return Content([value])


def _are_parts(decoded: object) -> bool:
    """Whether JSON is parts of a message, not something that was said in JSON."""
    if isinstance(decoded, Mapping):
        parts = decoded.get("parts")
        return _is_part(decoded) or (isinstance(parts, list) and bool(parts) and all(map(_is_part, parts)))
    return isinstance(decoded, list) and bool(decoded) and all(map(_is_part, decoded))


def _is_part(value: object) -> bool:
    if not isinstance(value, Mapping):
        return False
    kind = value.get("type")
    known = isinstance(kind, str) and (kind in (*_THOUGHTS, *_CALLS, *_RESULTS, *_MEDIA, *_STEPS) or "text" in kind)
    keyed = any(name in value for name in (*_KEYED_CALLS, *_KEYED_RESULTS, *_KEYED_MEDIA))
    return known or keyed or ("text" in value and set(value) <= {"text", "thought"})


def _gather(value: object, content: Content, depth: int) -> None:
    if depth > _DEEPEST:
        content.left_out["others"] += 1
    elif isinstance(value, str):
        content.texts.append(value)
    elif isinstance(value, Mapping):
        _gather_part(value, content, depth)
    elif isinstance(value, Iterable) and not isinstance(value, bytes):
        for part in value:
            _gather(part, content, depth + 1)
    elif value is not None:
        content.left_out["others"] += 1


def _gather_part(part: Mapping[str, Any], content: Content, depth: int) -> None:
    kind = str(part.get("type") or "")
    inner = next((part[name] for name in _TEXTS if part.get(name) not in (None, "", [])), None)
    if kind in _THOUGHTS or part.get("thought") is True:
        content.left_out["thoughts"] += 1
    elif kind in _RESULTS or any(name in part for name in _KEYED_RESULTS):
        content.left_out["results of tools"] += 1
    elif kind in _CALLS or kind.startswith("tool-") or any(name in part for name in _KEYED_CALLS):
        content.calls.append(next(_names_of_call(part), kind.removeprefix("tool-") or "a tool"))
    elif kind in _MEDIA or any(name in part for name in _KEYED_MEDIA):
        content.left_out[_MEDIA.get(kind, "files")] += 1
    elif inner is not None:
        _gather(inner, content, depth + 1)
    elif kind not in _STEPS and not any(name in part for name in _TEXTS):
        content.left_out["others"] += 1


def _names_of_call(part: Mapping[str, Any]) -> Iterator[str]:
    nested = [part.get(name) for name in (*_KEYED_CALLS, "function")]
    for holder in (part, *(one for one in nested if isinstance(one, Mapping))):
        for key in ("name", "toolName", "tool_name"):
            if isinstance(holder.get(key), str):
                yield holder[key]


def calls_of(tool_calls: object) -> list[str]:
    """Names of the tools in a list ``tool_calls`` beside a message."""
    if not isinstance(tool_calls, Iterable) or isinstance(tool_calls, str | Mapping):
        return []
    return [name for call in tool_calls if isinstance(call, Mapping) for name in [*_names_of_call(call)][:1]]
