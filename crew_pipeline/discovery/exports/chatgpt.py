"""ChatGPT exports: conversations are trees of messages, of which only the branch last seen is read."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from decimal import Decimal
from typing import Any

from crew_pipeline.discovery.exports.files import Files, Member
from crew_pipeline.discovery.exports.found import Found, from_epoch, is_number
from crew_pipeline.discovery.exports.objects import conversations
from crew_pipeline.discovery.reading import Reading
from crew_pipeline.discovery.records import Limits, RejectedLineError

_SPEAKERS = ("user", "assistant")
# All else is ChatGPT's own: thoughts, results of tools, what users told it about themselves.
_SAID = (None, "text", "multimodal_text", "code")


def read(files: Files, members: Sequence[Member], limits: Limits, reading: Reading) -> Iterator[Found]:
    """What user and assistant said to each other, numbered from 0 in each conversation."""
    return conversations(files, members, "mapping", lambda conversation: _lines(conversation, reading))


def _lines(conversation: Mapping[str, Any], reading: Reading) -> Iterator[Found]:
    session_id = conversation.get("conversation_id") or conversation.get("id")
    where = f"conversation {str(session_id or conversation.get('title'))[:80]}"
    try:
        if not isinstance(session_id, str):
            raise RejectedLineError("it has no id; export it again")
        branch = _branch(conversation)
    except RejectedLineError as refusal:
        yield Found(refusal, where=where)
        return
    reading.entitle(session_id, conversation.get("title"))
    moment = conversation.get("create_time") or conversation.get("update_time")
    position = 0
    for message in branch:
        if message.get("create_time") is not None:
            moment = message["create_time"]
        text = _text(message)
        if not text:
            continue
        try:
            record = {
                "session_id": session_id,
                "line": position,
                "created_at": from_epoch(moment) if is_number(moment) else moment,
                "speaker": message["author"]["role"],
                "text": text,
            }
            yield Found(record, where=where)
        except RejectedLineError as refusal:
            yield Found(refusal, where=where)
        position += 1


def _branch(conversation: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """The messages from the root, or from where a parent is missing, to the current one.

    Raises:
        RejectedLineError: the tree runs in a circle, or is none.
    """
    nodes = conversation["mapping"]
    if not isinstance(nodes, Mapping):
        raise RejectedLineError("its messages are no tree; export it again")
    name = conversation.get("current_node")
    if not isinstance(name, str) or name not in nodes:
        name = _last_leaf(nodes)
    seen: set[str] = set()
    branch: list[Mapping[str, Any]] = []
    while isinstance(name, str) and isinstance(node := nodes.get(name), Mapping):
        if name in seen:
            raise RejectedLineError("its messages run in a circle; export it again")
        seen.add(name)
        if isinstance(node.get("message"), Mapping):
            branch.append(node["message"])
        name = node.get("parent")
    return branch[::-1]


def _last_leaf(nodes: Mapping[str, Any]) -> str | None:
    """The newest message that no other follows; of equally new ones, the last.

    Raises:
        RejectedLineError: every message is followed by another.
    """
    parents = {node["parent"] for node in nodes.values() if _is_node(node) and isinstance(node.get("parent"), str)}
    leaves = [name for name, node in nodes.items() if _is_node(node) and name not in parents]
    if nodes and not leaves:
        raise RejectedLineError("its messages run in a circle; export it again")
    return max(reversed(leaves), key=lambda name: _age(nodes[name]), default=None)


def _is_node(node: object) -> bool:
    return isinstance(node, Mapping)


def _age(node: Mapping[str, Any]) -> Decimal:
    message = node.get("message")
    moment = message.get("create_time") if isinstance(message, Mapping) else None
    return Decimal(str(moment)) if is_number(moment) else Decimal(0)


def _text(message: Mapping[str, Any]) -> str:
    """What a message says to the other side; nothing where it is hidden, or is meant for a tool."""
    author, content, metadata = (message.get(name) for name in ("author", "content", "metadata"))
    if not isinstance(author, Mapping) or author.get("role") not in _SPEAKERS or not isinstance(content, Mapping):
        return ""
    is_hidden = isinstance(metadata, Mapping) and metadata.get("is_visually_hidden_from_conversation") is True
    weight = message.get("weight")
    if is_hidden or (weight is not None and not weight) or message.get("recipient") not in (None, "all"):
        return ""
    if content.get("content_type") not in _SAID:
        return ""
    parts = content.get("parts")
    said = [_part(part) for part in parts] if isinstance(parts, list) else [content.get("text")]
    return "\n".join(part.strip() for part in said if isinstance(part, str) and part.strip())


def _part(part: object) -> object:
    """A text, or what was said aloud; images and files are left out."""
    return part.get("text") if isinstance(part, Mapping) else part
