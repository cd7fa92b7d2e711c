"""Chats of messengers, captions of meetings, sessions of agents: what was said is read, all else is counted."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from crew_pipeline.discovery.exports.files import ExportError
from crew_pipeline.discovery.exports.several import open_exports
from crew_pipeline.settings import Settings
from crew_pipeline.storage.database import Database
from crew_pipeline_tests.discovery.exported import as_file, as_folder, as_zip, import_twice, read

FOUND = Path(__file__).parents[2].parent / "shared" / "data" / "found"


def jsonl(*records: object) -> bytes:
    return b"".join(json.dumps(record).encode() + b"\n" for record in records)


class TestWhatsApp:
    @pytest.mark.parametrize(
        ("row", "moment"),
        [
            ("1/15/25, 9:30 AM - {}", "2025-01-15T09:30:00"),
            ("1/15/25, 9:30\u202fPM - {}", "2025-01-15T21:30:00"),
            ("15/01/2025, 09:30 - {}", "2025-01-15T09:30:00"),
            ("15.01.25, 09:30 - {}", "2025-01-15T09:30:00"),
            ("15.1.2025 09:30 - {}", "2025-01-15T09:30:00"),
            ("2025-01-15, 09:30 - {}", "2025-01-15T09:30:00"),
            ("15-01-2025 09:30 - {}", "2025-01-15T09:30:00"),
            ("[15/01/2025, 09:30:05] {}", "2025-01-15T09:30:05"),
            ("\u200e[1/15/25, 9:30:05\u202fAM] {}", "2025-01-15T09:30:05"),
            ("[15.01.25, 09:30:05] {}", "2025-01-15T09:30:05"),
            ("[15/01/2025 09.30.05] {}", "2025-01-15T09:30:05"),
        ],
    )
    def test_all_orders_of_dates_are_read(self, tmp_path: Path, row: str, moment: str) -> None:
        talk = "\n".join([row.format("Ann: hello"), row.format("Ben: it was changed"), "to the later one", "", "so"])
        found = read(as_file(tmp_path / "WhatsApp Chat with Ann.txt", talk))
        assert found.export.format == "whatsapp"
        assert [(line.speaker, line.text) for line in found.lines] == [
            ("Ann", "hello"),
            ("Ben", "it was changed\nto the later one\n\nso"),
        ]
        assert {line.spoken_at for line in found.lines} == {datetime.fromisoformat(moment).replace(tzinfo=UTC)}
        assert {line.session_id for line in found.lines} == {"Ann"}

    def test_the_order_of_day_and_month_is_told_by_the_file_or_asked_for(self, tmp_path: Path) -> None:
        def days(*dates: str) -> list[str]:
            talk = "\n".join(f"{date}, 09:30 - Ann: hello" for date in dates)
            found = read(as_file(tmp_path / "chat.txt", talk))
            return [f"{line.spoken_at:%m-%d}" for line in found.lines] or found.reasons

        assert days("03/04/2024", "13/04/2024") == ["04-03", "04-13"]
        assert days("03/04/2024", "04/13/2024") == ["03-04", "04-13"]
        assert days("02/03/2024", "03/03/2024", "01/04/2024") == ["03-02", "03-03", "04-01"]
        assert days("03/02/2024", "03/03/2024", "04/01/2024") == ["03-02", "03-03", "04-01"]
        (refused, _) = days("02/03/2024", "03/04/2024")
        assert "--day-first" in refused

    def test_notes_and_media_are_counted_and_edits_are_no_words(self, tmp_path: Path) -> None:
        talk = (
            "1/15/25, 9:00 AM - Messages and calls are end-to-end encrypted.\n"
            "1/15/25, 9:01 AM - Ann: <Media omitted>\n"
            "1/15/25, 9:02 AM - Ben: IMG-1.jpg (file attached)\n"
            "1/15/25, 9:03 AM - Ben: I will come at 5: or at 6 <This message was edited>\n"
            "1/15/25, 9:04 AM - Ann: \u200eimage omitted\n"
            "1/15/25, 9:05 AM - Ann: is a < b or b > c?\n"
        )
        found = read(as_zip(tmp_path / "WhatsApp Chat - The garden.zip", {"_chat.txt": talk}))
        assert [(line.session_id, line.text) for line in found.lines] == [
            ("The garden", "I will come at 5: or at 6"),
            ("The garden", "is a < b or b > c?"),
        ]
        assert found.reading.left_out == {"notes of WhatsApp": 1, "media": 3}

    def test_an_export_that_begins_later_brings_nothing_twice(
        self, tmp_path: Path, db: Database, settings: Settings
    ) -> None:
        rows = [f"15/01/2025, 09:{minute:02d} - Ann: line {minute}" for minute in range(9)]
        path = as_file(tmp_path / "chat.txt", "\n".join(rows))
        first, second = import_twice(path, db, settings)
        assert (first["lines"]["new"], second["lines"]["new"]) == (9, 0)
        as_file(path, "\n".join([*rows[4:], "15/01/2025, 09:30 - Ben: new"]))
        later, _ = import_twice(path, db, settings)
        assert (later["lines"]["new"], later["lines_withdrawn"]) == (1, 0)

    @hypothesis_settings(max_examples=50, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
    @given(st.text(max_size=400))
    def test_whatever_stands_in_it_is_read_or_counted(self, tmp_path: Path, words: str) -> None:
        head = "15/01/2025, 09:30 - Ann: hello\n15/01/2025, 09:31 - Ann: "
        content = (head + words).encode("utf-8", "replace")
        found = read(as_file(tmp_path / "chat.txt", content))
        assert found.lines[0].text.startswith("hello")
        assert len(found.lines) + found.reading.rejected + sum(found.reading.left_out.values()) >= 2


def telegram(*messages: dict[str, Any], **chat: Any) -> dict[str, Any]:
    return {"name": "Ann", "type": "personal_chat", "id": 4411, **chat, "messages": list(messages)}


HELLO = {"id": 2, "type": "message", "date": "2025-01-15T10:00:10", "date_unixtime": "1736931610", "from": "Ann"}


class TestTelegram:
    def test_words_in_parts_are_one_and_what_is_none_is_counted(self, tmp_path: Path) -> None:
        found = read(
            as_file(
                tmp_path / "result.json",
                telegram(
                    {"id": 1, "type": "service", "date": "2025-01-15T09:00:00", "actor": "Ann", "text": ""},
                    {**HELLO, "text": ["Yes, see ", {"type": "link", "text": "https://example.org"}, "."]},
                    {**HELLO, "id": 3, "from": None, "text": "I am gone."},
                    {**HELLO, "id": 4, "text": "", "photo": "photos/1.jpg"},
                ),
            )
        )
        assert found.said == [
            ("4411", 2, "Ann", "Yes, see https://example.org."),
            ("4411", 3, "Deleted account", "I am gone."),
        ]
        assert found.lines[0].spoken_at == datetime(2025, 1, 15, 9, 0, 10, tzinfo=UTC)
        assert (found.reading.titles, dict(found.reading.left_out)) == (
            {"4411": "Ann"},
            {"notes of Telegram": 1, "media": 1},
        )

    def test_all_chats_of_an_account_are_sessions_of_their_own(
        self, tmp_path: Path, db: Database, settings: Settings
    ) -> None:
        chats = [telegram({**HELLO, "text": f"in {n}"}, id=n, name=f"chat {n}") for n in range(3)]
        account = {"about": "Here is the data", "personal_information": {"x": 1}, "chats": {"about": "", "list": chats}}
        path = as_file(tmp_path / "result.json", account)
        assert [line.session_id for line in read(path).lines] == ["0", "1", "2"]
        first, second = import_twice(path, db, settings)
        assert (first["conversations"]["new"], second["lines"]["new"]) == (3, 0)

    def test_a_chat_of_years_is_not_held_in_memory(self, tmp_path: Path) -> None:
        with (tmp_path / "result.json").open("w") as file:
            file.write('{"name": "Ann", "type": "personal_chat", "id": 7, "messages": [')
            message = json.dumps({**HELLO, "text": "x" * 2000})
            file.write(",".join([message] * 40_000))
            file.write("]}")
        found = read(tmp_path / "result.json")
        assert len(found.lines) == 40_000


class TestDiscord:
    def channel(self, *messages: dict[str, Any]) -> dict[str, Any]:
        return {
            "guild": {"id": "1", "name": "Garden"},
            "channel": {"id": "22", "type": "GuildTextChat", "name": "general"},
            "messages": list(messages),
            "messageCount": len(messages),
        }

    def message(self, number: int, content: str, **more: Any) -> dict[str, Any]:
        return {
            "id": str(number),
            "type": "Default",
            "timestamp": "2025-01-15T09:30:00.687+00:00",
            "content": content,
            "author": {"id": "5", "name": "ann", "nickname": "Ann"},
            "attachments": [],
            "embeds": [],
            **more,
        }

    def test_a_channel_is_read_and_a_folder_of_channels_is_one_export(self, tmp_path: Path) -> None:
        channel = self.channel(
            self.message(900, "Has anybody seen the can?"),
            self.message(901, "", attachments=[{"url": "a.png"}]),
            self.message(902, "", embeds=[{"title": "Alert", "description": "the shed is open"}]),
            self.message(903, "Ann joined", type="GuildMemberJoin"),
        )
        other = {**self.channel(self.message(1, "hello")), "channel": {"id": "23", "name": "shed"}}
        members: dict[str, object] = {"Garden - general [22].json": channel, "Garden - shed [23].json": other}
        folder = as_folder(tmp_path / "discord", members)
        ((part,), left) = open_exports(folder)
        assert (part.export.format, left) == ("discord", [])
        found = read(folder)
        assert found.said == [
            ("22", 900, "Ann", "Has anybody seen the can?"),
            ("22", 902, "Ann", "Alert\nthe shed is open"),
            ("23", 1, "Ann", "hello"),
        ]
        assert found.reading.titles == {"22": "Garden / general", "23": "Garden / shed"}
        assert dict(found.reading.left_out) == {"files": 1, "notes of Discord": 1}

    def test_its_tables_are_read_with_the_dates_of_all_its_versions(self, tmp_path: Path) -> None:
        head = "AuthorID,Author,Date,Content,Attachments,Reactions\n"
        rows = (
            '"5","ann","2025-01-15T09:30:00.6870000+00:00","hello","",""\n"6","ben","15-Jan-25 09:31 AM","you","",""\n'
        )
        empty = '"6","ben","2025-01-15T09:32:00.0000000+00:00","","https://example.org/a.png",""\n'
        found = read(as_file(tmp_path / "chat.csv", head + rows + empty))
        assert [line.text for line in found.lines] == ["hello", "you"]
        assert (found.reading.lines_read, dict(found.reading.left_out)) == (2, {"empty messages": 1})


ZOOM = """WEBVTT

1
00:00:05.790 --> 00:00:13.514
Ann Ash: Let us begin with the budget.

2
00:00:14.000 --> 00:00:18.000
Ben Birch: The budget is ready since

3
00:00:18.100 --> 00:00:20.000
Friday.

4
00:00:21.000 --> 00:00:22.000
Ann Ash: Note: at 10:30 we stop.
"""
TEAMS = """WEBVTT

6f1c/11-0
00:00:05.000 --> 00:00:08.000
<v Ann Ash>Let us begin with <b>the budget</b>.</v>

6f1c/12-0
00:00:09.000 --> 00:00:12.000
<v Ben Birch>It is ready.</v>
"""
SRT = """1
00:00:05,790 --> 00:00:13,514
Ann: Let us begin.

2
00:00:14,000 --> 00:00:18,000
Ben: It is ready.
"""


class TestCaptions:
    def test_who_says_what_from_when_on(self, tmp_path: Path) -> None:
        found = read(as_file(tmp_path / "GMT20250115-090000_Recording.transcript.vtt", ZOOM))
        assert found.export.format == "captions"
        assert [(f"{line.spoken_at:%H:%M:%S}", line.speaker, line.text) for line in found.lines] == [
            ("09:00:05", "Ann Ash", "Let us begin with the budget."),
            ("09:00:14", "Ben Birch", "The budget is ready since Friday."),
            ("09:00:21", "Ann Ash", "Note: at 10:30 we stop."),
        ]

    @pytest.mark.parametrize("content", [TEAMS, SRT, TEAMS.replace("\n", "\r\n"), "\ufeff" + SRT])
    def test_makers_and_line_ends(self, tmp_path: Path, content: str) -> None:
        found = read(as_file(tmp_path / "meeting 2025-01-15 09.30", content))
        assert [line.speaker.split()[0] for line in found.lines] == ["Ann", "Ben"]
        assert f"{found.lines[0].spoken_at:%Y-%m-%d %H:%M:%S}" == "2025-01-15 09:30:05"

    def test_a_file_whose_name_tells_no_day_keeps_when_it_was_first_seen(
        self, tmp_path: Path, db: Database, settings: Settings
    ) -> None:
        path = as_file(tmp_path / "teams.vtt", TEAMS)
        assert all(line.time_inferred for line in read(path).lines)
        first, second = import_twice(path, db, settings)
        assert (first["lines"]["new"], second["lines"]["skipped"]) == (2, 2)

    def test_meetings_of_a_folder_are_one_crew(self, tmp_path: Path) -> None:
        folder = as_folder(tmp_path / "meetings", {"2025-01-15 a.vtt": TEAMS, "2025-01-16 b.srt": SRT})
        ((part,), left) = open_exports(folder)
        assert (part.export.format, len(part.export.members), left) == ("captions", 2, [])

    def test_what_is_malformed_is_counted_and_said(self, tmp_path: Path) -> None:
        found = read(as_file(tmp_path / "broken.srt", SRT + "\n3\n00:00:xx,000 --> whenever\nwords\n"))
        assert (len(found.lines), found.reading.rejected) == (2, 1)
        assert "no valid times" in found.reasons[0]
        with pytest.raises(ExportError, match="Export it again"):
            read(as_file(tmp_path / "no.vtt", "words and nothing else"), requested="captions")


CLAUDE_CODE = [
    {"type": "mode", "mode": "normal", "sessionId": "s-1"},
    {
        "type": "user", "uuid": "a", "parentUuid": None, "sessionId": "s-1", "timestamp": "2025-01-15T09:30:00.000Z",
        "message": {"role": "user", "content": "Why does the test fail?"},
    },
    {
        "type": "assistant", "uuid": "b", "parentUuid": "a", "sessionId": "s-1",
        "timestamp": "2025-01-15T09:30:05.000Z",
        "message": {"role": "assistant", "content": [
            {"type": "thinking", "thinking": "x"}, {"type": "text", "text": "A comma is missing."},
            {"type": "tool_use", "name": "Bash", "input": {}},
        ]},
    },
    {
        "type": "user", "uuid": "c", "sessionId": "s-1", "timestamp": "2025-01-15T09:30:06.000Z",
        "message": {"role": "user", "content": [{"type": "tool_result", "content": "ok"}]},
    },
    {"type": "ai-title", "aiTitle": "Parser", "sessionId": "s-1"},
]  # fmt: skip
CODEX = [
    {"timestamp": "2025-01-15T09:30:00Z", "type": "session_meta", "payload": {"id": "0199-a", "cwd": "/w"}},
    {"timestamp": "2025-01-15T09:30:01Z", "type": "response_item", "payload": {
        "type": "message", "role": "user", "content": [{"type": "input_text", "text": "<environment_context>x"}]}},
    {"timestamp": "2025-01-15T09:30:02Z", "type": "response_item", "payload": {
        "type": "message", "role": "user", "content": [{"type": "input_text", "text": "Mend the parser."}]}},
    {"timestamp": "2025-01-15T09:30:03Z", "type": "event_msg", "payload": {"type": "token_count"}},
    {"timestamp": "2025-01-15T09:30:04Z", "type": "response_item", "payload": {"type": "reasoning", "summary": []}},
    {"timestamp": "2025-01-15T09:30:05Z", "type": "response_item", "payload": {
        "type": "message", "role": "assistant", "content": [{"type": "output_text", "text": "It is mended."}]}},
]  # fmt: skip


class TestAgents:
    def test_sessions_of_claude_code(self, tmp_path: Path) -> None:
        found = read(as_file(tmp_path / "s-1.jsonl", jsonl(*CLAUDE_CODE)))
        assert found.export.format == "claude-code"
        assert [(line.session_id, line.speaker, line.text) for line in found.lines] == [
            ("s-1", "user", "Why does the test fail?"),
            ("s-1", "assistant", "A comma is missing."),
        ]
        assert found.reading.titles == {"s-1": "Parser"}
        assert (found.reading.rejected, found.reading.left_out["results of tools"]) == (0, 1)

    def test_sessions_of_codex(self, tmp_path: Path) -> None:
        found = read(as_file(tmp_path / "rollout-2025-01-15.jsonl", jsonl(*CODEX)))
        assert found.export.format == "codex"
        assert [(line.session_id, line.speaker, line.text) for line in found.lines] == [
            ("0199-a", "user", "Mend the parser."),
            ("0199-a", "assistant", "It is mended."),
        ]

    def test_a_session_that_grows_brings_what_is_new(self, tmp_path: Path, db: Database, settings: Settings) -> None:
        path = as_file(tmp_path / "s-1.jsonl", jsonl(*CLAUDE_CODE[:2]))
        assert import_twice(path, db, settings)[0]["lines"]["new"] == 1
        as_file(path, jsonl(*CLAUDE_CODE))
        assert import_twice(path, db, settings)[0]["lines"]["new"] == 1


class TestOpenWebUi:
    def test_the_branch_last_seen_is_read(self, tmp_path: Path) -> None:
        def message(name: str, parent: str | None, role: str, words: str) -> dict[str, object]:
            return {"id": name, "parentId": parent, "role": role, "content": words, "timestamp": 1736931600}

        tree = {
            "a": message("a", None, "user", "Why?"),
            "b": message("b", "a", "assistant", "an answer that was made anew"),
            "c": message("c", "a", "assistant", "Because."),
            "d": message("d", "d", "user", "a circle"),
        }
        chat = {"title": "Reasons", "history": {"messages": tree, "currentId": "c"}, "messages": []}
        exported = [{"id": "w-1", "user_id": "u", "title": "Reasons", "chat": chat, "created_at": 1736931600}]
        found = read(as_file(tmp_path / "chat-export.json", exported))
        assert found.export.format == "openwebui"
        assert found.said == [("w-1", 0, "user", "Why?"), ("w-1", 1, "assistant", "Because.")]


class TestMessages:
    def test_conversations_of_role_and_content(self, tmp_path: Path) -> None:
        talk = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Hello"},
                {"role": "assistant", "content": "Yes?"}]  # fmt: skip
        records = [{"id": "m-1", "created_at": "2025-01-15T09:00:00Z", "messages": talk}, {"messages": talk}]
        found = read(as_file(tmp_path / "log.jsonl", jsonl(*records)))
        assert found.export.format == "messages"
        assert [(line.speaker, line.text, line.time_inferred) for line in found.lines] == [
            ("user", "Hello", False),
            ("assistant", "Yes?", False),
            ("user", "Hello", True),
            ("assistant", "Yes?", True),
        ]
        assert len({line.session_id for line in found.lines}) == 2
        assert found.reading.left_out == {"instructions": 2}


@pytest.mark.skipif(not FOUND.is_dir(), reason="the inputs that were found to fail are not beside this checkout")
@pytest.mark.parametrize(
    ("name", "lines"),
    [
        ("20-whatsapp/WhatsApp Chat with Ann.txt", 2),
        ("20-whatsapp/_chat.txt", 2),
        ("21-telegram/result.json", 3),
        ("22-discord/chat.csv", 2),
        ("22-discord/chat.json", 2),
        ("22-discord/old.csv", 1),
        ("23-vtt/GMT20250115-090000_Recording.transcript.vtt", 3),
        ("23-vtt/teams.vtt", 2),
        ("24-claude-code/s-1.jsonl", 2),
    ],
)
def test_what_was_found_to_fail_gives_what_is_right(name: str, lines: int) -> None:
    found = read(FOUND / name)
    assert (len(found.lines), found.reading.rejected) == (lines, 0)
