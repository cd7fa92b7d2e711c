"""Exports that were damaged on their way: refused in a sentence, or read as far as they can be; nothing breaks."""

from __future__ import annotations

import json
import random
import zipfile
from datetime import UTC, datetime
from pathlib import Path

import pytest
from sqlalchemy import text

from crew_pipeline.discovery.exports.export import open_export
from crew_pipeline.discovery.exports.files import ExportError
from crew_pipeline.discovery.importing import import_export
from crew_pipeline.settings import Settings
from crew_pipeline.storage.database import Database

NOW = datetime(2025, 6, 1, tzinfo=UTC)
LINES = [
    {"session_id": "s", "line": number, "created_at": f"2025-01-15T10:0{number}:00Z", "speaker": "Ann",
     "text": f"line {number}, “said”"}
    for number in range(6)
]  # fmt: skip
CHATGPT = [
    {
        "title": "t", "create_time": 1736935200.0, "update_time": 1736935300.0, "id": "c", "current_node": "b",
        "mapping": {
            "a": {"id": "a", "parent": None, "children": ["b"], "message": {
                "id": "a", "author": {"role": "user"}, "create_time": 1736935200.0,
                "content": {"content_type": "text", "parts": ["hello there"]}}},
            "b": {"id": "b", "parent": "a", "children": [], "message": {
                "id": "b", "author": {"role": "assistant"}, "create_time": 1736935260.0,
                "content": {"content_type": "text", "parts": ["hello yourself"]}}},
        },
    }
]  # fmt: skip
CLAUDE = [
    {"uuid": "c", "name": "t", "created_at": "2025-01-15T10:00:00Z", "updated_at": "2025-01-15T10:05:00Z",
     "chat_messages": [{"uuid": "m", "sender": "human", "text": "hello there", "created_at": "2025-01-15T10:00:00Z"}]}
]  # fmt: skip
SOUND: dict[str, bytes] = {
    "talk.jsonl": "\n".join(json.dumps(line, ensure_ascii=False) for line in LINES).encode(),
    "talk.csv": b"session_id,line,created_at,speaker,text\n"
    + "\n".join(f's,{n},2025-01-15 10:0{n}:00,Ann,"line {n}, said"' for n in range(6)).encode(),
    "chat.txt": "\n".join(f"[15/01/2025, 10:0{n}:00] Ann: line {n}" for n in range(6)).encode(),
    "talk.vtt": b"WEBVTT\n\n"
    + "\n".join(f"00:0{n}:00.000 --> 00:0{n}:30.000\n<v Ann>line {n}</v>\n" for n in range(6)).encode(),
    "conversations.json": json.dumps(CHATGPT).encode(),
    "claude.json": json.dumps(CLAUDE).encode(),
    "mail.mbox": "".join(
        f"From ann@x.org Wed Jan 15 10:0{n}:00 2025\nFrom: Ann <ann@x.org>\nTo: bo@x.org\nSubject: s\n"
        f"Message-ID: <{n}@x>\nDate: Wed, 15 Jan 2025 10:0{n}:00 +0000\n\nline {n}\n\n" for n in range(4)
    ).encode(),
    "notes.md": b"# 2025-01-15\n\n**Ann**: hello there\n\n**Bo**: hello yourself\n",
}  # fmt: skip


_ODD = [b"\x00", b"\xff\xfe", b'"', b"{", b"]", b"\n", b"-9e999", b"null", "\u202e".encode()]


def damaged(sound: bytes, chance: random.Random) -> bytes:
    """The same with bytes changed, left out, repeated, cut off or put in."""
    content = bytearray(sound)
    for _ in range(chance.randint(1, 6)):
        at = chance.randrange(len(content) + 1)
        length = chance.randint(1, 40)
        kind = chance.randrange(6)
        if kind == 0 and content:
            content[at % len(content)] = chance.randrange(256)
        elif kind == 1:
            del content[at : at + length]
        elif kind == 2:
            content[at:at] = content[at : at + length] * chance.randint(1, 30)
        elif kind == 3:
            del content[at:]
        elif kind == 4:
            content[at:at] = chance.choice(
                [b"\x00", b"\xff\xfe", b'"', b"{", b"]", b"\n", b"-9e999", b"null", "\u202e".encode()]
            )
        else:
            content[at:at] = chance.randbytes(length)
    return bytes(content)


@pytest.mark.parametrize("name", [*SOUND])
def test_a_damaged_export_is_read_or_refused(name: str, tmp_path: Path, db: Database, settings: Settings) -> None:
    chance = random.Random(name)
    read, said = 0, []
    for number in range(40):
        content = damaged(SOUND[name], chance) if number else SOUND[name]
        path = tmp_path / f"{number}-{name}"
        path.write_bytes(content)
        if number % 4 == 3:
            packed = tmp_path / f"{number}.zip"
            with zipfile.ZipFile(packed, "w") as archive:
                archive.writestr(name, content)
            path = packed
        try:
            export = open_export(path)
            import_export(db, export, client="acme", crew=f"c{number}", settings=settings, now=NOW)
            read += 1
        except ExportError as error:
            said.append(str(error))
    assert read
    assert all(0 < len(sentence) < 600 for sentence in said)
    with db.read() as connection:
        assert connection.scalar(text("SELECT count(*) FROM lines")) > 0
