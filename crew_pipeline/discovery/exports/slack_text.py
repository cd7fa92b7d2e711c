"""What Slack writes for mentions, links and special characters, made readable."""

from __future__ import annotations

import html
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

_DEEPEST = 20
_MARKED = re.compile(r"<([^<>\n]{1,4000})>")


@dataclass
class Names:
    """Names of people and of channels by their ids."""

    people: dict[str, str] = field(default_factory=dict)
    channels: dict[str, str] = field(default_factory=dict)

    def person(self, identity: str) -> str:
        """A name, or the id of somebody unknown."""
        return self.people.get(identity, identity)


def readable(text: str, names: Names) -> str:
    """A message as it is shown: mentions by name, links with their label, entities as characters."""
    return html.unescape(_MARKED.sub(lambda match: _shown(match[1], names), text)).strip()


def _shown(marked: str, names: Names) -> str:
    target, _, label = marked.partition("|")
    kind, identity = target[:1], target[1:]
    if kind == "@":
        return f"@{names.people.get(identity) or label.removeprefix('@') or identity}"
    if kind == "#":
        return f"#{label or names.channels.get(identity, identity)}"
    if kind == "!":
        return label or f"@{identity.partition('^')[0]}"
    if not label or _address(label) == _address(target):
        return target.removeprefix("mailto:")
    return f"{label} ({target})"


def _address(link: str) -> str:
    return re.sub(r"^(mailto:|https?://)", "", link).rstrip("/")


def said_by(message: Mapping[str, Any]) -> str:
    """The text of a message, or else what its blocks or its attachments say, as applications write them."""
    text = message.get("text")
    if isinstance(text, str) and text.strip():
        return text
    said = [*_texts(message.get("blocks"))]
    attachments = message.get("attachments")
    for attachment in attachments if isinstance(attachments, list) and not said else []:
        if isinstance(attachment, Mapping):
            said += [part for part in (attachment.get("fallback") or attachment.get("text"),) if isinstance(part, str)]
    return "\n".join(part.strip() for part in said if part.strip())


def _texts(blocks: object, depth: int = 0) -> Iterator[str]:
    """The texts of blocks: a line for each element that holds others."""
    if depth > _DEEPEST or not isinstance(blocks, list):
        return
    line: list[str] = []
    for block in blocks:
        if not isinstance(block, Mapping):
            continue
        line += _piece(block)
        inner = block.get("text")
        if isinstance(inner, Mapping) and isinstance(inner.get("text"), str):
            line.append(inner["text"])
        yield from _texts(block.get("elements"), depth + 1)
    if line:
        yield "".join(line)


def _piece(element: Mapping[str, Any]) -> list[str]:
    kind = element.get("type")
    if kind == "user":
        return [f"<@{element.get('user_id')}>"]
    if kind == "channel":
        return [f"<#{element.get('channel_id')}>"]
    if kind == "emoji":
        return [f":{element.get('name')}:"]
    if kind == "link" and not isinstance(element.get("text"), str):
        return [str(element.get("url") or "")]
    text = element.get("text")
    return [text] if isinstance(text, str) else []
