"""What makers keep beside a plain text is read, and what is no talk is counted, never dropped in silence."""

from __future__ import annotations

import json
import sqlite3
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crew_pipeline.discovery.content import content_of
from crew_pipeline.discovery.discover import discover
from crew_pipeline.discovery.exports.export import open_export
from crew_pipeline.discovery.importing import import_export
from crew_pipeline.discovery.messages import speaker_and_text, text_of
from crew_pipeline.discovery.records import LeftOutError, RejectedLineError
from crew_pipeline.settings import Settings
from crew_pipeline.storage.conversations import imports
from crew_pipeline.storage.conversations.parts import calendar_of
from crew_pipeline.storage.database import Database
from crew_pipeline.storage.sources.crews import set_history
from crew_pipeline.upkeep.overview import overview
from crew_pipeline_tests.conftest import NOW, SHARED
from crew_pipeline_tests.discovery.exported import NINE, as_file, as_folder, read

FOUND = SHARED / "found"

TEXT = {"type": "text", "text": "How do I reset it?"}
CONTENTS: list[tuple[object, str, dict[str, int]]] = [
    ("plain", "plain", {}),
    ([TEXT], "How do I reset it?", {}),
    (json.dumps([TEXT]), "How do I reset it?", {}),
    ({"parts": [{"text": "Hold it."}, {"text": "Longer."}], "role": "model"}, "Hold it.\nLonger.", {}),
    (json.dumps({"parts": [{"text": "Hold it."}], "role": "model"}), "Hold it.", {}),
    ([{"type": "output_text", "text": "Done.", "annotations": []}], "Done.", {}),
    ([{"type": "tool_use", "id": "t", "name": "reset_heater", "input": {}}], "calls reset_heater", {}),
    ([{"functionCall": {"name": "lookup", "args": {}}}], "calls lookup", {}),
    ([{"type": "tool-invocation", "toolInvocation": {"toolName": "weather"}}], "calls weather", {}),
    ([{"type": "tool-getWeather", "state": "output-available"}], "calls getWeather", {}),
    ([TEXT, {"type": "tool_use", "name": "x"}], "How do I reset it?", {}),
    ([TEXT, {"type": "image_url", "image_url": {"url": "data:"}}], "How do I reset it?", {"images": 1}),
    ([{"type": "thinking", "thinking": "hm"}, TEXT], "How do I reset it?", {"thoughts": 1}),
    ([{"text": "hm", "thought": True}, {"text": "Yes."}], "Yes.", {"thoughts": 1}),
    ([{"type": "tool_result", "content": [TEXT]}], "", {"results of tools": 1}),
    ([{"inlineData": {"mimeType": "image/png", "data": ""}}], "", {"files": 1}),
    ([{"type": "step-start"}, TEXT], "How do I reset it?", {}),
    ([{"type": "hologram", "data": 3}], "", {"others": 1}),
]  # fmt: skip


@pytest.mark.parametrize(("value", "text", "left_out"), CONTENTS)
def test_contents_of_many_makers_are_read(value: object, text: str, left_out: dict[str, int]) -> None:
    content = content_of(value)
    assert (content.text, dict(content.left_out)) == (text, left_out)


@pytest.mark.parametrize(
    "said",
    ['{"a": 1}', "[1, 2]", '["x"]', '{"name": "Ann", "text": 1}', "[]", "{}", "[broken", '"quoted"', "{not json}"],
)
def test_json_that_somebody_said_stays_as_it_is(said: str) -> None:
    assert content_of(said).text == said
    assert text_of(said, Counter(), is_json=False) == said


def test_a_string_in_a_column_of_json_loses_its_quotes() -> None:
    assert text_of('"A string with \\u00fc."', Counter(), is_json=True) == "A string with ü."


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(
            st.sampled_from(["type", "text", "content", "parts", "name", "x", "functionCall"]), inner, max_size=4
        )
    ),
    max_leaves=20,
)


@given(JSON)
def test_nothing_is_empty_and_counted_as_read(value: object) -> None:
    content = content_of(value)
    left_out: Counter[str] = Counter()
    message = {"role": "user", "content": value}
    if content.text:
        assert speaker_and_text(message, left_out) == ("user", content.text)
        assert left_out == content.left_out
    else:
        with pytest.raises(RejectedLineError):
            speaker_and_text(message, left_out)


@pytest.mark.parametrize(
    ("message", "kind"),
    [
        ({"type": "reasoning", "summary": []}, "thoughts"),
        ({"type": "function_call_output", "output": "12 degrees"}, "results of tools"),
        ({"role": "user", "content": ""}, "empty messages"),
        ({"role": "user", "content": [{"type": "image", "source": {}}]}, "images"),
    ],
)
def test_what_is_no_talk_is_passed_over_by_kind(message: dict[str, object], kind: str) -> None:
    with pytest.raises(LeftOutError) as left:
        speaker_and_text(message, Counter())
    assert dict(left.value.kinds) == {kind: 1}


def test_rows_that_are_no_talk_are_counted_and_not_asked_for_again(
    db: Database,
    settings: Settings,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    query: Callable[..., list[tuple[object, ...]]],
) -> None:
    rows: list[dict[str, object]] = [
        {"role": "user", "content": "What is the weather?"},
        {"type": "reasoning", "summary": []},
        {"type": "function_call", "name": "weather", "arguments": "{}"},
        {"type": "function_call_output", "output": "12 degrees"},
        {"role": "assistant", "content": [{"type": "output_text", "text": "Twelve degrees."}]},
    ]
    with sqlite3.connect(tmp_path / "agents.sqlite") as source:
        source.execute(
            "CREATE TABLE agent_messages (id INTEGER PRIMARY KEY, session_id TEXT, message_data TEXT, created_at TEXT)"
        )
        source.executemany(
            "INSERT INTO agent_messages (session_id, message_data, created_at) VALUES ('s', ?, '2025-01-15T09:30:00Z')",
            [(json.dumps(row),) for row in rows],
        )
    monkeypatch.setenv("AGENTS_DB", f"sqlite:///{tmp_path / 'agents.sqlite'}")
    with db.write() as connection:
        set_history(connection, "acme", "agents", "AGENTS_DB", "agent_messages", {"message": "message_data"})
    (report,) = discover(db, settings, NOW)
    assert report.as_dict()["left_out"] == {"results of tools": 1, "thoughts": 1}
    assert (report.rejected, report.reading.lines_read) == (0, 3)
    assert "left out: 1 results of tools, 1 thoughts" in report.summary
    assert query("SELECT speaker, text FROM lines ORDER BY position") == [
        ("user", "What is the weather?"), ("assistant", "calls weather"), ("assistant", "Twelve degrees."),
    ]  # fmt: skip
    (again,) = discover(db, settings, NOW)
    assert (again.reading.lines_read, again.as_dict()["left_out"]) == (0, {})


def conversation(*messages: dict[str, object]) -> list[dict[str, object]]:
    nodes = {
        str(place): {"id": str(place), "parent": str(place - 1) if place else None, "message": message}
        for place, message in enumerate(messages)
    }
    return [{"id": "c", "title": "t", "create_time": NINE, "mapping": nodes, "current_node": str(len(messages) - 1)}]


def message(role: str, text: str, **more: object) -> dict[str, object]:
    content = {"content_type": "text", "parts": [text]}
    return {"author": {"role": role}, "create_time": NINE, "content": content, "recipient": "all", **more}


def test_a_canvas_is_what_was_written_and_marks_of_sources_are_taken_out(tmp_path: Path) -> None:
    created = json.dumps({"name": "Letter", "type": "document", "content": "Dear landlord, it is cold."})
    updated = json.dumps({"updates": [{"pattern": "cold", "multiple": False, "replacement": "very cold"}]})
    named = '\ue200entity\ue202["people","N. Example",0]\ue201'
    marked = f"So says {named}. \ue200cite\ue202turn0search3\ue201 In May【8†source】."
    found = read(
        as_file(
            tmp_path / "conversations.json",
            conversation(
                message("user", "Write a letter."),
                message("assistant", created, recipient="canmore.create_textdoc"),
                message("tool", "Successfully created"),
                message("assistant", updated, recipient="canmore.update_textdoc"),
                message("assistant", '{"query": "x"}', recipient="browser"),
                message("assistant", marked),
            ),
        )
    )
    assert [line.text for line in found.lines] == [
        "Write a letter.", "Dear landlord, it is cold.", "very cold", "So says N. Example. In May.",
    ]  # fmt: skip
    assert found.reading.left_out == {"results of tools": 1, "calls of tools": 1}


@pytest.mark.parametrize("written", ['{"updates": 5}', '{"updates": [7]}', '{"content": 3}', "[1]", "null", "no JSON"])
def test_a_canvas_of_another_shape_does_no_harm(tmp_path: Path, written: str) -> None:
    messages = [message("user", "Hello."), message("assistant", written, recipient="canmore.update_textdoc")]
    found = read(as_file(tmp_path / "conversations.json", conversation(*messages)))
    assert [line.text for line in found.lines] == ["Hello.", *(["no JSON"] if written == "no JSON" else [])]


ALERT = {
    "fallback": "[no preview available]",
    "blocks": [
        {"type": "header", "text": {"type": "plain_text", "text": "FIRING: disk full on web03"}},
        {"type": "section", "fields": [{"type": "mrkdwn", "text": "*Host* web03"}]},
    ],
}


def section(text: str) -> dict[str, object]:
    return {"type": "section", "text": {"type": "mrkdwn", "text": text}}


def test_alerts_say_what_they_show_and_a_short_form_gives_way_to_its_blocks(tmp_path: Path) -> None:
    preview = {"from_url": "https://example.org", "text": "A preview"}
    graph = {"title": "CPU high", "text": "99%", "fields": [{"title": "Host", "value": "web04"}]}
    shown: list[dict[str, object]] = [
        {"text": "", "attachments": [ALERT]},
        {"text": "New request", "blocks": [section("Harbour Ltd wants to leave.")]},
        {"text": "See the page", "attachments": [graph]},
        {"text": "Look: <https://example.org>", "attachments": [preview]},
        {"text": "Same words here", "blocks": [section("Same words here")]},
        {"text": "A picture", "files": [{"id": "F1"}]},
    ]
    posted = [
        {"type": "message", "ts": f"{NINE + number}.000100", "username": "Bot", "subtype": "bot_message", **more}
        for number, more in enumerate(shown)
    ]
    members = {"users.json": [], "channels.json": [{"id": "C1", "name": "ops"}], "ops/2025-01-15.json": posted}
    found = read(as_folder(tmp_path / "slack", members))
    assert [line.text for line in found.lines] == [
        "FIRING: disk full on web03\n*Host* web03",
        "Harbour Ltd wants to leave.",
        "See the page\nCPU high\n99%\nHost: web04",
        "Look: https://example.org",
        "Same words here",
        "A picture",
    ]
    assert found.reading.left_out == {"files": 1}


FOUND_RIGHT: list[tuple[str, int, list[str], list[str]]] = [
    ("03-chatgpt-citations/conversations.json", 6, ["says N. Example.", "north of the country."], ["cite", "†"]),
    ("05-chatgpt-canvas/conversations.json", 3, ["Dear landlord, the heating"], []),
    ("08-claude-attachments/conversations.json", 4, ["roof must be repaired before May", "wait until autumn"], []),
    ("12-slack-alert-attachments/export", 3, ["disk full on web03", "memory low on db01"], ["no preview"]),
    ("13-slack-text-shorter-than-blocks/export", 2, ["Harbour Ltd", "Meadow Inc"], []),
]


@pytest.mark.corpus
@pytest.mark.parametrize(("name", "lines", "there", "gone"), FOUND_RIGHT)
def test_what_was_found_to_be_left_out_is_read(name: str, lines: int, there: list[str], gone: list[str]) -> None:
    if not FOUND.exists():
        pytest.skip("the shared inputs that failed are not here")
    said = [line.text for line in read(FOUND / name).lines]
    assert len(said) == lines
    assert all(any(words in text for text in said) for words in there)
    assert not any(words in text for text in said for words in gone)


TABLES = [
    ("chat_message", {}, "sessionId"),
    ("my-table", {}, "session_id"),
    ("Message_v2", {"text": "parts"}, "chatId"),
]


@pytest.mark.corpus
@pytest.mark.parametrize(("table", "columns", "session"), TABLES)
def test_tables_with_names_of_any_kind_are_read(
    table: str,
    columns: dict[str, str],
    session: str,
    db: Database,
    settings: Settings,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    source = FOUND / "33-camel-case-tables" / "agents.sqlite"
    if not source.exists():
        pytest.skip("the shared inputs that failed are not here")
    copy = tmp_path / "agents.sqlite"
    copy.write_bytes(source.read_bytes())
    with sqlite3.connect(copy) as connection:
        (there,) = connection.execute(f'SELECT count(DISTINCT "{session}") FROM "{table}"').fetchone()
    monkeypatch.setenv("AGENTS_DB", f"sqlite:///{copy}")
    with db.write() as connection:
        set_history(connection, "acme", "agents", "AGENTS_DB", table, columns)
    (report,) = discover(db, settings, NOW)
    assert (report.error, report.rejections) == (None, [])
    assert report.ingested.conversations_new == there > 0


def test_what_was_left_out_is_told_by_crew_until_the_import_is_taken_back(
    db: Database, settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def told() -> dict[str, dict[str, int]]:
        return {one["crew"]: one["kinds"] for one in overview(db, settings)["left_out"]}

    picture = {"role": "user", "content": [TEXT, {"type": "image_url"}]}
    with sqlite3.connect(tmp_path / "agents.sqlite") as source:
        source.execute("CREATE TABLE said (id INTEGER PRIMARY KEY, session_id TEXT, message TEXT, created_at TEXT)")
    monkeypatch.setenv("AGENTS_DB", f"sqlite:///{tmp_path / 'agents.sqlite'}")
    with db.write() as connection:
        set_history(connection, "acme", "agents", "AGENTS_DB", "said", {})
    for place in range(2):
        with sqlite3.connect(tmp_path / "agents.sqlite") as source:
            source.execute(
                "INSERT INTO said (session_id, message, created_at) VALUES ('s', ?, '2025-01-15T09:30:00Z')",
                (json.dumps(picture),),
            )
        discover(db, settings, NOW)
        assert told() == {"agents": {"images": place + 1}}

    path = tmp_path / "chats.jsonl"
    for count in (1, 2):
        records = [{"messages": [picture, {"type": "reasoning"}], "id": str(one)} for one in range(count)]
        path.write_text("".join(json.dumps({**one, "created_at": "2025-01-15T09:30:00Z"}) + "\n" for one in records))
        report = import_export(db, open_export(path), client="acme", crew="chats", settings=settings, now=NOW)
        assert told()["chats"] == {"images": count, "thoughts": count}
    assert report.import_id is not None
    with db.write() as connection:
        imports.undo(connection, report.import_id, lambda client: calendar_of(connection, settings, client, NOW))
    assert told()["chats"] == {"images": 1, "thoughts": 1}
