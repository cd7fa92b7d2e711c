"""Summaries follow the days: every sentence has its line, what is erased is in none, what was said before is found."""

from __future__ import annotations

from datetime import date
from typing import Any

import pytest
from sqlalchemy import text

from crew_pipeline.days import forgetting
from crew_pipeline.days.forgetting import Scope
from crew_pipeline.history.summaries import reading, update
from crew_pipeline.history.summaries.recall import own_of, recall
from crew_pipeline.model import ClientDay, line_key
from crew_pipeline.settings import Settings
from crew_pipeline.storage.database import Database
from crew_pipeline.storage.history.points import Within
from crew_pipeline_tests.conftest import Ready, bring, lines_at
from crew_pipeline_tests.histories import NOW as THEN
from crew_pipeline_tests.history.summaries.talk import FIRST, LATER, NOW, OPTIONS, SAID, Meetings

CLIENT = "default"


@pytest.fixture
def meetings(db: Database, make_ready: Ready) -> Meetings:
    return Meetings(db, make_ready)


def summary(db: Database, first: str, last: str | None = None) -> dict[str, Any]:
    within = Within(date.fromisoformat(first), date.fromisoformat(last or first))
    with db.read() as connection:
        return reading.summary(connection, CLIENT, within, reading.SPAN, "UTC")


def recalled(db: Database, day: str) -> dict[str, Any]:
    within = Within(date.fromisoformat(day), date.fromisoformat(day))
    with db.read() as connection:
        return recall(connection, CLIENT, own_of(connection, CLIENT, within))


def texts(points: list[dict[str, Any]]) -> list[str]:
    return [point["text"] for point in points]


def said(day: str, number: int) -> str:
    return SAID[day][number][1]


def test_every_sentence_of_a_summary_is_a_line_as_it_was_said(db: Database, meetings: Meetings) -> None:
    meetings.hold()
    found = summary(db, FIRST, NOW)
    assert said(FIRST, 2) in texts(found["decisions"])
    assert said(LATER, 1) in texts(found["decisions"])
    assert [one["text"] for one in found["tasks"]] == [said(FIRST, 3), said(LATER, 2)]
    assert [(one["who"], one["due"], one["due_on"]) for one in found["tasks"]] == [
        ("Ben", "by Friday", "2025-01-10"),
        ("Ben", "by Monday", "2025-01-20"),
    ]
    assert texts(found["questions"]) == [said(FIRST, 4)]
    assert (found["days"], found["missing_days"], found["conversations"]) == (3, 0, 3)
    with db.read() as connection:
        for part in ("key_points", "decisions", "tasks", "questions"):
            for point in found[part]:
                conversation, position = line_key(point["line_id"]) or ("", 0)
                line = connection.execute(
                    text("SELECT speaker, text FROM lines WHERE conversation_id = :id AND position = :position"),
                    {"id": conversation, "position": position},
                ).one()
                assert (point["speaker"], point["text"]) == (line.speaker, line.text[point["start"] : point["end"]])


def test_what_is_summarised_is_not_summarised_again_until_it_changes(db: Database, meetings: Meetings) -> None:
    meetings.hold(FIRST)
    client_day = ClientDay(CLIENT, date.fromisoformat(FIRST))
    assert update.days_without(db, 10) == []
    assert update.summarise(db, client_day, OPTIONS) is None
    before = summary(db, FIRST)
    assert update.summarise(db, client_day, OPTIONS, anew=True) is not None
    assert summary(db, FIRST) == before
    bring(
        db,
        lines_at(FIRST, "another", ("Eve", "The posters for the fair have arrived from the printer.")),
        client=CLIENT,
    )
    assert summary(db, FIRST)["conversations"] == 2


def test_days_without_vectors_wait_and_say_so(db: Database, make_ready: Ready) -> None:
    bring(db, lines_at(FIRST, "a", *SAID[FIRST]), client=CLIENT)
    make_ready(FIRST)
    assert update.summarise(db, ClientDay(CLIENT, date.fromisoformat(FIRST)), OPTIONS) is None
    found = summary(db, FIRST)
    assert (found["days"], found["missing_days"], found["key_points"]) == (1, 1, [])


def test_another_way_of_choosing_has_all_days_chosen_anew(
    db: Database, meetings: Meetings, monkeypatch: pytest.MonkeyPatch
) -> None:
    meetings.hold(FIRST, LATER)
    monkeypatch.setattr(update, "VERSION", "another")
    assert [work.day.isoformat() for work in update.days_without(db, 10)] == [LATER, FIRST]
    assert update.summarise(db, ClientDay(CLIENT, date.fromisoformat(LATER)), OPTIONS) is not None
    assert [work.day.isoformat() for work in update.days_without(db, 10)] == [FIRST]


def test_what_was_decided_before_comes_back_and_what_took_its_place(db: Database, meetings: Meetings) -> None:
    meetings.hold()
    found = recalled(db, NOW)
    assert found["last"]["day"] == LATER
    assert texts(found["decided"]) == [said(LATER, 1)], "the older decision stands no more"
    assert texts(found["decided"][0]["revises"]) == [said(FIRST, 2)]
    assert found["decided"][0]["said_now"] in {words for _, words in SAID[NOW]}
    assert {one["day"] for one in found["related"]} == {FIRST, LATER}
    assert recalled(db, FIRST) == {"last": None, "related": [], "decided": [], "open": [], "tasks": []}


def test_only_what_was_said_before_is_recalled(db: Database, meetings: Meetings) -> None:
    meetings.say(NOW, ("Ann", "Hello!"), *SAID[FIRST], session="long")
    found = recalled(db, NOW)
    assert (found["last"], found["decided"]) == (None, []), "a day does not recall itself"
    bring(db, lines_at(NOW, "between", *SAID[NOW], hour=9, minute=1), client=CLIENT)
    meetings.say(
        NOW,
        ("Eve", "What was the weather like?"),
        session="other",
    )
    with db.read() as connection:
        conversation = connection.scalar(text("SELECT id FROM data_items WHERE session_id = 'between'"))
        own = own_of(connection, CLIENT, Within(conversation_id=conversation))
        assert len(own.vectors)
        said_before = recall(connection, CLIENT, own)
    assert said_before["decided"] == [], "it was said after this conversation began"


def test_what_is_forgotten_is_in_no_summary(
    db: Database, meetings: Meetings, make_ready: Ready, settings: Settings
) -> None:
    meetings.hold()
    conversation, _ = line_key(summary(db, LATER)["decisions"][0]["line_id"]) or ("", 0)
    forgetting.forget(db, settings, Scope(CLIENT, conversation=conversation), THEN)
    assert summary(db, LATER)["decisions"] == []
    assert texts(recalled(db, NOW)["decided"]) == [said(FIRST, 2)], "what it replaced stands again"
    with db.read() as connection:
        left = connection.execute(text("SELECT count(*) FROM points WHERE conversation_id = :id"), {"id": conversation})
        assert left.scalar_one() == 0


def test_another_clients_talk_is_in_no_summary(db: Database, meetings: Meetings, make_ready: Ready) -> None:
    Meetings(db, make_ready, "rival").hold(FIRST, LATER)
    meetings.hold(NOW)
    assert summary(db, FIRST, LATER)["decisions"] == []
    assert recalled(db, NOW)["last"] is None
