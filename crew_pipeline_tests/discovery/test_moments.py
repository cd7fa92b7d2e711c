"""A time that can be meant in one way is read, one that can be meant in two is refused with the way to say which."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crew_pipeline.discovery.moments import ANY_FORM, AmbiguousError, Times, read_moment
from crew_pipeline_tests.conftest import SHARED
from crew_pipeline_tests.discovery.exported import as_file, read

FOUND = SHARED / "found"
DAY = datetime(2025, 1, 15, 9, 30)  # noqa: DTZ001 - as it is written


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("2025-01-15T09:30:00Z", DAY.replace(tzinfo=UTC)),
        ("2025-01-15 09:30:00 UTC", DAY.replace(tzinfo=UTC)),
        ("2025-01-15 09:30:00.123456 UTC", DAY.replace(tzinfo=UTC, microsecond=123456)),
        ("2025-01-15 10:30:00 +0100", DAY.replace(tzinfo=UTC)),
        ("2025-01-15T09:30:00 Z", DAY.replace(tzinfo=UTC)),
        ("2025/01/15 09:30", DAY),
        ("2025-01-15 9:30", DAY),
        ("Wed, 15 Jan 2025 09:30:00 +0000", DAY.replace(tzinfo=UTC)),
        ("15 January 2025 09:30", DAY),
        ("Jan 15, 2025 9:30 AM", DAY),
        ("Jan 15, 2025, 9:30:00\u202fAM", DAY),
        ("15.01.2025 09:30", DAY),
        ("12.01.2025 09:30", DAY.replace(day=12)),
        ("01/15/2025 9:30 AM", DAY),
        ("15/01/2025, 09:30", DAY),
        ("2025/01/15 12:05 AM", DAY.replace(hour=0, minute=5)),
        ("2025/01/15 12:05 p.m.", DAY.replace(hour=12, minute=5)),
        ("2025/01/15", DAY.replace(hour=0, minute=0)),
    ],
)
def test_what_is_certain_is_read(written: str, meant: datetime) -> None:
    found = read_moment(written, ANY_FORM)
    assert found == meant
    assert found.tzinfo is None or found.utcoffset() is not None


@pytest.mark.parametrize("written", ["02/03/2025 09:30", "1/15/25 9:30", "12.01.25 09:30", "02-03-2025 09:30"])
def test_what_is_not_is_refused_until_it_is_said(written: str) -> None:
    with pytest.raises(AmbiguousError):
        read_moment(written, ANY_FORM)


def test_what_is_said_counts() -> None:
    assert read_moment("02/03/2025 09:30", Times(day_first=True)) == datetime(2025, 3, 2, 9, 30)  # noqa: DTZ001
    assert read_moment("02/03/2025 09:30", Times(day_first=False)) == datetime(2025, 2, 3, 9, 30)  # noqa: DTZ001
    assert read_moment("12.01.25 09:30", Times(day_first=True)) == datetime(2025, 1, 12, 9, 30)  # noqa: DTZ001
    assert read_moment("09h30 15|01|25", Times("%Hh%M %d|%m|%y")) == DAY


@given(st.text(st.sampled_from("0123456789/.-:, TZapm+JanUC"), max_size=30))
def test_nothing_that_is_written_does_harm(written: str) -> None:
    try:
        found = read_moment(written, ANY_FORM)
    except (ValueError, KeyError, OverflowError):
        return
    assert timedelta(0) <= found - found.replace(hour=0, minute=0, second=0, microsecond=0) < timedelta(days=1)


TABLE = "session_id,created_at,speaker,text\nt,02/01/2025 09:30,Ann,hello\n"


def test_a_table_says_how_to_say_it(tmp_path: Path) -> None:
    path = as_file(tmp_path / "talk.csv", TABLE.encode())
    (reason,) = read(path).reasons
    assert "can be meant in two ways; say --day-first or --month-first" in reason
    (line,) = read(path, times=Times(day_first=True)).lines
    assert line.spoken_at.isoformat() == "2025-01-02T09:30:00+00:00"


LOG = b'{"conversation_id": "x", "role": "user", "content": "How?", "timestamp": "2025-01-15T09:30:00Z"}\n'


def test_json_lines_with_other_names_are_read(tmp_path: Path) -> None:
    path = as_file(tmp_path / "log.jsonl", LOG)
    assert [(line.session_id, line.speaker, line.text) for line in read(path).lines] == [("x", "user", "How?")]
    odd = as_file(tmp_path / "odd.jsonl", LOG.replace(b'"role"', b'"who"').replace(b'"content"', b'"words"'))
    assert read(odd).reasons
    found = read(odd, columns={"speaker": "who", "text": "words"})
    assert [(line.session_id, line.speaker, line.text) for line in found.lines] == [("x", "user", "How?")]


@pytest.mark.corpus
@pytest.mark.parametrize(("name", "lines"), [("26-csv-times/talk.csv", 16), ("28-jsonl-other-names/log.jsonl", 2)])
def test_what_was_found_to_be_refused_is_read(name: str, lines: int) -> None:
    if not FOUND.exists():
        pytest.skip("the shared inputs that failed are not here")
    found = read(FOUND / name)
    assert (len(found.lines), found.reasons) == (lines, [])
