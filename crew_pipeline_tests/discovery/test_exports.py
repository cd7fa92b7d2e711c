"""Export files: what can be used is imported, what cannot is counted and named by its line, nothing is half written."""

from __future__ import annotations

import gzip
import json
from datetime import UTC, date, datetime
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

from crew_pipeline.discovery.exports.export import open_export
from crew_pipeline.discovery.exports.files import ExportError
from crew_pipeline.discovery.exports.jsonl import MAX_LINE_BYTES
from crew_pipeline.discovery.importing import import_export
from crew_pipeline.discovery.reading import Reading
from crew_pipeline.discovery.records import Limits
from crew_pipeline.discovery.report import CrewReport
from crew_pipeline.settings import Settings
from crew_pipeline.storage.database import Database
from crew_pipeline_tests.conftest import NOW, SHARED

LEAST_LINES = {"ubuntu_irc.jsonl.gz": 180_000, "ami_meetings.jsonl.gz": 90_000}
LIMITS = Limits(ZoneInfo("UTC"), date(2000, 1, 1), NOW)


def record(line: object = 0, **changes: object) -> dict[str, object]:
    return {
        "session_id": "s1",
        "line": line,
        "created_at": "2025-01-15T09:00:00Z",
        "speaker": "Ann",
        "text": f"line {line}",
        **changes,
    }


def write(path: Path, *lines: object) -> Path:
    path.write_bytes(b"\n".join(line if isinstance(line, bytes) else json.dumps(line).encode() for line in lines))
    return path


def read(path: Path) -> tuple[list[str], Reading]:
    reading = Reading()
    return [line.text for line in open_export(path).lines(LIMITS, reading)], reading


BAD_LINES: list[tuple[bytes, str]] = [
    (b'{"session_id": "s1", "line": 1, ', "not valid JSON"),
    (b"[1, 2]", "expected a JSON object, found a list"),
    (json.dumps({"session_id": "s1", "line": 1, "speaker": "Ann", "text": "x"}).encode(), "created_at missing"),
    (json.dumps(record(1, speaker=None)).encode(), "speaker missing"),
    (json.dumps(record(1, created_at="2025-13-45T09:00:00Z")).encode(), "no date and time"),
    (json.dumps(record(1, created_at="last Tuesday")).encode(), "no date and time"),
    (json.dumps(record(1, created_at=1736931600)).encode(), "must be a date and time"),
    (json.dumps(record(1, created_at="1970-01-01T00:00:00Z")).encode(), "before the first day"),
    (json.dumps(record(1, created_at="2999-01-01T00:00:00Z")).encode(), "in the future"),
    (json.dumps(record(1, text="a\u0000b")).encode(), "NUL"),
    (
        b'{"session_id":"s1","line":1,"created_at":"2025-01-15T09:00:00Z","speaker":"A","text":"a\x00b"}',
        "not valid JSON",
    ),
    (b'{"session_id":"s1","line":1,"created_at":"2025-01-15T09:00:00Z","speaker":"A","text":"\\ud83d"}', "surrogate"),
    (
        b'{"session_id":"s1","line":1,"created_at":"2025-01-15T09:00:00Z","speaker":"A","text":"\xff\xfe"}',
        "not valid JSON",
    ),
    (json.dumps(record(1, text="x" * 1_000_000)).encode(), "1,000,000 characters long"),
    (json.dumps(record(1, text="x" * (MAX_LINE_BYTES + 10))).encode(), "longer than 4 MiB"),
    (json.dumps(record(1, text=42)).encode(), "text must be a text, not a number"),
    (json.dumps(record(-1)).encode(), "whole number from 0"),
    (json.dumps(record("7")).encode(), "whole number from 0"),
    (json.dumps(record(2**63)).encode(), "whole number from 0"),
    (json.dumps(record(1, session_id=" ")).encode(), "session_id is empty"),
    (json.dumps(record(1, session_id="s" * 600)).encode(), "600 characters long"),
]


@pytest.mark.parametrize(("bad", "reason"), BAD_LINES, ids=[reason for _, reason in BAD_LINES])
def test_a_bad_line_is_counted_with_its_number_and_the_rest_is_read(tmp_path: Path, bad: bytes, reason: str) -> None:
    texts, reading = read(write(tmp_path / "x.jsonl", record(0), bad, b"", record(2)))
    assert texts == ["line 0", "line 2"]
    assert (reading.lines_read, reading.rejected) == (3, 1)
    number, sentence = reading.rejections[0]
    assert number == 2
    assert reason in sentence


def test_every_kind_of_bad_line_in_one_file_is_reported_and_nothing_is_half_written(
    tmp_path: Path, db: Database, settings: Settings
) -> None:
    path = write(tmp_path / "x.jsonl", record(0), *(bad for bad, _ in BAD_LINES), record(99))
    report = import_export(db, open_export(path), client="acme", crew="desk", settings=settings, now=NOW)
    content = report.as_dict()
    assert content["lines"] == {
        "read": len(BAD_LINES) + 2,
        "new": 2,
        "changed": 0,
        "skipped": 0,
        "rejected": len(BAD_LINES),
    }
    assert [one["line"] for one in content["rejections"]] == list(range(2, len(BAD_LINES) + 2))


def test_gzip_byte_order_marks_and_missing_last_newlines_are_no_obstacle(tmp_path: Path) -> None:
    plain = write(tmp_path / "x.jsonl", b"\xef\xbb\xbf" + json.dumps(record(0)).encode(), record(1))
    packed = tmp_path / "x.gz"
    packed.write_bytes(gzip.compress(plain.read_bytes()))
    for path in (plain, packed):
        assert open_export(path).format == "jsonl"
        assert read(path)[0] == ["line 0", "line 1"]


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "is empty"),
        (b"\n \n", "is empty"),
        (bytes(range(256)) * 20, "binary"),
        (b"PK\x03\x04" + b"\x00" * 100, "binary"),
        (b"just prose, nothing else\nand more of it\n", "not JSON lines"),
        (b"name,text\nAnn,hello\n", "No column .* created_at; its columns are name, text"),
        (b'[{"answer": 42}]', "JSON of another shape"),
        (gzip.compress(b"hello " * 10_000, mtime=0)[:50], "cannot be read"),
    ],
)
def test_a_file_that_is_nothing_known_is_refused_in_a_sentence(tmp_path: Path, content: bytes, reason: str) -> None:
    path = tmp_path / "x"
    path.write_bytes(content)
    with pytest.raises(ExportError, match=reason):
        open_export(path)


def test_a_missing_file_a_folder_and_an_unknown_format_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ExportError, match="There is no file"):
        open_export(tmp_path / "nothing")
    with pytest.raises(ExportError, match="is a folder"):
        open_export(tmp_path)
    with pytest.raises(ExportError, match="Unknown format 'xml'"):
        open_export(write(tmp_path / "x", record()), "xml")


def test_a_file_that_breaks_off_in_the_middle_imports_nothing(tmp_path: Path, db: Database, settings: Settings) -> None:
    whole = gzip.compress(
        b"\n".join(json.dumps(record(n, text=f"{n * 7919 % 1009} {n}")).encode() for n in range(20_000))
    )
    path = tmp_path / "x.jsonl.gz"
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(ExportError, match="breaks off"):
        import_export(db, open_export(path), client="acme", crew="desk", settings=settings, now=NOW)
    with db.read() as connection:
        assert connection.exec_driver_sql("SELECT count(*) FROM lines").scalar() == 0


def test_importing_twice_changes_nothing(tmp_path: Path, db: Database, settings: Settings) -> None:
    path = write(tmp_path / "x.jsonl", record(0), record(1), record(0, session_id="s2"))

    def run() -> CrewReport:
        return import_export(db, open_export(path), client="acme", crew="desk", settings=settings, now=NOW)

    assert run().as_dict()["conversations"] == {"read": 2, "new": 2, "changed": 0, "skipped": 0}
    again = run().as_dict()
    assert again["conversations"] == {"read": 2, "new": 0, "changed": 0, "skipped": 2}
    assert again["lines"] == {"read": 3, "new": 0, "changed": 0, "skipped": 3, "rejected": 0}
    assert again["days"] == []


def test_today_is_let_in_and_tomorrow_is_not(tmp_path: Path) -> None:
    tokyo = Limits(ZoneInfo("Asia/Tokyo"), date(2000, 1, 1), NOW)
    path = write(
        tmp_path / "x.jsonl",
        record(0, created_at="2025-01-20T23:59:59+09:00"),
        record(1, created_at="2025-01-21T00:00:00+09:00"),
        record(2, created_at="2000-01-01T00:00:00+09:00"),
        record(3, created_at="1999-12-31T23:59:59+09:00"),
    )
    reading = Reading()
    assert [line.position for line in open_export(path).lines(tokyo, reading)] == [0, 2]
    assert [number for number, _ in reading.rejections] == [2, 4]


def test_moments_without_a_zone_are_read_in_the_configured_one(tmp_path: Path) -> None:
    berlin = Limits(ZoneInfo("Europe/Berlin"), date(2000, 1, 1), NOW)
    path = write(tmp_path / "x.jsonl", record(0, created_at="2025-01-15T00:30:00"))
    line = next(open_export(path).lines(berlin, Reading()))
    assert line.spoken_at.isoformat() == "2025-01-15T00:30:00+01:00"


@pytest.mark.corpus
def test_the_shared_corpora_are_read_without_a_rejection() -> None:
    found = sorted(SHARED.glob("*.jsonl.gz"))
    if not found:
        pytest.skip("the shared corpora are not here")
    limits = Limits(ZoneInfo("UTC"), date(2000, 1, 1), datetime.now(UTC))
    for path in found:
        with gzip.open(path) as lines:
            expected = sum(1 for _ in lines)
        reading = Reading()
        count = sum(1 for _ in open_export(path).lines(limits, reading))
        assert count == reading.lines_read == expected > 0, path.name
        assert reading.rejected == 0, path.name
        assert count > LEAST_LINES.get(path.name, 0), path.name
