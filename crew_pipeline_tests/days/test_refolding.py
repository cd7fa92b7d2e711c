"""What readers say is honoured at once and for ever, and another operating point needs no other run."""

from __future__ import annotations

import json
from datetime import date
from pathlib import Path
from typing import Any

import orjson
import pytest

from crew_pipeline.days import claims, labelling, refolding, verdicts
from crew_pipeline.dedup.config import fingerprint_of
from crew_pipeline.dedup.folding import BY_A_READER
from crew_pipeline.dedup.labelled_pairs import read_pairs
from crew_pipeline.dedup.views import without_passages
from crew_pipeline.model import ClientDay
from crew_pipeline.settings import Settings
from crew_pipeline.storage.database import Database
from crew_pipeline.storage.days import content, documents, queue
from crew_pipeline.storage.evidence import pairs
from crew_pipeline.storage.evidence import verdicts as stored
from crew_pipeline_tests.conftest import Run, bring, lines_at

DAY = "2025-01-15"
CLIENT_DAY = ClientDay("acme", date.fromisoformat(DAY))
EXACT = "the invoice export times out again"
OTHER = "nobody answers the phone this morning"
TALK = (("Mara", EXACT), ("Tom", EXACT), ("Jonas", OTHER), ("Priya", "the office printer is on fire"))


@pytest.fixture
def ready(db: Database, run_days: Run) -> Run:
    """A day that is ready: the second line is folded under the first."""
    bring(db, lines_at(DAY, "a", *TALK))
    assert run_days(DAY).success
    return run_days


def shown(db: Database, client_day: ClientDay = CLIENT_DAY) -> dict[str, list[tuple[str, str]]]:
    """Visible texts, and the text and reason of what is hidden under each, by speaker of the visible line."""
    with db.read() as connection:
        body = connection.exec_driver_sql(
            "SELECT body FROM day_documents WHERE client = %s AND day = %s AND is_current", tuple(client_day)
        ).scalar()
    lines: list[dict[str, Any]] = [line for one in orjson.loads(body) for line in one["display_conversation"]]
    return {line["speaker"]: [(one["speaker"], one["reason"]) for one in line["hidden_variations"]] for line in lines}


def line_ids(db: Database, client_day: ClientDay = CLIENT_DAY) -> list[str]:
    with db.read() as connection:
        return [f"{line.conversation_id}-{line.position}" for line in content.lines_of(connection, client_day)]


def test_lines_said_to_be_different_come_apart_at_once_and_stay_so(
    db: Database, settings: Settings, ready: Run
) -> None:
    assert shown(db)["Mara"] == [("Tom", "same words")]
    first, second, *_ = line_ids(db)
    said = verdicts.say(db, settings, CLIENT_DAY, "different", (first, second))
    assert said.days.at_once == [CLIENT_DAY.day]
    assert shown(db)["Mara"] == shown(db)["Tom"] == []
    assert ready(DAY, force=True).success
    assert shown(db)["Mara"] == []
    assert verdicts.undo(db, settings, "acme", said.id) == refolding.Refolded([CLIENT_DAY.day], [])
    assert shown(db)["Mara"] == [("Tom", "same words")]
    assert verdicts.undo(db, settings, "acme", said.id) is None


def test_lines_said_to_be_the_same_are_folded_on_every_day_that_holds_both(
    db: Database, settings: Settings, ready: Run
) -> None:
    later = ClientDay("acme", date(2025, 1, 16))
    bring(db, lines_at("2025-01-16", "b", ("Ann", EXACT), ("Bo", OTHER)))
    bring(db, lines_at("2025-01-16", "c", ("Ann", EXACT), ("Bo", OTHER)), client="rival")
    assert ready("2025-01-16").success
    first, _, third, _ = line_ids(db)
    said = verdicts.say(db, settings, CLIENT_DAY, "same", (first, third))
    assert sorted(said.days.at_once) == [CLIENT_DAY.day, later.day]
    assert ("Jonas", BY_A_READER) in shown(db)["Mara"]
    assert list(shown(db, later).values()) == [[("Bo", BY_A_READER)]]
    assert len(shown(db, ClientDay("rival", later.day))) == 2


def test_saying_it_again_changes_nothing_and_the_last_word_counts(db: Database, settings: Settings, ready: Run) -> None:
    first, _, third, _ = line_ids(db)
    one = verdicts.say(db, settings, CLIENT_DAY, "same", (first, third))
    assert verdicts.say(db, settings, CLIENT_DAY, "same", (third, first)).id == one.id
    verdicts.say(db, settings, CLIENT_DAY, "different", (first, third))
    with db.read() as connection:
        assert [said.verdict for said in stored.list_all(connection, "acme")] == ["different"]
        assert len(stored.list_all(connection, "acme", with_undone=True)) == 2
    assert set(shown(db)) == {"Mara", "Jonas", "Priya"}


def test_verdicts_are_exported_as_labelled_pairs(db: Database, settings: Settings, ready: Run, tmp_path: Path) -> None:
    first, _, third, _ = line_ids(db)
    verdicts.say(db, settings, CLIENT_DAY, "same", (first, third))
    with db.read() as connection:
        found = stored.labelled_pairs(connection, "acme")
    file = tmp_path / "pairs.jsonl"
    file.write_text("\n".join(json.dumps(one, default=str) for one in found))
    (pair,) = read_pairs(file)
    assert ({pair.left, pair.right}, pair.duplicate) == ({EXACT, OTHER}, True)


def test_a_line_that_is_not_there_is_named(db: Database, settings: Settings, ready: Run) -> None:
    before = line_ids(db)
    with pytest.raises(verdicts.UnknownLineError, match="no line 'x-1'"):
        verdicts.say(db, settings, CLIENT_DAY, "same", (line_ids(db)[0], "x-1"))
    bring(db, lines_at(DAY, "short", ("Mara", "ok"), ("Tom", "fine")))
    first, second = (one for one in line_ids(db) if one not in before)
    with pytest.raises(verdicts.TooShortError):
        verdicts.say(db, settings, CLIENT_DAY, "same", (first, second))
    with pytest.raises(verdicts.SameLineError):
        verdicts.say(db, settings, CLIENT_DAY, "same", ("x-1", "x-1"))
    with db.read() as connection:
        assert stored.list_all(connection, "acme") == []


def test_a_verdict_during_a_run_is_not_lost(db: Database, settings: Settings, ready: Run) -> None:
    first, second, *_ = line_ids(db)
    with db.write() as connection:
        assert claims.acquire(connection, CLIENT_DAY, "a run at work", 60)
        stored.remember(connection, CLIENT_DAY, "a run at work")
        assert not stored.changed_since(connection, CLIENT_DAY, "a run at work")
    said = verdicts.say(db, settings, CLIENT_DAY, "different", (first, second))
    assert said.days == refolding.Refolded([], [CLIENT_DAY.day])
    with db.write() as connection:
        assert stored.changed_since(connection, CLIENT_DAY, "a run at work")
        claims.finish(connection, CLIENT_DAY, "a run at work", "released")
        waiting = queue.work(connection, fingerprint_of(settings), which="urgent")
    assert [work.client_day for work in waiting] == [CLIENT_DAY]
    assert ready(DAY).success
    assert shown(db)["Mara"] == []


def test_another_operating_point_folds_again_without_a_run(db: Database, settings: Settings, ready: Run) -> None:
    done = refolding.set_folding(db, settings, "acme", "strict")
    assert done == refolding.Refolded([CLIENT_DAY.day], [])
    with db.read() as connection:
        stored = documents.current(connection, CLIENT_DAY, fingerprint_of(settings))
        assert stored is not None
        assert not stored.stale
        assert queue.work(connection, fingerprint_of(settings)) == []
    assert ready(DAY, force=True).success
    with db.read() as connection:
        stored = documents.current(connection, CLIENT_DAY, fingerprint_of(settings))
    assert stored is not None
    assert not stored.stale


def test_the_pairs_of_a_day_can_be_loaded_as_they_were_stored(db: Database, settings: Settings, ready: Run) -> None:
    with db.write() as connection:
        judgement = connection.exec_driver_sql("SELECT judgement FROM day_comparisons").scalar_one()
        once = pairs.load(connection, CLIENT_DAY, judgement)
        assert once is not None
        pairs.store(connection, CLIENT_DAY, judgement, once)
        again = pairs.load(connection, CLIENT_DAY, judgement)
        assert again is not None
        assert list(again.texts) == list(once.texts)
        assert again.pairs.reason == once.pairs.reason
        assert pairs.load(connection, CLIENT_DAY, "another") is None


def test_people_are_asked_about_the_pairs_that_the_judge_is_least_sure_of(
    db: Database, settings: Settings, run_days: Run
) -> None:
    said = ("can anyone help me with the printer", "so can anyone help me with the printer driver")
    bring(db, lines_at(DAY, "a", ("Mara", said[0]), ("Mara", said[1])))
    assert run_days(DAY).success
    (question,) = labelling.questions(db, settings, CLIENT_DAY, 5)
    assert {question.left.text, question.right.text} == set(said)
    verdicts.say(db, settings, CLIENT_DAY, "same", (question.left.line_id, question.right.line_id))
    assert labelling.questions(db, settings, CLIENT_DAY, 5) == []


PROMPT = "You are the reviewer of a small team of builders.\nNever forget that you speak for the people who use it.\n"
ANSWERS = ("Yes, I agree.", "No, I do not.", "Perhaps, on another day.")


def texts_left(db: Database, day: str) -> list[str]:
    """What a short view shows of each line of a day."""
    with db.read() as connection:
        body = connection.exec_driver_sql(
            "SELECT body FROM day_documents WHERE client = 'acme' AND day = %s AND is_current", (day,)
        ).scalar()
    entries = orjson.loads(body)
    without_passages(entries)
    return [line["text"].strip() for one in entries for line in one["display_conversation"]]


def test_what_is_said_of_a_passage_and_of_a_standing_text_holds_on_every_day_until_it_is_undone(
    db: Database, settings: Settings, run_days: Run
) -> None:
    for day in (DAY, "2025-01-16"):
        bring(db, lines_at(day, f"s{day}", *(("Reviewer", PROMPT + answer) for answer in ANSWERS)))
        assert run_days(day).success
    as_made = [PROMPT + ANSWERS[0], *ANSWERS[1:]]
    assert texts_left(db, DAY) == texts_left(db, "2025-01-16") == as_made
    first, second, _ = line_ids(db)

    hidden = verdicts.hide(db, settings, CLIENT_DAY, second)
    assert (hidden.days.at_once, hidden.days.later) == ([CLIENT_DAY.day], [date(2025, 1, 16)])
    assert texts_left(db, DAY) == list(ANSWERS)
    assert texts_left(db, "2025-01-16") == as_made
    assert run_days("2025-01-16").success
    assert texts_left(db, "2025-01-16") == list(ANSWERS)
    assert verdicts.undo(db, settings, "acme", hidden.id) is not None
    assert texts_left(db, DAY) == as_made

    rule = PROMPT.splitlines()[1]
    shown = verdicts.show(db, settings, CLIENT_DAY, first, PROMPT.index(rule), len(PROMPT))
    assert [rule in text for text in texts_left(db, DAY)] == [True, True, True]
    assert verdicts.undo(db, settings, "acme", shown.id) is not None
    assert texts_left(db, DAY) == as_made
