"""What Slack writes for mentions, links and special characters, made readable."""

from __future__ import annotations

import html
import re
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

_DEEPEST = 20
_FEWEST_MORE = 10
"""Letters that blocks must have beyond a text's for the text to be a short form of them."""
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


def said_by(message: Mapping[str, Any], left_out: Counter[str]) -> str:
    """What a message shows: its blocks where they say more than its text, which may be the short form of a
    notification; else its text; then its attachments, as applications write them.

    Args:
        left_out: files are counted here.
    """
    text = message.get("text")
    plain = text if isinstance(text, str) else ""
    blocks = "\n".join(part.strip() for part in _texts(message.get("blocks")) if part.strip())
    is_short_form = not plain.strip() or _letters(blocks) > _letters(plain) + _FEWEST_MORE
    said = [blocks if is_short_form else plain]
    attachments = message.get("attachments")
    for attachment in attachments if isinstance(attachments, list) else []:
        if isinstance(attachment, Mapping) and not attachment.get("from_url"):
            said += _of_attachment(attachment)
    files = message.get("files")
    left_out.update({"files": len(files)} if isinstance(files, list) and files else {})
    return "\n".join(part.strip() for part in said if part.strip())


def _of_attachment(attachment: Mapping[str, Any]) -> Iterator[str]:
    """The parts of an attachment in the order in which they are shown, its fallback only where it has none."""
    blocks = attachment.get("blocks")
    fields = attachment.get("fields")
    parts = [
        *(attachment.get(name) for name in ("pretext", "author_name", "title", "text")),
        *(f"{one.get('title') or ''}: {one.get('value') or ''}".strip(": ") for one in _objects(fields)),
        *_texts(blocks),
        attachment.get("footer"),
    ]
    shown = [part for part in parts if isinstance(part, str) and part.strip()]
    fallback = attachment.get("fallback")
    yield from shown or ([fallback] if isinstance(fallback, str) and fallback.strip() else [])


def _objects(value: object) -> Iterator[Mapping[str, Any]]:
    yield from (one for one in value if isinstance(one, Mapping)) if isinstance(value, list) else ()


def _letters(text: str) -> int:
    """How many letters and digits a text has, marks of links and mentions aside."""
    return sum(character.isalnum() for character in _MARKED.sub("", text))


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
            yield inner["text"]
        yield from (field["text"] for field in _objects(block.get("fields")) if isinstance(field.get("text"), str))
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
