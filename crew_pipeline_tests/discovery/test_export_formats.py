"""Exports of Limitless, ChatGPT, Claude and Slack: what was said is read, what was not is left, twice is as once."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from crew_pipeline.settings import Settings
from crew_pipeline.storage.database import Database
from crew_pipeline_tests.discovery.exported import NINE, as_file, as_folder, as_zip, import_twice, read


def node(name: str, parent: str | None, text: object = "", role: str = "user", **message: Any) -> dict[str, Any]:
    content = text if isinstance(text, dict) else {"content_type": "text", "parts": [text]}
    return {
        "id": name,
        "parent": parent,
        "children": [],
        "message": {
            "id": name,
            "author": {"role": role, "name": None, "metadata": {}},
            "create_time": NINE + int(name[1:] or 0),
            "content": content,
            "weight": 1.0,
            "metadata": {},
            "recipient": "all",
            **message,
        },
    }


def chat(*nodes: dict[str, Any], **changes: Any) -> dict[str, Any]:
    return {
        "title": "Boiler",
        "create_time": NINE + 0.25,
        "update_time": NINE + 100.5,
        "mapping": {one["id"]: one for one in nodes},
        "current_node": nodes[-1]["id"] if nodes else None,
        "conversation_id": "chat-1",
        **changes,
    }


ROOT = {"id": "root", "message": None, "parent": None, "children": ["n1"]}
BOILER = chat(
    ROOT,
    node("n1", "root", "The boiler is cold."),
    node("n2", "n1", "Is the pilot light on?", "assistant"),
    node("n3", "n2", "It is."),
)


def talk(**changes: Any) -> dict[str, Any]:
    return {
        "uuid": "c-1",
        "name": "Tiles",
        "created_at": "2025-01-15T09:00:00.123456Z",
        "updated_at": "2025-01-15T09:05:00Z",
        "account": {"uuid": "a-1"},
        "chat_messages": [
            said("Which tiles suit a kitchen?", "human"),
            said("Porcelain ones.", "assistant", created_at="2025-01-15T09:01:00.5Z"),
        ],
        **changes,
    }


def said(text: str, sender: str, **changes: Any) -> dict[str, Any]:
    return {
        "uuid": "m",
        "text": text,
        "content": [{"type": "text", "text": text, "citations": []}],
        "sender": sender,
        "created_at": "2025-01-15T09:00:10Z",
        "attachments": [],
        "files": [],
        **changes,
    }


def lifelog(**changes: Any) -> dict[str, Any]:
    return {
        "id": "log-1",
        "title": "Planning the fence",
        "markdown": "# Planning the fence",
        "startTime": "2025-01-15T09:00:00Z",
        "endTime": "2025-01-15T09:10:00Z",
        "contents": [
            {"type": "heading1", "content": "Planning the fence"},
            {
                "type": "heading2",
                "content": "Which wood",
                "children": [heard("We take larch.", 1, speakerName="Nora"), heard("How long does it last?", 2)],
            },
            heard("Twenty years.", 3, speakerName=None, speakerIdentifier="user"),
        ],
        **changes,
    }


def heard(text: str, minute: int, **changes: Any) -> dict[str, Any]:
    return {
        "type": "blockquote",
        "content": text,
        "startTime": f"2025-01-15T09:0{minute}:00Z",
        "endTime": f"2025-01-15T09:0{minute}:05Z",
        "startOffsetMs": minute * 60_000,
        "endOffsetMs": minute * 60_000 + 5_000,
        **changes,
    }


FENCE = [
    ("log-1", 0, "Nora", "We take larch."),
    ("log-1", 1, "Unknown", "How long does it last?"),
    ("log-1", 2, "You", "Twenty years."),
]

TRANSCRIPT = """# Fixing the gate

## The hinge

> [1](#startMs=1736931660000&endMs=1736931664000): The hinge is rusty.

> [Nora](#startMs=1736931665000&endMs=1736931669000): I bring oil.
> And a brush.

- Talked about the hinge
"""


def posted(text: str, seconds: str, **changes: Any) -> dict[str, Any]:
    return {"type": "message", "user": "U1", "text": text, "ts": seconds, **changes}


WORKSPACE: dict[str, object] = {
    "users.json": [
        {"id": "U1", "name": "ann.b", "real_name": "Ann Berg", "profile": {"display_name": "Ann", "real_name": "A"}},
        {"id": "U2", "name": "ben.c", "profile": {"display_name": "", "real_name": "Ben Cole"}},
        {"id": "U3", "name": "cleo", "profile": {}},
    ],
    "channels.json": [{"id": "C1", "name": "garden", "members": ["U1", "U2"]}],
    "dms.json": [{"id": "D1", "members": ["U1", "U2"]}],
    "garden/2025-01-15.json": [
        posted("The roses need water", "1736931600.000100"),
        posted("I do it", "1736931660.000200", user="U2"),
    ],
    "D1/2025-01-15.json": [posted("Lunch?", "1736931600.000300")],
}
ROSES = [
    ("D1/2025-01-15", 1736931600000300, "Ann", "Lunch?"),
    ("garden/2025-01-15", 1736931600000100, "Ann", "The roses need water"),
    ("garden/2025-01-15", 1736931660000200, "Ben Cole", "I do it"),
]


def garden(tmp_path: Path, *messages: dict[str, Any]) -> Path:
    return as_folder(tmp_path / "slack", {**WORKSPACE, "garden/2025-01-15.json": list(messages)})


class TestChatGPT:
    def test_the_branch_that_was_last_seen_is_read(self, tmp_path: Path) -> None:
        edited = chat(*BOILER["mapping"].values(), node("n9", "n2", "It is out."), current_node="n9")
        found = read(as_file(tmp_path / "x", [edited]))
        assert found.said == [
            ("chat-1", 0, "user", "The boiler is cold."),
            ("chat-1", 1, "assistant", "Is the pilot light on?"),
            ("chat-1", 2, "user", "It is out."),
        ]
        assert found.export.format == "chatgpt"
        assert found.export.whole_sessions
        assert found.reading.titles == {"chat-1": "Boiler"}
        assert found.lines[0].spoken_at == datetime(2025, 1, 15, 9, 0, 1, tzinfo=UTC)

    def test_a_line_that_is_refused_keeps_what_an_earlier_export_had_in_its_place(
        self, tmp_path: Path, db: Database, settings: Settings
    ) -> None:
        assert import_twice(as_file(tmp_path / "a", [BOILER]), db, settings)[1]["stored"]["lines"] == 3
        spoiled = chat(
            *BOILER["mapping"].values(), node("n2", "n1", "Is the pilot\x00 on?", "assistant"), current_node="n3"
        )
        later, _ = import_twice(as_file(tmp_path / "b", [spoiled]), db, settings)
        assert (later["lines"]["rejected"], later["lines_withdrawn"], later["stored"]["lines"]) == (1, 0, 3)

    def test_a_newer_export_takes_back_what_its_conversation_has_no_more_and_an_older_one_nothing(
        self, tmp_path: Path, db: Database, settings: Settings
    ) -> None:
        whole = [ROOT, node("n1", "root", "The boiler is cold."), node("n2", "n1", "Is it?", "assistant")]
        longer = as_file(
            tmp_path / "a", [chat(*whole, node("n3", "n2", "It is."), node("n4", "n3", "Oh.", "assistant"))]
        )
        edited = as_file(tmp_path / "b", [chat(*whole, node("n9", "n2", "It was, an hour ago."))])
        older = as_file(tmp_path / "c", [chat(*whole)])
        assert import_twice(longer, db, settings)[0]["lines"]["new"] == 4
        newer, again = import_twice(edited, db, settings)
        assert (newer["lines"]["changed"], newer["lines_withdrawn"], newer["stored"]["lines"]) == (1, 1, 3)
        assert (again["lines"]["changed"], again["lines_withdrawn"]) == (0, 0)
        assert import_twice(older, db, settings)[1]["stored"]["lines"] == 3

    def test_what_is_hidden_empty_or_meant_for_a_tool_is_not_a_line(self, tmp_path: Path) -> None:
        conversation = chat(
            node("n1", None, "You are helpful.", "system"),
            node("n2", "n1", "I am a plumber.", metadata={"is_visually_hidden_from_conversation": True}),
            node("n3", "n2", "How warm is it?"),
            node("n4", "n3", {"content_type": "code", "text": "weather()"}, "assistant", recipient="browser"),
            node("n5", "n4", {"content_type": "execution_output", "text": "4"}, "tool"),
            node("n6", "n5", {"content_type": "thoughts", "thoughts": []}, "assistant"),
            node("n7", "n6", "Draft", "assistant", weight=0.0),
            node("n8", "n7", "  ", "assistant"),
            node("n9", "n8", "Four degrees.", "assistant"),
        )
        found = read(as_file(tmp_path / "x", [conversation]))
        assert [line.text for line in found.lines] == ["How warm is it?", "Four degrees."]
        assert (found.reading.lines_read, found.reading.rejected) == (2, 0)

    def test_of_mixed_parts_the_text_and_the_spoken_words_are_kept(self, tmp_path: Path) -> None:
        parts = [
            {"content_type": "image_asset_pointer", "asset_pointer": "file-service://f"},
            "What plant is this?",
            {"content_type": "audio_transcription", "text": "It stands in the hall."},
            7,
        ]
        conversation = chat(node("n1", None, {"content_type": "multimodal_text", "parts": parts}))
        found = read(as_file(tmp_path / "x", [conversation]))
        assert [line.text for line in found.lines] == ["What plant is this?\nIt stands in the hall."]

    def test_a_missing_time_is_that_of_the_line_before_or_of_the_conversation(self, tmp_path: Path) -> None:
        nodes = [node(f"n{i}", f"n{i - 1}" if i > 1 else None, f"line {i}") for i in range(1, 4)]
        nodes[0]["message"]["create_time"] = None
        nodes[2]["message"]["create_time"] = None
        found = read(as_file(tmp_path / "x", [chat(*nodes)]))
        moments = [line.spoken_at.timestamp() for line in found.lines]
        assert moments == [NINE + 0.25, NINE + 2, NINE + 2]

    def test_times_are_exact_to_the_microsecond(self, tmp_path: Path) -> None:
        found = read(as_file(tmp_path / "x", [chat(node("n1", None, "Now", create_time=1736931600.123457))]))
        assert found.lines[0].spoken_at.microsecond == 123457

    def test_of_a_broken_tree_what_can_be_walked_is_read(self, tmp_path: Path) -> None:
        torn = chat(node("n5", "gone", "After the gap"), node("n6", "n5", "The end"), conversation_id="torn")
        headless = chat(*BOILER["mapping"].values(), current_node=None, conversation_id="headless")
        found = read(as_file(tmp_path / "x", [torn, headless]))
        assert [line.text for line in found.lines if line.session_id == "torn"] == ["After the gap", "The end"]
        assert [line.text for line in found.lines if line.session_id == "headless"][-1] == "It is."
        assert found.reading.rejected == 0

    def test_a_tree_that_runs_in_a_circle_is_refused_and_the_rest_is_read(self, tmp_path: Path) -> None:
        circle = chat(node("n1", "n2", "a"), node("n2", "n1", "b"), conversation_id="round")
        rootless = chat(node("n1", "n2", "a"), node("n2", "n1", "b"), current_node=None, conversation_id="round-2")
        shapeless = {**chat(conversation_id="no-tree"), "mapping": [1, 2]}
        found = read(as_file(tmp_path / "x", [circle, rootless, shapeless, BOILER]))
        assert len(found.lines) == 3
        assert found.reading.rejected == 3
        assert "conversation round: its messages run in a circle" in found.reasons[0]
        assert "circle" in found.reasons[1]
        assert "no-tree: its messages are no tree" in found.reasons[2]

    @pytest.mark.parametrize("moment", [1e300, -1e300, 10**18, "yesterday", True, -5])
    def test_an_impossible_time_refuses_the_line_and_not_the_rest(self, tmp_path: Path, moment: object) -> None:
        conversation = chat(node("n1", None, "When?", create_time=moment), node("n2", "n1", "Now."))
        found = read(as_file(tmp_path / "x", [conversation]))
        assert [(line.position, line.text) for line in found.lines] == [(1, "Now.")]
        assert found.reading.rejected == 1
        assert "chat-1: created_at" in found.reasons[0]

    def test_split_files_in_a_folder_or_archive_are_one_export(self, tmp_path: Path) -> None:
        members = {
            "conversations-000.json": [BOILER],
            "conversations-001.json": [{**BOILER, "conversation_id": "chat-2"}],
            "user.json": {"id": "u"},
            "message_feedback.json": [{"id": "f", "rating": "up"}],
            "chat.html": "<html></html>",
        }
        for path in (as_folder(tmp_path / "x", members), as_zip(tmp_path / "x.zip", members)):
            found = read(path)
            assert found.export.format == "chatgpt"
            assert {line.session_id for line in found.lines} == {"chat-1", "chat-2"}
            assert len(found.lines) == 6

    def test_a_conversation_beyond_measure_is_refused_and_the_rest_is_read(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("crew_pipeline.discovery.exports.objects.objects.__defaults__", ((), 1024**2))
        large = chat(*(node(f"n{i}", f"n{i - 1}" if i else None, "word " * 500) for i in range(500)), title="Epic")
        found = read(as_file(tmp_path / "x", [large, BOILER]))
        assert len(found.lines) == 3
        assert "'Epic' is larger than 1 MiB" in found.reasons[0]

    def test_importing_twice_changes_nothing(self, tmp_path: Path, db: Database, settings: Settings) -> None:
        first, second = import_twice(as_zip(tmp_path / "x.zip", {"conversations.json": [BOILER]}), db, settings)
        assert first["lines"] == {"read": 3, "new": 3, "changed": 0, "skipped": 0, "rejected": 0}
        assert second["lines"] == {"read": 3, "new": 0, "changed": 0, "skipped": 3, "rejected": 0}


class TestClaude:
    def test_messages_are_read_in_order_with_speakers_and_titles(self, tmp_path: Path) -> None:
        found = read(as_file(tmp_path / "x", [talk()]))
        assert found.said == [
            ("c-1", 0, "human", "Which tiles suit a kitchen?"),
            ("c-1", 1, "assistant", "Porcelain ones."),
        ]
        assert found.export.format == "claude"
        assert found.export.whole_sessions
        assert found.reading.titles == {"c-1": "Tiles"}
        assert found.lines[1].spoken_at == datetime(2025, 1, 15, 9, 1, 0, 500_000, tzinfo=UTC)

    def test_of_the_parts_only_text_is_kept_and_plain_text_where_there_are_none(self, tmp_path: Path) -> None:
        parts = [
            {"type": "thinking", "thinking": "Hm."},
            {"type": "text", "text": "Look here."},
            {"type": "tool_use", "name": "search", "input": {}},
            {"type": "tool_result", "content": [{"type": "text", "text": "found"}]},
            {"type": "text", "text": "Done."},
        ]
        messages = [said("placeholder", "assistant", content=parts), said("Old shape", "human", content=[])]
        found = read(as_file(tmp_path / "x", [talk(chat_messages=messages)]))
        assert [line.text for line in found.lines] == ["Look here.\nDone.", "Old shape"]

    def test_empty_messages_and_conversations_are_no_rejections(self, tmp_path: Path) -> None:
        empty = talk(uuid="c-2", chat_messages=[])
        found = read(as_file(tmp_path / "x", [empty, talk(chat_messages=[said("", "human"), said("Yes", "human")])]))
        assert found.said == [("c-1", 0, "human", "Yes")]
        assert (found.reading.lines_read, found.reading.rejected) == (1, 0)

    def test_a_missing_time_is_that_of_the_conversation_and_a_broken_record_is_refused(self, tmp_path: Path) -> None:
        messages = [said("Early", "human", created_at=None), 7, {**said("Nobody", "human"), "sender": None}]
        found = read(as_file(tmp_path / "x", [talk(chat_messages=messages), {"chat_messages": [], "name": "Lost"}]))
        assert [line.spoken_at.microsecond for line in found.lines] == [123456]
        assert [reason.partition(": ")[2][:22] for reason in found.reasons] == [
            "a message is no object",
            "speaker missing; every",
            "it has no uuid or no l",
        ]

    def test_a_folder_and_an_archive_are_read_and_twice_changes_nothing(
        self, tmp_path: Path, db: Database, settings: Settings
    ) -> None:
        members = {"conversations.json": [talk()], "users.json": [{"uuid": "a-1"}], "projects.json": []}
        first, _ = import_twice(as_folder(tmp_path / "x", members), db, settings)
        again, _ = import_twice(as_zip(tmp_path / "x.zip", members), db, settings)
        assert first["lines"]["new"] == 2
        assert again["lines"] == {"read": 2, "new": 0, "changed": 0, "skipped": 2, "rejected": 0}


class TestLimitless:
    @pytest.mark.parametrize(
        "content",
        [
            {"data": {"lifelogs": [lifelog()]}, "meta": {"lifelogs": {"nextCursor": "x", "count": 1}}},
            {"meta": {"lifelogs": {"nextCursor": None, "count": 1}}, "data": {"lifelogs": [lifelog()]}},
            {"lifelogs": [lifelog()]},
            {"data": {"lifelog": lifelog()}},
            [lifelog()],
            [{"data": {"lifelogs": [lifelog()]}, "meta": {}}],
            lifelog(),
            json.dumps(lifelog()) + "\n",
            json.dumps({"data": {"lifelogs": [lifelog()]}}) + "\n" + json.dumps({"data": {"lifelogs": []}}),
            json.dumps({"data": {"lifelogs": [lifelog()]}}, indent=2),
        ],
    )
    def test_every_shape_of_the_api_is_read(self, tmp_path: Path, content: object) -> None:
        found = read(as_file(tmp_path / "x", content))
        assert found.export.format == "limitless"
        assert found.said == FENCE
        assert found.export.whole_sessions
        assert found.reading.titles == {"log-1": "Planning the fence"}
        assert found.reading.rejected == 0

    def test_pages_in_a_folder_are_one_export(self, tmp_path: Path) -> None:
        pages = {f"page-{n}.json": {"data": {"lifelogs": [lifelog(id=f"log-{n}")]}} for n in range(3)}
        found = read(as_folder(tmp_path / "x", pages))
        assert sorted({line.session_id for line in found.lines}) == ["log-0", "log-1", "log-2"]

    def test_times_come_from_offsets_or_from_before_where_they_are_missing(self, tmp_path: Path) -> None:
        contents = [
            heard("a", 1, startTime=None),
            heard("b", 2, startTime=None, startOffsetMs=None),
            heard("c", 3, startTime="noon"),
        ]
        found = read(as_file(tmp_path / "x", [lifelog(contents=contents)]))
        assert [line.spoken_at.minute for line in found.lines] == [1, 1]
        assert "lifelog log-1: created_at 'noon'" in found.reasons[0]

    def test_a_lifelog_with_only_markdown_is_read_from_that(self, tmp_path: Path) -> None:
        written = "# Trip\n\n- You (1/15/25 9:31 AM): We take the coast road.\n\n- Ann (1/15/25 12:05 PM): Fine.\n"
        found = read(as_file(tmp_path / "x", [lifelog(contents=[], markdown=written)]), zone=ZoneInfo("Europe/Berlin"))
        assert found.said == [("log-1", 0, "You", "We take the coast road."), ("log-1", 1, "Ann", "Fine.")]
        assert [line.spoken_at.isoformat() for line in found.lines] == [
            "2025-01-15T09:31:00+01:00",
            "2025-01-15T12:05:00+01:00",
        ]

    def test_the_export_of_the_app_is_read_from_archive_and_folder_alike(self, tmp_path: Path) -> None:
        inside = "lifelogs/2025/01/15/2025-01-15_09h00m00s_Fixing-the-gate.md"
        packed = as_zip(tmp_path / "x.zip", {f"data-export_2025-12-07/{inside}": TRANSCRIPT, "chats/1.json": {"id": 1}})
        loose = as_folder(tmp_path / "x", {inside: TRANSCRIPT, "lifelogs/2025/README.md": "# About\n"})
        single = tmp_path / "x" / inside
        for path in (packed, loose, single):
            found = read(path)
            session = "2025-01-15_09h00m00s_Fixing-the-gate"
            assert found.said == [
                (session, 0, "Speaker 1", "The hinge is rusty."),
                (session, 1, "Nora", "I bring oil.\nAnd a brush."),
            ]
            assert found.lines[0].spoken_at == datetime(2025, 1, 15, 9, 1, tzinfo=UTC)
            assert found.reading.titles[session] == "Fixing the gate"

    @pytest.mark.parametrize(
        ("line", "speaker", "moment"),
        [
            ("- Ann (1/15/25 9:31 AM): Hi", "Ann", "2025-01-15T09:31:00+00:00"),
            ("- Ann (1/15/2025, 9:31:07\u202fPM): Hi", "Ann", "2025-01-15T21:31:07+00:00"),
            ("- **Ann** (01/15/25 12:00 am): Hi", "Ann", "2025-01-15T00:00:00+00:00"),
            ("> Ann B. (2025-01-15 14:31): Hi", "Ann B.", "2025-01-15T14:31:00+00:00"),
            ("- Ann (guest) (1/15/25 9:31 AM): Hi", "Ann (guest)", "2025-01-15T09:31:00+00:00"),
            ("> [You](#startMs=1736933460000&endMs=1736933461000): Hi", "You", "2025-01-15T09:31:00+00:00"),
            ("[2](#startMs=1736933460000&amp;endMs=1736933461000): Hi", "Speaker 2", "2025-01-15T09:31:00+00:00"),
            ("> [0](#startMs=60000&endMs=61000): Hi", "Speaker 0", "2025-01-15T09:01:00+00:00"),
        ],
    )
    def test_each_variant_of_a_transcript_is_understood(
        self, tmp_path: Path, line: str, speaker: str, moment: str
    ) -> None:
        path = as_file(tmp_path / "2025-01-15_09h00m00s_Talk.md", f"# Talk\n\n{line}\n")
        found = read(path).lines
        assert [(one.speaker, one.text, one.spoken_at.isoformat()) for one in found] == [(speaker, "Hi", moment)]

    def test_a_time_that_nothing_tells_is_refused_with_the_file(self, tmp_path: Path) -> None:
        path = as_file(tmp_path / "notes.md", "> [1](#startMs=5&endMs=6): Hi\n\n- Ann (13/45/25 9:31 AM): Ho\n")
        found = read(path)
        assert found.lines == []
        assert "notes.md: its time counts from a beginning" in found.reasons[0]
        assert "is on no calendar" in found.reasons[1]

    def test_importing_twice_changes_nothing(self, tmp_path: Path, db: Database, settings: Settings) -> None:
        first, second = import_twice(as_file(tmp_path / "x", {"data": {"lifelogs": [lifelog()]}}), db, settings)
        assert first["lines"]["new"] == 3
        assert second["lines"] == {"read": 3, "new": 0, "changed": 0, "skipped": 3, "rejected": 0}


class TestSlack:
    def test_channels_and_direct_messages_are_sessions_of_a_day_with_names_resolved(self, tmp_path: Path) -> None:
        wrapped = {f"export/{name}": content for name, content in WORKSPACE.items()}
        archives = [as_zip(tmp_path / "x.zip", WORKSPACE), as_zip(tmp_path / "y.zip", wrapped)]
        for path in (as_folder(tmp_path / "x", WORKSPACE), *archives):
            found = read(path)
            assert found.export.format == "slack"
            assert not found.export.whole_sessions
            assert found.said == ROSES
            assert found.reading.titles == {"garden/2025-01-15": "#garden", "D1/2025-01-15": "Ann, Ben Cole"}

    def test_a_day_is_one_of_the_configured_zone(self, tmp_path: Path) -> None:
        path = garden(tmp_path, posted("Late", "1736983800.000000"))  # 2025-01-15T23:30:00Z
        assert read(path).lines[-1].session_id == "garden/2025-01-15"
        assert read(path, zone=ZoneInfo("Europe/Berlin")).lines[-1].session_id == "garden/2025-01-16"

    def test_a_thread_is_a_session_of_its_own(self, tmp_path: Path) -> None:
        path = garden(
            tmp_path,
            posted("Who mows?", "1736931600.000100", thread_ts="1736931600.000100", reply_count=2),
            posted("Alone", "1736931601.000100", thread_ts="1736931601.000100"),
            posted("Me", "1736931602.000100", thread_ts="1736931600.000100", user="U2"),
            posted("All hear it", "1736931603.000100", thread_ts="1736931600.000100", subtype="thread_broadcast"),
        )
        assert [one[0] for one in read(path).said if one[0].startswith("garden")] == [
            "garden/1736931600.000100",
            "garden/2025-01-15",
            "garden/1736931600.000100",
            "garden/1736931600.000100",
        ]

    def test_mentions_links_and_entities_are_readable(self, tmp_path: Path) -> None:
        text = (
            "<@U1> &amp; <@U9|zoe> &lt;3 <#C1> <#C7|roof> <!here> <!subteam^S1|@crew> "
            "<https://a.example/x|the plan> <https://b.example> <mailto:q@c.example|q@c.example> <https://d.example|d.example>"
        )
        assert read(garden(tmp_path, posted(text, "1736931600.000100"))).lines[-1].text == (
            "@Ann & @zoe <3 #garden #roof @here @crew the plan (https://a.example/x) https://b.example q@c.example "
            "https://d.example"
        )

    def test_housekeeping_and_what_has_no_text_is_no_line(self, tmp_path: Path) -> None:
        quiet = (
            "channel_join",
            "channel_leave",
            "channel_topic",
            "pinned_item",
            "tombstone",
            "huddle_thread",
            "bot_add",
        )
        path = garden(
            tmp_path,
            *(posted("has joined", f"1736931600.00000{n}", subtype=subtype) for n, subtype in enumerate(quiet)),
            posted("", "1736931600.000200", files=[{"id": "F1"}]),
            posted("See the photo", "1736931600.000300", subtype="file_share", files=[{"id": "F1"}]),
        )
        found = read(path)
        assert [line.text for line in found.lines] == ["Lunch?", "See the photo"]
        assert (found.reading.lines_read, found.reading.rejected) == (2, 0)

    def test_an_edited_message_has_its_present_text(self, tmp_path: Path) -> None:
        path = garden(
            tmp_path,
            posted("Corrected", "1736931600.000100", edited={"user": "U1", "ts": "1736931700.000000"}),
            {
                "type": "message",
                "subtype": "message_changed",
                "ts": "1736931800.000000",
                "message": posted("Also corrected", "1736931601.000100"),
            },
        )
        assert [(line.position, line.text) for line in read(path).lines[-2:]] == [
            (1736931600000100, "Corrected"),
            (1736931601000100, "Also corrected"),
        ]

    def test_bots_and_strangers_have_a_name(self, tmp_path: Path) -> None:
        path = garden(
            tmp_path,
            posted(
                "Rain today", "1736931600.000100", subtype="bot_message", username="Weather", bot_id="B1", user=None
            ),
            posted("Built", "1736931600.000200", user="U8", bot_profile={"name": "Builder"}),
            posted("Hello", "1736931600.000300", user="U9", user_profile={"real_name": "Zoe", "name": "z"}),
            posted("Who am I", "1736931600.000400", user="U7"),
            posted("Third", "1736931600.000500", user="U3"),
            posted("Nobody", "1736931600.000600", user=None),
        )
        found = read(path)
        assert [line.speaker for line in found.lines[1:]] == ["Weather", "Builder", "Zoe", "U7", "cleo"]
        assert found.reasons == ["garden/2025-01-15.json: speaker missing; every line needs it"]

    @pytest.mark.parametrize("stamp", [None, "soon", "1736931600.0000001", "-5", True, ["1"]])
    def test_a_message_without_a_time_stamp_is_refused(self, tmp_path: Path, stamp: object) -> None:
        found = read(garden(tmp_path, {**posted("When?", ""), "ts": stamp}, posted("Now", "1736931600.000100")))
        assert [line.text for line in found.lines] == ["Lunch?", "Now"]
        assert "garden/2025-01-15.json: ts must be seconds" in found.reasons[0]

    def test_a_later_and_larger_export_adds_only_what_is_new(
        self, tmp_path: Path, db: Database, settings: Settings
    ) -> None:
        first, second = import_twice(as_folder(tmp_path / "x", WORKSPACE), db, settings)
        assert first["lines"]["new"] == 3
        assert second["lines"] == {"read": 3, "new": 0, "changed": 0, "skipped": 3, "rejected": 0}
        more = [
            posted("Good morning", "1736928000.000000"),
            *[
                posted("The roses need water", "1736931600.000100"),
                posted("I do it", "1736931660.000200", user="U2"),
            ],
        ]
        later, _ = import_twice(as_zip(tmp_path / "y.zip", {**WORKSPACE, "garden/2025-01-15.json": more}), db, settings)
        assert later["lines"] == {"read": 4, "new": 1, "changed": 0, "skipped": 3, "rejected": 0}

    def test_what_stands_only_in_blocks_or_attachments_is_read(self, tmp_path: Path) -> None:
        words = [
            {"type": "text", "text": "Only "},
            {"type": "emoji", "name": "wave"},
            {"type": "user", "user_id": "U1"},
        ]
        rich = [{"type": "rich_text", "elements": [{"type": "rich_text_section", "elements": words}]}]
        section = [{"type": "section", "text": {"type": "mrkdwn", "text": "In a section"}}]
        path = garden(
            tmp_path,
            posted("", "1736931600.000100", blocks=rich),
            posted("", "1736931601.000100", blocks=section),
            posted("", "1736931602.000100", subtype="bot_message", attachments=[{"fallback": "Build failed"}]),
        )
        assert [line.text for line in read(path).lines][-3:] == ["Only :wave:@Ann", "In a section", "Build failed"]

    def test_one_broken_day_costs_that_day(self, tmp_path: Path) -> None:
        path = as_folder(tmp_path / "x", {**WORKSPACE, "garden/2025-01-16.json": b'[{"ts": "17'})
        found = read(path)
        assert found.said == ROSES
        assert "garden/2025-01-16.json" in found.reasons[0]

    def test_a_message_that_is_answered_later_moves_to_its_thread(
        self, tmp_path: Path, db: Database, settings: Settings
    ) -> None:
        lists = {name: content for name, content in WORKSPACE.items() if "/" not in name}
        alone = posted("Who mows?", "1736931600.000100")
        import_twice(as_zip(tmp_path / "x.zip", {**lists, "garden/2025-01-15.json": [alone]}), db, settings)
        answered = [
            posted("Who mows?", "1736931600.000100", thread_ts="1736931600.000100", reply_count=1),
            posted("Me", "1736931602.000100", thread_ts="1736931600.000100", user="U2"),
        ]
        later, again = import_twice(
            as_zip(tmp_path / "y.zip", {**lists, "garden/2025-01-15.json": answered}), db, settings
        )
        assert (later["lines_withdrawn"], again["lines_withdrawn"]) == (1, 0)
        assert again["stored"] == {"conversations": 1, "lines": 2}
        assert later["days"] == ["2025-01-15"]

    def test_one_day_alone_is_no_whole_export(self, tmp_path: Path) -> None:
        path = as_file(tmp_path / "2025-01-15.json", WORKSPACE["garden/2025-01-15.json"])
        with pytest.raises(ValueError, match="no whole Slack export; give the folder"):
            read(path, "slack")
