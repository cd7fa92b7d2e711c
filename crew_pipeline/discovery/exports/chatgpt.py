"""ChatGPT exports: conversations are trees of messages, of which only the branch last seen is read."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from decimal import Decimal
from typing import Any

import orjson

from crew_pipeline.discovery.content import content_of
from crew_pipeline.discovery.exports.files import Files, Member
from crew_pipeline.discovery.exports.found import Found, from_epoch, is_number
from crew_pipeline.discovery.exports.objects import conversations
from crew_pipeline.discovery.reading import Reading
from crew_pipeline.discovery.records import Limits, RejectedLineError

_SPEAKERS = ("user", "assistant")
# All else is ChatGPT's own: thoughts, results of tools, what users told it about themselves.
_SAID = (None, "text", "multimodal_text", "code")
_NOT_SAID = {"thoughts": "thoughts", "reasoning_recap": "thoughts", "user_editable_context": "settings"}
_CANVAS = "canmore."
_MARK = re.compile(r"(?P<space>[ \t]*)\ue200(?P<kind>\w+)\ue202?(?P<held>[^\ue201]{0,2000})\ue201")
_SOURCE = re.compile(r"[ \t]*【[^【】\n]{0,200}†[^【】\n]{0,200}】")


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
        text = _text(message, reading.left_out)
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


def _text(message: Mapping[str, Any], left_out: Counter[str]) -> str:
    """What a message says to the other side, or writes into a canvas; nothing where it is hidden, or is no talk."""
    author, content, metadata = (message.get(name) for name in ("author", "content", "metadata"))
    if not isinstance(author, Mapping) or not isinstance(content, Mapping):
        return ""
    is_hidden = isinstance(metadata, Mapping) and metadata.get("is_visually_hidden_from_conversation") is True
    weight = message.get("weight")
    if is_hidden or (weight is not None and not weight) or author.get("role") == "system":
        return ""
    recipient = message.get("recipient")
    if author.get("role") in _SPEAKERS and isinstance(recipient, str) and recipient.startswith(_CANVAS):
        return _canvas(content)
    if kind := _no_talk(author.get("role"), recipient, content.get("content_type")):
        left_out[kind] += 1
        return ""
    parts = content.get("parts")
    said = content_of(parts if isinstance(parts, list) else content.get("text"))
    left_out.update(said.left_out)
    return _without_marks(said.text)


def _no_talk(role: object, recipient: object, content_type: object) -> str:
    """What a message is that is none of the talk; empty for one that is."""
    if role not in _SPEAKERS:
        return "results of tools"
    if recipient not in (None, "all"):
        return "calls of tools"
    return "" if content_type in _SAID else _NOT_SAID.get(str(content_type), "others")


def _canvas(content: Mapping[str, Any]) -> str:
    """The document that a message writes into a canvas, or what it puts in the place of parts of it."""
    parts = content.get("parts")
    written = parts[0] if isinstance(parts, list) and parts else content.get("text")
    try:
        call = orjson.loads(written) if isinstance(written, str) else written
    except orjson.JSONDecodeError:
        return written.strip() if isinstance(written, str) else ""
    if not isinstance(call, Mapping):
        return ""
    updates = call.get("updates")
    changed = [one for one in updates if isinstance(one, Mapping)] if isinstance(updates, list) else []
    texts = [call.get("content"), *(one.get("replacement") for one in changed)]
    return "\n".join(text.strip() for text in texts if isinstance(text, str) and text.strip())


def _without_marks(text: str) -> str:
    """A text without the marks that stand for its sources; of a mark that names somebody the name stays."""
    return _SOURCE.sub("", _MARK.sub(_named, text)).strip()


def _named(mark: re.Match[str]) -> str:
    if mark["kind"] != "entity":
        return ""
    try:
        entity = orjson.loads(mark["held"])
    except orjson.JSONDecodeError:
        return mark["space"]
    name = entity[1] if isinstance(entity, list) and len(entity) > 1 else ""
    return f"{mark['space']}{name}" if isinstance(name, str) else mark["space"]
