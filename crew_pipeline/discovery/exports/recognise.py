"""What an export is: told by what its files hold, never by their names alone."""

from __future__ import annotations

import re
import zlib
from collections.abc import Iterable, Mapping, Sequence
from itertools import islice
from typing import NamedTuple

import ijson
import orjson

from crew_pipeline.discovery.exports import captions, delimited, mail, notes, slack, whatsapp
from crew_pipeline.discovery.exports.archive import Archive
from crew_pipeline.discovery.exports.files import ExportError, Files, Folder, Member
from crew_pipeline.discovery.exports.limitless import WRAPPERS
from crew_pipeline.discovery.exports.markdown import holds_talk
from crew_pipeline.discovery.exports.objects import first_keys

FORMATS = (
    *("auto", "jsonl", "limitless", "chatgpt", "claude", "slack", "csv", "parquet", "whatsapp", "telegram", "discord"),
    *("captions", "claude-code", "codex", "openwebui", "messages", "mail", "notes"),
)
MAKERS = (
    *("chatgpt", "claude", "limitless", "telegram", "discord", "claude-code", "codex", "openwebui", "captions"),
    *("mail", "notes"),
)
"""Formats whose exports may be several files, told by their content."""
_KNOWN = (
    "an export of Limitless, ChatGPT, Claude, Slack, WhatsApp, Telegram, Discord (DiscordChatExporter), Open WebUI, a "
    "session of Claude Code or Codex, captions (WebVTT, SRT), mail (mbox, EML), Markdown notes with dates"
)
HEAD_BYTES = 65_536

_TELLING: tuple[tuple[str, tuple[set[str], ...]], ...] = (
    ("jsonl", ({"session_id", "text"},)),
    ("chatgpt", ({"mapping"},)),
    ("claude", ({"chat_messages"},)),
    ("limitless", ({"lifelogs"}, {"lifelog"}, *({"startTime", name} for name in ("contents", "markdown", "endTime")))),
    ("discord", ({"guild", "channel"},)),
    ("telegram", ({"messages", "type", "id"}, {"chats"})),
    ("openwebui", ({"chat", "title"}, {"chat", "user_id"})),
    ("claude-code", tuple({"sessionId", name} for name in ("uuid", "parentUuid", "mode", "aiTitle", "leafUuid"))),
    ("codex", ({"timestamp", "type", "payload"},)),
    ("messages", ({"messages"},)),
)
"""Sets of names that tell a format where an object has all of one; the first that fits."""
_LINEAR = ("jsonl", "csv", "parquet")
_CONVERSATIONS = re.compile(r"conversations(-\d+)?\.json(\.gz)?")
_NAMED_TABLE = re.compile(r"\.(csv|tsv)(\.gz)?$", re.IGNORECASE)
_MARK = b"\xef\xbb\xbf"
_UTF_16 = (b"\xff\xfe", b"\xfe\xff")
_LOOKED_AT = 50
_WRITTEN = {"whatsapp": whatsapp.looks_like_one, "captions": captions.looks_like_one, "mail": mail.looks_like_one}


class Recognised(NamedTuple):
    """A format, never ``auto``, and the members that are read for it, in order."""

    format: str
    members: tuple[Member, ...]


def recognise(files: Files, requested: str, columns: Mapping[str, str] | None = None) -> Recognised:
    """The format of an export and which of its files it is made of.

    Raises:
        ExportError: it is empty, is nothing that is known, or is not what was requested.
    """
    if len(files.members) == 1:
        return _recognise_one(files, files.members[0], requested, columns)
    if not files.members and isinstance(files, Archive):
        raise ExportError(f"{files.path} is empty; nothing was imported.")
    wanted = [requested] if requested != "auto" else ["slack", *MAKERS]
    for name in wanted:
        if name not in _LINEAR and (members := _members_of(files, name)):
            return Recognised(name, tuple(members))
    raise ExportError(_unknown_bundle(files, requested))


def _recognise_one(files: Files, member: Member, requested: str, columns: Mapping[str, str] | None) -> Recognised:
    with files.open(member) as content:
        head = content.read(HEAD_BYTES)
    if not head.removeprefix(_MARK).strip():
        raise ExportError(f"{files.path} is empty; nothing was imported.")
    if head.startswith(_UTF_16):
        raise ExportError(f"{files.path} is UTF-16; save it as UTF-8 (in Excel: CSV UTF-8) and import it again.")
    format_name = _format_of(files, member, head, columns or {}) if requested == "auto" else requested
    if format_name is None and notes.is_named_one(member):
        raise ExportError(
            f"{files.path} tells no day; name it like 2025-01-15.md, or begin it with a head that has a line "
            "date: 2025-01-15, or its parts with headings like ## 2025-01-15."
        )
    if format_name is None:
        what = "binary" if _is_binary(head) else "JSON of another shape" if _is_json(head) else "not JSON lines"
        raise ExportError(
            f"{files.path} is in no format that is known (it is {what}); give JSON lines, one object a line with "
            f"session_id, line, created_at, speaker and text, {_KNOWN}, or a table (CSV, Parquet)."
        )
    if format_name == "slack":
        raise ExportError(f"{files.path} is no whole Slack export; give the folder or the ZIP archive that it is in.")
    return Recognised(format_name, (member,))


def _format_of(files: Files, member: Member, head: bytes, columns: Mapping[str, str]) -> str | None:
    if head.startswith(b"PAR1"):
        return "parquet"
    written = next((name for name, is_one in _WRITTEN.items() if is_one(head)), None)
    if written or notes.is_named_one(member):
        return written or _written_in_markdown(member, head)
    start = head.removeprefix(_MARK).lstrip()[:1]
    if start in {b"{", b"["}:
        shape = _json_shape(files, member)
        if shape or (start == b"[" and not _is_whole_json(head)):
            return shape
    elif not _is_binary(head) and delimited.looks_like_one(head, columns):
        return "csv"
    if _mentions_json(head):
        return "jsonl"
    return None if _is_binary(head) else _text_format(member, head)


def _written_in_markdown(member: Member, head: bytes) -> str | None:
    if holds_talk(head):
        return "limitless"
    return "notes" if notes.looks_like_one(member, head) else None


def _text_format(member: Member, head: bytes) -> str | None:
    if holds_talk(head):
        return "limitless"
    # A table without any known column is told by its name alone, so that the refusal can name its columns.
    return "csv" if _NAMED_TABLE.search(member.base) else None


def _json_shape(files: Files, member: Member) -> str | None:
    """Which maker's conversations a JSON file holds; a broken file is told by what comes before the break."""
    try:
        with files.open(member) as content:
            glance = first_keys(content, member.name, WRAPPERS)
            return next((shape for keys in glance if (shape := _shape(keys))), None)
    except ExportError:
        raise
    except (ijson.JSONError, ValueError, EOFError, zlib.error):
        return None


def _shape(keys: set[str]) -> str | None:
    return next((name for name, telling in _TELLING if any(names <= keys for names in telling)), None)


def _members_of(files: Files, name: str) -> list[Member]:
    if name == "slack":
        return slack.members(files.members)
    named = [member for member in _documents(files.members) if _CONVERSATIONS.fullmatch(member.base)]
    if name != "limitless" and _shaped(files, named[:_LOOKED_AT], name):
        return named
    return of_maker(files, files.members, name)


def of_maker(files: Files, among: Sequence[Member], maker: str) -> list[Member]:
    """Those of some members of an export that hold conversations of one of ``MAKERS``."""
    if maker == "captions":
        return [member for member in among if captions.is_named_one(member)]
    if maker == "mail":
        named = [member for member in among if mail.is_named_one(member)]
        return [member for member in named if mail.looks_like_one(_head(files, member))]
    if maker == "notes":
        named = [member for member in among if notes.is_named_one(member)]
        return [member for member in named if notes.looks_like_one(member, _head(files, member))]
    return _shaped(files, _documents(among), maker) or (_transcripts(files, among) if maker == "limitless" else [])


def _head(files: Files, member: Member) -> bytes:
    with files.open(member) as content:
        return content.read(HEAD_BYTES)


def _documents(among: Sequence[Member]) -> list[Member]:
    return [member for member in among if re.search(r"\.jsonl?(\.gz)?$", member.base)]


def _shaped(files: Files, candidates: list[Member], name: str) -> list[Member]:
    """The JSON files of a shape; if none of the first has it, the others are not looked at."""
    first = [member for member in candidates[:_LOOKED_AT] if _json_shape(files, member) == name]
    if not first:
        return []
    return first + [member for member in candidates[_LOOKED_AT:] if _json_shape(files, member) == name]


def _transcripts(files: Files, among: Sequence[Member]) -> list[Member]:
    written = [member for member in among if _is_markdown(member)]
    for member in islice(_likely_first(written), _LOOKED_AT):
        with files.open(member) as content:
            if holds_talk(content.read(HEAD_BYTES)):
                return written
    return []


def _likely_first(written: list[Member]) -> Iterable[Member]:
    return sorted(written, key=lambda member: not re.match(r"\d{4}-\d{2}-\d{2}", member.base))


def _unknown_bundle(files: Files, requested: str) -> str:
    kind = "a folder" if isinstance(files, Folder) else "a ZIP archive"
    if requested != "auto":
        return f"{files.path} is {kind} that holds nothing of the format {requested}; give another, or leave it away."
    packed = " (archives inside of it are not opened; unpack them first)" if _holds_archives(files) else ""
    return f"{files.path} is {kind} that holds no export that is known{packed}; give {_KNOWN}, or a single table."


def _holds_archives(files: Files) -> bool:
    return any(member.name.lower().endswith(".zip") for member in files.members)


def _is_markdown(member: Member) -> bool:
    return member.name.lower().endswith((".md", ".markdown"))


def _mentions_json(head: bytes) -> bool:
    """Whether any of the first lines is a JSON object: one broken line at the top does not make it another format."""
    return any(line.lstrip(b"\xef\xbb\xbf \t").startswith(b"{") for line in head.splitlines()[:50])


def _is_json(head: bytes) -> bool:
    return head.removeprefix(_MARK).lstrip()[:1] in {b"{", b"["}


def _is_whole_json(head: bytes) -> bool:
    """Whether the first line alone is JSON, as it is in JSON lines."""
    try:
        orjson.loads(head.removeprefix(_MARK).lstrip().split(b"\n", 1)[0])
    except orjson.JSONDecodeError:
        return False
    return True


def _is_binary(head: bytes) -> bool:
    return b"\x00" in head or sum(byte < 9 or 13 < byte < 32 for byte in head) > len(head) // 100
