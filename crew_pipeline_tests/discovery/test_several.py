"""Of a folder everything that is known is imported, each under a crew of its own, and the rest is named."""

from __future__ import annotations

import gzip
from pathlib import Path

import pytest

from crew_pipeline.discovery.exports.files import ExportError
from crew_pipeline.discovery.exports.several import Several, open_exports
from crew_pipeline.discovery.importing import import_export
from crew_pipeline.discovery.reading import Reading
from crew_pipeline.settings import Settings
from crew_pipeline.storage.database import Database
from crew_pipeline_tests.conftest import NOW
from crew_pipeline_tests.discovery.exported import LIMITS, NINE, as_folder, as_zip

RECORD = {"session_id": "s", "line": 0, "created_at": "2025-01-15T09:00:00Z", "speaker": "Ann", "text": "good morning"}
TABLE = b"session,date,speaker,text\na,2025-01-15T09:00:00Z,Ann,hello from the table\n"


def chatgpt(name: str) -> list[dict[str, object]]:
    message = {"author": {"role": "user"}, "create_time": NINE, "content": {"content_type": "text", "parts": [name]}}
    return [{"id": name, "title": name, "create_time": NINE, "mapping": {"a": {"id": "a", "message": message}}}]


def claude(name: str) -> list[dict[str, object]]:
    message = {"sender": "human", "text": name, "created_at": "2025-01-15T09:00:00Z"}
    return [{"uuid": name, "name": name, "created_at": "2025-01-15T09:00:00Z", "chat_messages": [message]}]


SLACK: dict[str, object] = {
    "users.json": [{"id": "U1", "name": "ann"}],
    "channels.json": [{"id": "C1", "name": "ops"}],
    "ops/2025-01-15.json": [{"type": "message", "user": "U1", "ts": f"{NINE}.000100", "text": "hello from slack"}],
}


def below(folder: str, members: dict[str, object]) -> dict[str, object]:
    return {f"{folder}/{name}": content for name, content in members.items()}


def texts(found: Several) -> dict[str, list[str]]:
    return {part.name: [line.text for line in part.export.lines(LIMITS, Reading())] for part in found.parts}


EVERYTHING: dict[str, object] = {
    "chatgpt/conversations.json": chatgpt("one"),
    "chatgpt/user.json": {"id": "u", "email": "ann@example.org"},
    "Claude Data/conversations.json": claude("two"),
    **below("work slack", SLACK),
    "talk.csv": TABLE,
    "standup.jsonl": RECORD,
    "notes/todo.txt": b"milk, bread",
    "photo.jpg": b"\xff\xd8\xff\xe0",
    "more/photo.JPG": b"\xff\xd8\xff\xe0",
}


def test_every_export_is_found_and_everything_else_is_named(tmp_path: Path) -> None:
    found = open_exports(as_folder(tmp_path / "all", EVERYTHING))
    assert texts(found) == {
        "chatgpt": ["one"],
        "claude-data": ["two"],
        "standup": ["good morning"],
        "talk": ["hello from the table"],
        "work-slack": ["hello from slack"],
    }
    assert [name for name, _ in found.left] == ["chatgpt/user.json", "notes/todo.txt", "2 *.jpg"]
    assert all(reason and str(tmp_path) not in reason and ";" not in reason for _, reason in found.left)


def test_two_makers_whose_files_have_one_name_are_told_apart(tmp_path: Path) -> None:
    found = open_exports(
        as_folder(
            tmp_path / "all",
            {
                "a/conversations.json": chatgpt("one"),
                "b/conversations.json": claude("two"),
                "c/x.json": chatgpt("three"),
            },
        )
    )
    assert texts(found) == {"a": ["one"], "b": ["two"], "c": ["three"]}
    in_one = {
        "conversations.json": chatgpt("one"),
        "other.json": claude("two"),
        "conversations-1.json": chatgpt("four"),
    }
    assert texts(open_exports(as_folder(tmp_path / "flat", in_one))) == {"chatgpt": ["four", "one"], "claude": ["two"]}


def test_archives_and_packed_files_in_a_folder_are_opened(tmp_path: Path) -> None:
    folder = as_folder(tmp_path / "all", {"standup.jsonl": RECORD})
    as_zip(folder / "My Slack (2024).zip", SLACK)
    (folder / "other.jsonl.gz").write_bytes(
        gzip.compress(
            b'{"session_id": "t"' + b', "line": 0, "created_at": '
            b'"2025-01-15T09:00:00Z", "speaker": "Bo", "text": "packed"}'
        )
    )
    assert texts(open_exports(folder)) == {
        "my-slack-2024": ["hello from slack"], "other": ["packed"], "standup": ["good morning"],
    }  # fmt: skip


def test_files_of_one_name_are_told_apart(tmp_path: Path) -> None:
    found = open_exports(as_folder(tmp_path / "all", {"talk.csv": TABLE, "talk.jsonl": RECORD, "TALK.tsv": TABLE}))
    assert sorted(texts(found)) == ["talk", "talk-2", "talk-3"]


@pytest.mark.parametrize("members", [SLACK, {"conversations.json": chatgpt("one")}, {"standup.jsonl": RECORD}])
def test_a_folder_of_one_export_is_that_export(tmp_path: Path, members: dict[str, object]) -> None:
    found = open_exports(as_folder(tmp_path / "one", members))
    assert (len(found.parts), found.left) == (1, [])


def test_a_folder_of_none_is_refused_with_what_it_could_be(tmp_path: Path) -> None:
    with pytest.raises(ExportError, match="holds no export that is known"):
        open_exports(as_folder(tmp_path / "none", {"a.txt": b"nothing", "b.txt": b"at all"}))


def test_one_that_is_broken_is_named_and_keeps_no_other_from_being_read(tmp_path: Path) -> None:
    found = open_exports(as_folder(tmp_path / "all", {"cut.parquet": b"PAR1 and no more", **EVERYTHING}))
    assert len(found.parts) == 5
    assert "cut.parquet" in dict(found.left)


def test_importing_it_twice_changes_nothing(tmp_path: Path, db: Database, settings: Settings) -> None:
    folder = as_folder(tmp_path / "all", EVERYTHING)
    new = []
    for _ in range(2):
        reports = [
            import_export(db, part.export, client="acme", crew=part.name, settings=settings, now=NOW)
            for part in open_exports(folder).parts
        ]
        new.append(sum(report.ingested.lines_new for report in reports))
    assert new == [5, 0]
