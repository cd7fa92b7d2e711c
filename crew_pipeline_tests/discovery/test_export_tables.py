"""Tables: CSV and its kin, and Parquet; columns are found by name, or as the user says, or refused in a sentence."""

from __future__ import annotations

import gzip
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pyarrow
import pyarrow.parquet
import pytest

from crew_pipeline.discovery.exports.export import open_export
from crew_pipeline.discovery.exports.files import ExportError
from crew_pipeline.settings import Settings
from crew_pipeline.storage.database import Database
from crew_pipeline_tests.discovery.exported import NINE, as_file, as_zip, by_time, import_twice, read

PLAIN = (
    "session_id,line,created_at,speaker,text\n"
    "s1,0,2025-01-15T09:00:00Z,Ann,The kettle boils\n"
    's1,1,2025-01-15 09:01:00+00:00,Ben,"Tea, then?"\n'
)
KETTLE = [("s1", 0, "Ann", "The kettle boils"), ("s1", 1, "Ben", "Tea, then?")]


def as_parquet(path: Path, **columns: Any) -> Path:
    pyarrow.parquet.write_table(pyarrow.table(columns), path, row_group_size=2)
    return path


class TestCsv:
    @pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
    def test_each_delimiter_is_found(self, tmp_path: Path, delimiter: str) -> None:
        rows = PLAIN.replace('"Tea, then?"', "TEA").replace(",", delimiter).replace("TEA", '"Tea, then?"')
        found = read(as_file(tmp_path / "x", rows))
        assert found.export.format == "csv"
        assert not found.export.whole_sessions
        assert found.said == KETTLE

    def test_marks_windows_line_ends_gzip_and_archives_are_no_obstacle(self, tmp_path: Path) -> None:
        content = b"\xef\xbb\xbf" + PLAIN.replace("\n", "\r\n").encode()
        for path in (
            as_file(tmp_path / "x.csv", content),
            as_file(tmp_path / "x.csv.gz", gzip.compress(content)),
            as_zip(tmp_path / "x.zip", {"rows.csv": content}),
        ):
            assert read(path).said == KETTLE

    def test_a_quoted_cell_goes_over_several_lines_and_numbers_stay_those_of_the_file(self, tmp_path: Path) -> None:
        rows = PLAIN + 's1,2,2025-01-15T09:02:00Z,Ann,"One\ntwo, ""three"""\n\ns1,3,never,Ann,Late\n'
        found = read(as_file(tmp_path / "x", rows))
        assert found.lines[2].text == 'One\ntwo, "three"'
        assert found.lines[2].source_line == 4
        assert found.reading.rejections == [
            (7, "created_at 'never' is no date and time; write it like 2025-01-15T09:30:00Z")
        ]

    def test_json_in_a_cell_does_not_make_a_table_json_lines(self, tmp_path: Path) -> None:
        rows = PLAIN + 's1,2,2025-01-15T09:02:00Z,Ann,"Like this:\n{""a"": 1}"\n'
        assert read(as_file(tmp_path / "x", rows)).lines[2].text == 'Like this:\n{"a": 1}'

    def test_common_names_are_understood(self, tmp_path: Path) -> None:
        rows = "Conversation ID,messageId,sentAt,Sender,Message,Subject\nc,9,1736931600,Ann,Hello,Greeting\n"
        found = read(as_file(tmp_path / "x", rows))
        assert found.said == [("c", 9, "Ann", "Hello")]
        assert found.reading.titles == {"c": "Greeting"}

    def test_columns_can_be_told(self, tmp_path: Path) -> None:
        path = as_file(tmp_path / "x", "wer,was,wann,text\nAnn,Hallo,2025-01-15T09:00:00Z,-\n")
        with pytest.raises(ExportError, match=r"created_at or speaker; its columns are wer, was, wann, text\. Say"):
            open_export(path, "csv")
        columns = {"speaker": "wer", "text": "was", "created_at": "wann"}
        assert read(path, columns=columns).said == [("x/2025-01-15", by_time("2025-01-15T09:00Z"), "Ann", "Hallo")]

    def test_a_table_without_a_known_column_is_told_what_it_has(self, tmp_path: Path) -> None:
        path = as_file(tmp_path / "x.CSV", "wer;was;wann\nAnn;Hallo;2025-01-15T09:00:00Z\n")
        with pytest.raises(ExportError, match="created_at or speaker or text; its columns are wer, was, wann"):
            open_export(path)

    def test_told_columns_must_exist_and_belong_to_a_table(self, tmp_path: Path) -> None:
        path = as_file(tmp_path / "x", PLAIN)
        with pytest.raises(ExportError, match="has no column 'nope'; its columns are session_id"):
            open_export(path, columns={"text": "nope"})
        with pytest.raises(ExportError, match="Unknown field 'colour'; known are session_id"):
            open_export(path, columns={"colour": "text"})
        other = as_file(tmp_path / "y", [{"uuid": "u", "chat_messages": []}])
        with pytest.raises(ExportError, match="is no table but claude"):
            open_export(other, columns={"text": "text"})

    def test_without_session_and_line_a_session_is_a_day_and_rows_stand_by_their_time(self, tmp_path: Path) -> None:
        rows = "time,name,text\n2025-01-15T23:30:00Z,Ann,a\n2025-01-15T23:30:00Z,Ben,b\n2025-01-14T10:00:00Z,Ann,c\n"
        path = as_file(tmp_path / "diary.csv", rows)
        assert [one[:2] for one in read(path).said] == [
            ("diary/2025-01-15", by_time("2025-01-15T23:30Z")),
            ("diary/2025-01-15", by_time("2025-01-15T23:30Z", 1)),
            ("diary/2025-01-14", by_time("2025-01-14T10:00Z")),
        ]
        assert read(path, zone=ZoneInfo("Europe/Berlin")).lines[0].session_id == "diary/2025-01-16"

    def test_a_column_is_the_line_only_where_it_holds_whole_numbers(self, tmp_path: Path) -> None:
        rows = "session_id,message_id,date,role,content\ns,{},2025-01-15T09:00:00Z,user,a\n"
        assert read(as_file(tmp_path / "x", rows.format("b7e1"))).lines[0].position == by_time("2025-01-15T09:00Z")
        assert read(as_file(tmp_path / "y", rows.format("71"))).lines[0].position == 71

    @pytest.mark.parametrize(
        ("written", "moment"),
        [
            ("1736931600", datetime(2025, 1, 15, 9, tzinfo=UTC)),
            ("1736931600.25", datetime(2025, 1, 15, 9, 0, 0, 250_000, tzinfo=UTC)),
            ("1736931600250", datetime(2025, 1, 15, 9, 0, 0, 250_000, tzinfo=UTC)),
            ("20250115", datetime(2025, 1, 15, tzinfo=UTC)),
            ("2025-01-15 09:00", datetime(2025, 1, 15, 9, tzinfo=UTC)),
        ],
    )
    def test_times_are_text_or_seconds_or_milliseconds(self, tmp_path: Path, written: str, moment: datetime) -> None:
        assert read(as_file(tmp_path / "x", f"time,name,text\n{written},Ann,a\n")).lines[0].spoken_at == moment

    def test_bad_rows_are_refused_one_by_one(self, tmp_path: Path) -> None:
        rows = (
            PLAIN + "s1,2,2025-01-15T09:02:00Z,Ann\n"
            ",3,2025-01-15T09:02:00Z,Ann,No session\n"
            "s1,4,NaN,Ann,No time\n"
            "s1,x,2025-01-15T09:02:00Z,Ann,No number\n"
            "s1,6,99999999999999,Ann,Far away\n"
            f"s1,7,2025-01-15T09:02:00Z,Ann,{'x' * (5 * 1024 * 1024)}\n"
            "s1,8,2025-01-15T09:02:00Z,Ann,Good\n"
        )
        found = read(as_file(tmp_path / "x", rows))
        assert [one[1] for one in found.said] == [0, 1, 8]
        assert [number for number, _ in found.reading.rejections] == [4, 5, 6, 7, 8, 9]
        for reason, expected in zip(
            found.reasons,
            ["4 cells, the header 5", "session_id is empty", "no date", "whole number from 0", "in the future", "MiB"],
            strict=True,
        ):
            assert expected in reason

    def test_a_quote_that_never_ends_does_not_swallow_memory(self, tmp_path: Path) -> None:
        rows = PLAIN + 's1,2,2025-01-15T09:02:00Z,Ann,"open\n' + "more\n" * 1_500_000
        found = read(as_file(tmp_path / "x", rows))
        assert found.said == KETTLE
        assert "a quote is opened and not closed" in found.reasons[0]

    def test_an_open_quote_costs_its_own_row_and_no_other(self, tmp_path: Path) -> None:
        more = "".join(f"s1,{n},2025-01-15T09:02:00Z,Ann,good {n}\n" for n in range(3, 1000))
        for opened in ('"oops', '"' + "x" * (5 * 1024 * 1024) + '"'):
            found = read(as_file(tmp_path / "x", f"{PLAIN}s1,2,2025-01-15T09:02:00Z,Ann,{opened}\n{more}"))
            assert len(found.said) == len(KETTLE) + 997
            assert [number for number, _ in found.reading.rejections] == [4]

    def test_a_line_in_another_encoding_costs_that_line(self, tmp_path: Path) -> None:
        lines = [f"s1,{n},2025-01-15T09:02:00Z,Ann,x\n".encode() for n in range(2, 3_000)]
        lines[2_500] = "s1,9,2025-01-15T09:02:00Z,Ann,é\n".encode("latin-1")
        found = read(as_file(tmp_path / "x", PLAIN.encode() + b"".join(lines)))
        assert len(found.said) == len(KETTLE) + 2_997
        assert "not UTF-8" in found.reasons[0]

    def test_what_excel_says_of_its_separator_is_no_row(self, tmp_path: Path) -> None:
        rows = "sep=;\ntime;name;text\n2025-01-15T09:00:00Z;Ann;a\n2025-01-15T09:00:00Z;Ann\n"
        found = read(as_file(tmp_path / "x.csv", rows))
        assert [one[3] for one in found.said] == ["a"]
        assert [number for number, _ in found.reading.rejections] == [4]

    def test_two_tables_of_one_session_stand_side_by_side(
        self, tmp_path: Path, db: Database, settings: Settings
    ) -> None:
        for hour, words in (("09", "first"), ("10", "second")):
            rows = "".join(f"s,2025-01-15T{hour}:00:00Z,Ann,{words} {n}\n" for n in range(3))
            path = as_file(tmp_path / f"{hour}.csv", f"session_id,time,name,text\n{rows}")
            _, again = import_twice(path, db, settings)
        assert again["stored"] == {"conversations": 1, "lines": 6}

    @pytest.mark.parametrize(
        "content",
        [
            PLAIN.replace("kettle", "kéttle").encode("latin-1"),
            PLAIN.encode("utf-16"),
        ],
    )
    def test_another_encoding_is_refused_in_a_sentence(self, tmp_path: Path, content: bytes) -> None:
        with pytest.raises(ExportError, match=r"is (not UTF-8|UTF-16).*; save it as UTF-8"):
            read(as_file(tmp_path / "x", content), "csv")

    def test_importing_twice_changes_nothing(self, tmp_path: Path, db: Database, settings: Settings) -> None:
        rows = "time,name,text\n" + "".join(f"2025-01-15T09:00:{n:02}Z,Ann,line {n}\n" for n in range(60))
        first, second = import_twice(as_file(tmp_path / "x.csv", rows), db, settings)
        assert first["lines"]["new"] == 60
        assert second["lines"] == {"read": 60, "new": 0, "changed": 0, "skipped": 60, "rejected": 0}


class TestParquet:
    def test_rows_are_read_with_their_own_types(self, tmp_path: Path) -> None:
        moments = [datetime(2025, 1, 15, 9, n, tzinfo=UTC) for n in range(5)]
        path = as_parquet(
            tmp_path / "x",
            conversation_id=[7, 7, 8, 8, 8],
            index=[3, 4, 5, 6, 7],
            timestamp=pyarrow.array(moments, pyarrow.timestamp("ns", "UTC")),
            role=["user", "assistant"] * 2 + [None],
            content=["a", "b", "c", "d", "e"],
            unused=[b"x"] * 5,
        )
        found = read(path)
        assert found.export.format == "parquet"
        assert found.said == [
            ("7", 3, "user", "a"),
            ("7", 4, "assistant", "b"),
            ("8", 5, "user", "c"),
            ("8", 6, "assistant", "d"),
        ]
        assert [line.spoken_at for line in found.lines] == moments[:4]
        assert found.reading.rejections == [(5, "speaker missing; every line needs it")]

    @pytest.mark.parametrize(
        ("cells", "expected"),
        [
            (pyarrow.array([NINE], pyarrow.int64()), "2025-01-15T09:00:00+00:00"),
            (pyarrow.array([NINE * 1000 + 5], pyarrow.int64()), "2025-01-15T09:00:00.005000+00:00"),
            (pyarrow.array([NINE + 0.5]), "2025-01-15T09:00:00.500000+00:00"),
            (pyarrow.array([NINE], pyarrow.timestamp("s")), "2025-01-15T09:00:00+01:00"),
            (pyarrow.array([date(2025, 1, 15)]), "2025-01-15T00:00:00+01:00"),
            (pyarrow.array(["2025-01-15T09:00:00Z"]), "2025-01-15T09:00:00+00:00"),
        ],
    )
    def test_times_of_every_type_are_understood(self, tmp_path: Path, cells: Any, expected: str) -> None:
        path = as_parquet(tmp_path / "x.parquet", time=cells, speaker=["Ann"], text=["a"])
        line = read(path, zone=ZoneInfo("Europe/Berlin")).lines[0]
        assert line.spoken_at.isoformat() == expected
        assert (line.session_id, line.position) == ("x/2025-01-15", by_time(expected))

    @pytest.mark.parametrize(
        "cells",
        [
            pyarrow.array([float("nan")]),
            pyarrow.array([float("inf")]),
            pyarrow.array([None], pyarrow.int64()),
            pyarrow.array([2**62], pyarrow.timestamp("us", "UTC")),
            pyarrow.array([True]),
        ],
    )
    def test_an_impossible_time_refuses_the_row(self, tmp_path: Path, cells: Any) -> None:
        found = read(as_parquet(tmp_path / "x", time=cells, speaker=["Ann"], text=["a"]))
        assert found.lines == []
        assert found.reading.rejected == 1
        assert "created_at" in found.reasons[0]

    def test_a_missing_column_is_named_and_can_be_told(self, tmp_path: Path) -> None:
        path = as_parquet(tmp_path / "x", when=[NINE], who=["Ann"], text=["a"])
        with pytest.raises(ExportError, match=r"are when, who, text.* --column created_at=NAME --column speaker"):
            open_export(path)
        assert len(read(path, columns={"created_at": "when", "speaker": "who"}).lines) == 1

    def test_a_table_that_breaks_off_imports_nothing(self, tmp_path: Path) -> None:
        path = as_parquet(tmp_path / "x", time=[NINE], speaker=["Ann"], text=["a"])
        path.write_bytes(path.read_bytes()[:-20])
        with pytest.raises(ExportError, match="breaks off or is no Parquet table"):
            open_export(path)

    def test_progress_goes_up_to_the_size(self, tmp_path: Path) -> None:
        from crew_pipeline.discovery.reading import Reading
        from crew_pipeline_tests.discovery.exported import LIMITS

        rows = 6_000
        path = as_parquet(tmp_path / "x", time=[NINE] * rows, speaker=["Ann"] * rows, text=["a"] * rows)
        export = open_export(path)
        told: list[int] = []
        assert len(list(export.lines(LIMITS, Reading(), told.append))) == rows
        assert told == sorted(told)
        assert 0 < told[0] <= told[-1] <= export.size

    def test_importing_twice_changes_nothing(self, tmp_path: Path, db: Database, settings: Settings) -> None:
        path = as_parquet(tmp_path / "x", time=[NINE, NINE], speaker=["Ann", "Ben"], text=["a", "b"])
        first, second = import_twice(path, db, settings)
        assert first["lines"]["new"] == 2
        assert second["lines"] == {"read": 2, "new": 0, "changed": 0, "skipped": 2, "rejected": 0}
