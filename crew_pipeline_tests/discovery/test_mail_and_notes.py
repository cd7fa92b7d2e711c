"""Mail is read as threads without what it quotes, notes as days; what is no talk is counted."""

from __future__ import annotations

from collections import Counter
from datetime import UTC, datetime
from email.message import EmailMessage
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crew_pipeline.discovery.exports.files import ExportError
from crew_pipeline.discovery.exports.mail import without_quotes
from crew_pipeline.discovery.exports.several import open_exports
from crew_pipeline.settings import Settings
from crew_pipeline.storage.database import Database
from crew_pipeline_tests.discovery.exported import as_file, as_folder, as_zip, import_twice, read

SEPARATOR = b"From ann@example.org Wed Jan 15 09:00:00 2025\n"
ASKED = "Hello Ben,\n\nwhen does the boiler get repaired?\n\nFrom Monday on I am away.\n"


def letter(
    number: int, text: str, *, answers: int | None = None, sender: str = "Ann <ann@example.org>"
) -> EmailMessage:
    message = EmailMessage()
    message["From"] = sender
    message["To"] = "ben@example.org"
    message["Subject"] = ("Re: " if answers is not None else "") + "The boiler – übermorgen?"
    message["Date"] = f"Wed, 15 Jan 2025 09:{number:02}:00 +0000"
    message["Message-ID"] = f"<m{number}@example.org>"
    if answers is not None:
        message["In-Reply-To"] = f"<m{answers}@example.org>"
    message.set_content(text)
    return message


def box(*messages: EmailMessage) -> bytes:
    """A mailbox as programs write it: rows that begin with "From " are marked."""
    held = b""
    for message in messages:
        rows = message.as_bytes().splitlines()
        held += SEPARATOR
        held += b"".join((b">" if row.startswith(b"From ") else b"") + row + b"\n" for row in rows) + b"\n"
    return held


ANSWER = "On Friday.\n\nOn Wed, 15 Jan 2025 at 09:00, Ann <ann@example.org> wrote:\n> when does it get\n> repaired?\n"


class TestMail:
    def test_a_mailbox_is_threads_of_messages_without_what_they_quote(
        self, tmp_path: Path, db: Database, settings: Settings
    ) -> None:
        path = as_file(
            tmp_path / "Inbox.mbox",
            box(
                letter(0, ASKED),
                letter(1, ANSWER, answers=0, sender="=?utf-8?q?B=C3=A9n?= <ben@example.org>"),
                letter(2, "Good.\n\n-- \nAnn\nCellar 3", answers=1),
                letter(2, "Good.\n\n-- \nAnn\nCellar 3", answers=1),
                letter(3, "Something else."),
            ),
        )
        found = read(path)
        assert (found.export.format, found.reasons) == ("mail", [])
        assert [(line.session_id, line.speaker, line.text) for line in found.lines] == [
            ("m0@example.org", "Ann", "Hello Ben,\n\nwhen does the boiler get repaired?\n\nFrom Monday on I am away."),
            ("m0@example.org", "Bén", "On Friday."),
            ("m0@example.org", "Ann", "Good."),
            ("m3@example.org", "Ann", "Something else."),
        ]
        assert found.reading.left_out == {"quoted rows": 3, "signatures": 1, "copies of messages": 1}
        assert found.reading.titles["m0@example.org"] == "The boiler – übermorgen?"
        first, second = import_twice(path, db, settings)
        assert (first["lines"]["new"], second["lines"]["new"], second["lines"]["changed"]) == (4, 0, 0)

    def test_single_messages_of_a_folder_are_one_export_and_their_threads_meet(self, tmp_path: Path) -> None:
        first, second = letter(0, ASKED), letter(1, ANSWER, answers=0)
        members = {"mail/b.eml": second.as_bytes(), "mail/a.eml": first.as_bytes(), "mail/readme.eml": b"no mail\n"}
        for path in (as_folder(tmp_path / "all", members), as_zip(tmp_path / "all.zip", members)):
            found = read(path)
            assert [line.text for line in sorted(found.lines, key=lambda line: line.position)][1:] == ["On Friday."]
            assert {line.session_id for line in found.lines} == {"m0@example.org"}
        several = open_exports(tmp_path / "all")
        assert [(part.name, part.export.format) for part in several.parts] == [("mail", "mail")]
        assert [name for name, _ in several.left] == ["mail/readme.eml"]

    def test_takeout_s_own_threads_hold(self, tmp_path: Path) -> None:
        one, other = letter(0, "one"), letter(1, "other")
        for message in (one, other):
            message["X-GM-THRID"] = "1821"
        found = read(as_file(tmp_path / "All mail.mbox", box(one, other)))
        assert {line.session_id for line in found.lines} == {"1821"}

    def test_html_is_read_as_text_and_what_is_attached_is_counted(self, tmp_path: Path) -> None:
        message = letter(0, "")
        message.set_content(
            "<html><head><style>p {}</style></head><body><p>On Friday&nbsp;at nine.</p><p>On Wed Ann wrote:</p>"
            "<blockquote>when <blockquote>who</blockquote></blockquote><script>x()</script></body></html>",
            subtype="html",
        )
        message.add_attachment(b"\x89PNG", maintype="image", subtype="png", filename="a.png")
        message.add_attachment(b"%PDF", maintype="application", subtype="pdf", filename="a.pdf")
        found = read(as_file(tmp_path / "one.eml", message.as_bytes()))
        assert [line.text for line in found.lines] == ["On Friday at nine."]
        assert found.reading.left_out == {"images": 1, "files": 1, "quoted rows": 2}

    @pytest.mark.parametrize(
        ("text", "said"),
        [
            ("Yes.\n\nAm 15.01.25 um 09:00 schrieb Ann:\n> wann?", "Yes."),
            ("Oui.\n\nLe mer. 15 janv. 2025 à 09:00, Ann <a@example.org> a écrit :\n> quand ?", "Oui."),
            ("Sí.\n\nEl mié, 15 ene 2025 a las 9:00, Ann (<a@example.org>) escribió:\n\n> ¿cuándo?", "Sí."),
            ("Yes.\n\nOn Wed, Jan 15, 2025 at 9:00 AM Ann Archer <ann.archer@example.org>\nwrote:\n\n> when?", "Yes."),
            ("Yes.\n\n-----Original Message-----\nFrom: Ann\nSent: Monday\n\nwhen?", "Yes."),
            ("Yes.\n\nFrom: Ann\nSent: Monday\nTo: Ben\nSubject: x\n\nwhen?", "Yes."),
            ("> when?\nFriday.\n> where?\nHere.", "Friday.\nHere."),
            ("From: the top we saw it.\nThe end.", "From: the top we saw it.\nThe end."),
            ("He wrote:\nI am late.", "He wrote:\nI am late."),
            ("a -- b\n--\nAnn", "a -- b"),
        ],
    )
    def test_quotes_of_many_programs_are_cut_off(self, text: str, said: str) -> None:
        assert without_quotes(text, Counter()) == said

    @given(st.text(alphabet="> \nwrote:On-From", max_size=300))
    def test_what_is_cut_off_is_whole_rows_and_is_counted(self, text: str) -> None:
        left_out: Counter[str] = Counter()
        rows = [row.strip() for row in text.split("\n") if row.strip()]
        said = [row.strip() for row in without_quotes(text, left_out).split("\n") if row.strip()]
        assert not Counter(said) - Counter(rows)
        assert said == rows or left_out

    @pytest.mark.parametrize(
        "text",
        [
            "\n" * 2_000_000,
            "On " * 1_000_000,
            "> x\n" * 500_000,
            "From: a\n" * 200_000,
            ">" * 3_000_000,
            "wrote" * 600_000 + ":",
        ],
        ids=["empty rows", "on", "quotes", "from", "marks", "wrote"],
    )
    @pytest.mark.timeout(60)
    def test_hostile_texts_do_not_hold_it_up(self, text: str) -> None:
        assert len(without_quotes(text, Counter())) <= len(text)

    def test_hostile_mail_is_refused_by_the_message_and_the_others_are_read(self, tmp_path: Path) -> None:
        deep = b"From: x@example.org\nMessage-ID: <deep@x>\nDate: Wed, 15 Jan 2025 09:05:00 +0000\n" + b"".join(
            b'Content-Type: multipart/mixed; boundary="%d"\n\n--%d\n' % (level, level) for level in range(3000)
        )
        undated = b"From: x@example.org\nSubject: no date\nMessage-ID: <undated@x>\n\nhello\n"
        strange = (
            b"From: =?x-unknown?b?////?= <\xff@x>\nDate: Wed, 15 Jan 2025 09:06:00 +0000\n"
            b"Content-Type: text/plain; charset=klingon\n\nqapla\n"
        )
        nested = letter(4, "")
        nested.set_content("<div>" * 20_000 + "deep" + "</div>" * 20_000, subtype="html")
        raw = box(letter(0, ASKED)) + b"".join(SEPARATOR + one + b"\n" for one in (deep, undated, strange))
        found = read(as_file(tmp_path / "box.mbox", raw + box(nested, letter(5, "still here"))))
        assert [line.text for line in found.lines][-1] == "still here"
        assert "qapla" in [line.text for line in found.lines]
        assert any("no date" in reason for reason in found.reasons)

    @pytest.mark.timeout(60)
    @pytest.mark.parametrize("hostile", ["quotes", "charset", "header", "part"])
    def test_one_message_does_not_hold_up_the_others(self, tmp_path: Path, hostile: str) -> None:
        bad = letter(4, "x")
        raw = bad.as_bytes()
        if hostile == "quotes":
            bad.set_content("<blockquote>" * 60_000 + "deep", subtype="html")
            raw = bad.as_bytes()
        elif hostile == "charset":
            raw = raw.replace(b"utf-8", b"punycode").replace(b"\nx\n", b"\n" + b"abc-def\n" * 300_000)
        elif hostile == "header":
            raw = raw.replace(b"\nTo:", b"\nX-Long: " + b";" * 2_000_000 + b"\nTo:")
        else:
            bad.add_attachment(b"1", maintype="application", subtype="pdf", filename="a.pdf")
            raw = bad.as_bytes().replace(b'filename="a.pdf"', b";\n ".join([b"a" * 50] * 20_000))
        rows = box(letter(3, "first")) + SEPARATOR + raw + b"\n" + box(letter(5, "still here"))
        texts = [line.text for line in read(as_file(tmp_path / "box.mbox", rows)).lines]
        assert (texts[0], texts[-1]) == ("first", "still here")

    def test_a_row_that_begins_with_from_is_no_new_message_where_the_writer_marked_none(self, tmp_path: Path) -> None:
        said = b"Hello.\n\nFrom what I know, the talk is on Friday at 10:30.\n"
        raw = SEPARATOR + letter(0, "@").as_bytes().replace(b"@\n", said)
        found = read(as_file(tmp_path / "box.mbox", raw + b"\n" + box(letter(1, "next"))))
        assert [line.text for line in found.lines] == [said.decode().strip(), "next"]

    def test_a_time_of_no_zone_is_utc(self, tmp_path: Path) -> None:
        raw = letter(0, "late").as_bytes().replace(b"09:00:00 +0000", b"23:30:00 -0000")
        found = read(as_file(tmp_path / "one.eml", raw), zone=ZoneInfo("Europe/Berlin"))
        assert [line.spoken_at for line in found.lines] == [datetime(2025, 1, 15, 23, 30, tzinfo=UTC)]

    def test_of_a_huge_message_the_beginning_is_read(self, tmp_path: Path) -> None:
        huge = letter(0, "It is attached.")
        huge.add_attachment(b"\x00" * 6_000_000, maintype="application", subtype="zip", filename="a.zip")
        found = read(as_file(tmp_path / "box.mbox", box(huge, letter(1, "next"))))
        assert [line.text for line in found.lines] == ["It is attached.", "next"]


NOTE = """---
title: A day
author: Mara
---
# 2025-01-14 Tuesday

- 09:30 called the landlord
- [ ] buy a filter
  for the pump

```sh
make test

make bench
```
## Wed 2025 plans
We leave
at nine.
# 2025-01-15
Rain.
"""


class TestNotes:
    def test_points_paragraphs_and_code_of_a_note_are_lines_of_its_days(
        self, tmp_path: Path, db: Database, settings: Settings
    ) -> None:
        path = as_file(tmp_path / "diary.md", NOTE.encode())
        found = read(path)
        assert (found.export.format, found.reasons) == ("notes", [])
        assert [(line.session_id, f"{line.spoken_at:%dT%H:%M}", line.text) for line in found.lines] == [
            ("diary/2025-01-14", "14T09:30", "called the landlord"),
            ("diary/2025-01-14", "14T09:30", "buy a filter\n  for the pump"),
            ("diary/2025-01-14", "14T09:30", "```sh\nmake test\n\nmake bench\n```"),
            ("diary/2025-01-14", "14T09:30", "Wed 2025 plans"),
            ("diary/2025-01-14", "14T09:30", "We leave\nat nine."),
            ("diary/2025-01-15", "15T00:00", "Rain."),
        ]
        assert {line.speaker for line in found.lines} == {"Mara"}
        first, second = import_twice(path, db, settings)
        assert (first["lines"]["new"], second["lines"]["new"]) == (6, 0)

    @pytest.mark.parametrize(
        ("name", "content"),
        [
            ("2025-01-15.md", "Rain."),
            ("2025_01_15.md", "- Rain."),
            ("20250115 walk.md", "Rain."),
            ("walk on 2025-01-15.md", "1. Rain."),
            ("walk.md", "---\ndate: 2025-01-15T08:00\n---\nRain."),
            ("walk.markdown", "---\ncreated: '2025-01-15'\n---\n\nRain."),
            ("walk.md", "## [[2025-01-15]]\nRain."),
        ],
    )
    def test_the_day_is_told_by_name_head_or_heading(self, tmp_path: Path, name: str, content: str) -> None:
        found = read(as_file(tmp_path / name, content.encode()))
        assert found.export.format == "notes"
        assert [(f"{line.spoken_at:%Y-%m-%d}", line.text) for line in found.lines] == [("2025-01-15", "Rain.")]

    def test_a_folder_of_notes_is_one_export_and_undated_ones_are_named(self, tmp_path: Path) -> None:
        folder = as_folder(
            tmp_path / "vault",
            {"journal/2025-01-14.md": b"Sun.", "journal/2025-01-15.md": b"Rain.", "ideas.md": b"# Ideas\nA kite."},
        )
        several = open_exports(folder)
        assert [(part.name, part.export.format) for part in several.parts] == [("journal", "notes")]
        assert several.left == [("ideas.md", "it tells no day")]
        with pytest.raises(ExportError, match=r"name it like 2025-01-15\.md"):
            read(folder / "ideas.md")

    def test_two_headings_of_a_day_are_one_day_and_rows_of_code_in_marks_open_none(self, tmp_path: Path) -> None:
        note = "# 2025-01-15 morning\nRain.\n\n```ls -la```\n\n# 2025-01-15 evening\nRain.\n# 2025-01-16\nSun.\n"
        found = read(as_file(tmp_path / "diary.md", note.encode()))
        assert [(line.session_id, line.position, line.text) for line in found.lines] == [
            ("diary/2025-01-15", 0, "Rain."),
            ("diary/2025-01-15", 1, "```ls -la```"),
            ("diary/2025-01-15", 2, "Rain."),
            ("diary/2025-01-16", 0, "Sun."),
        ]
        assert found.reading.titles["diary/2025-01-15"] == "2025-01-15 morning"

    def test_days_that_are_on_no_calendar_are_none(self, tmp_path: Path) -> None:
        found = read(as_file(tmp_path / "2025-13-45.md", b"Rain."))
        assert (found.lines, len(found.reasons)) == ([], 1)
