"""What Slack writes for mentions, links and special characters, made readable."""

from __future__ import annotations

import html
import re
from dataclasses import dataclass, field

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
