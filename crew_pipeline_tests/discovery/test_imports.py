"""An import can be taken back: what it brought goes, what it changed or took away is as it was, the rest stays."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from crew_pipeline.discovery.exports.export import open_export
from crew_pipeline.discovery.importing import import_export
from crew_pipeline.discovery.report import CrewReport
from crew_pipeline.settings import Settings
from crew_pipeline.storage.conversations import imports
from crew_pipeline.storage.conversations.imports import UndoError, Undone
from crew_pipeline.storage.conversations.parts import Calendar
from crew_pipeline.storage.database import Database
from crew_pipeline_tests.conftest import NOW, TODAY
from crew_pipeline_tests.discovery.exported import NINE, as_file

Query = Callable[..., list[tuple[object, ...]]]


def talk(session: str, *texts: str) -> bytes:
    return b"\n".join(
        json.dumps(
            {
                "session_id": session,
                "line": number,
                "created_at": f"2025-01-15T09:{number:02}:00Z",
                "speaker": "Ann",
                "text": text,
            }
        ).encode()
        for number, text in enumerate(texts)
    )


def bring(db: Database, settings: Settings, path: Path, crew: str = "desk") -> CrewReport:
    return import_export(db, open_export(path), client="acme", crew=crew, settings=settings, now=NOW)


def take_back(db: Database, import_id: int | None) -> Undone:
    assert import_id is not None
    with db.write() as connection:
        return imports.undo(connection, import_id, lambda _: Calendar("UTC", timedelta(hours=4), TODAY))[1]


def held(query: Query) -> list[tuple[object, ...]]:
    return query(
        "SELECT code, session_id, position, text FROM lines JOIN data_items ON data_items.id = conversation_id "
        "JOIN crews ON crews.id = crew_id ORDER BY 1, 2, 3"
    )


def test_what_came_under_a_wrong_crew_is_noticed_and_goes(
    tmp_path: Path, db: Database, settings: Settings, query: Query
) -> None:
    path = as_file(tmp_path / "talk.jsonl", talk("a", "one", "two") + b"\n" + talk("b", "three"))
    first = bring(db, settings, path)
    before = held(query)
    assert first.twins == {}
    wrong = bring(db, settings, path, crew="dsk")
    assert wrong.twins == {"desk": 2}
    assert len(held(query)) == 2 * len(before)
    undone = take_back(db, wrong.import_id)
    assert (undone.taken_back, undone.restored, [str(day) for day in undone.days]) == (3, 0, ["2025-01-15"])
    assert held(query) == before
    assert query("SELECT count(*) FROM data_items WHERE line_count = 0") == [(0,)]
    with pytest.raises(UndoError, match="taken back already"):
        take_back(db, wrong.import_id)
    with pytest.raises(UndoError, match="no import 4711"):
        take_back(db, 4711)


def test_an_import_that_changed_nothing_is_not_on_record(tmp_path: Path, db: Database, settings: Settings) -> None:
    path = as_file(tmp_path / "talk.jsonl", talk("a", "one", "two"))
    first, again = bring(db, settings, path), bring(db, settings, path)
    assert again.import_id is None
    with db.read() as connection:
        (listed,) = imports.list_all(connection, "acme")
        assert imports.list_all(connection, "other") == []
    assert (listed.id, listed.file, listed.format, listed.lines_new) == (first.import_id, "talk.jsonl", "jsonl", 2)


def test_lines_that_an_import_changed_are_as_they_were(
    tmp_path: Path, db: Database, settings: Settings, query: Query
) -> None:
    bring(db, settings, as_file(tmp_path / "a.jsonl", talk("a", "one", "two")))
    before = held(query)
    later = bring(db, settings, as_file(tmp_path / "b.jsonl", talk("a", "one", "TWO!", "three")))
    assert [text for *_, text in held(query)] == ["one", "TWO!", "three"]
    undone = take_back(db, later.import_id)
    assert (undone.taken_back, undone.restored) == (2, 1)
    assert held(query) == before
    assert query("SELECT count(*) FROM withdrawn_lines") == [(0,)]


def test_what_a_later_import_changed_stays(tmp_path: Path, db: Database, settings: Settings, query: Query) -> None:
    first = bring(db, settings, as_file(tmp_path / "a.jsonl", talk("a", "one", "two")))
    bring(db, settings, as_file(tmp_path / "b.jsonl", talk("a", "one", "TWO!")))
    assert take_back(db, first.import_id).taken_back == 1
    assert [text for *_, text in held(query)] == ["TWO!"]


def chatgpt(*texts: str) -> list[dict[str, object]]:
    def message(number: int, text: str) -> dict[str, object]:
        content = {"content_type": "text", "parts": [text]}
        return {"author": {"role": "user"}, "create_time": NINE + number, "content": content}

    nodes = {
        str(number): {"parent": str(number - 1) if number else None, "message": message(number, text)}
        for number, text in enumerate(texts)
    }
    return [{"id": "c", "create_time": NINE, "mapping": nodes, "current_node": str(len(texts) - 1)}]


def test_lines_that_a_whole_export_took_away_come_back(
    tmp_path: Path, db: Database, settings: Settings, query: Query
) -> None:
    bring(db, settings, as_file(tmp_path / "a.json", chatgpt("one", "two", "three")))
    before = held(query)
    shorter = [*chatgpt("one")]
    shorter[0]["mapping"]["0"]["message"]["create_time"] = NINE + 60  # type: ignore[index]
    later = bring(db, settings, as_file(tmp_path / "b.json", shorter))
    assert later.ingested.lines_withdrawn == 2
    take_back(db, later.import_id)
    assert held(query) == before


TALKS = st.dictionaries(
    st.sampled_from("abc"), st.lists(st.sampled_from(["x", "y", "z"]), min_size=1, max_size=4), min_size=1
)


@hypothesis_settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(TALKS, min_size=1, max_size=4))
def test_taking_all_back_from_the_last_to_the_first_goes_through_every_state_again(
    tmp_path: Path, db: Database, settings: Settings, query: Query, talks: list[dict[str, list[str]]]
) -> None:
    states, ids = [held(query)], []
    for number, sessions in enumerate(talks):
        content = b"\n".join(talk(session, *texts) for session, texts in sessions.items())
        ids.append(bring(db, settings, as_file(tmp_path / f"{number}.jsonl", content)).import_id)
        states.append(held(query))
    for import_id, state in zip(reversed(ids), reversed(states[:-1]), strict=True):
        if import_id is not None:
            take_back(db, import_id)
        assert held(query) == state
    assert states[0] == []
