"""A voice's standing text is known by the day, told once, and what differs in it stays visible."""

from __future__ import annotations

import random
from datetime import UTC, datetime, timedelta
from typing import Any

import orjson

from crew_pipeline.dedup.document import build, verify
from crew_pipeline.dedup.feedback import Feedback
from crew_pipeline.dedup.passages import hashes_in
from crew_pipeline.dedup.repeats import REASON, DayPassages
from crew_pipeline.dedup.standing import Head, heads
from crew_pipeline.dedup.views import without_passages
from crew_pipeline.model import Conversation, Line, LineKey

START = datetime(2025, 1, 15, 9, tzinfo=UTC)

PROMPT = (
    "You are the reviewer of a small team of builders.\nHere is the task: {}.\nAnswer in at most three sentences.\n\n"
)
FILE = "import sys\n\nprint('a file that is sent again and again', sys.argv)\nprint('and has several rows')\n"


def said(*texts: str, speaker: str = "Reviewer", talk: str = "c0") -> list[Line]:
    return [Line(talk, place, speaker, START + timedelta(seconds=place), text) for place, text in enumerate(texts)]


def heads_of(lines: list[Line], crews: dict[str, str] | None = None) -> tuple[DayPassages, dict[LineKey, Head]]:
    day = DayPassages.of(lines)
    return day, heads(day, lines, crews or {})


def prompted(*tasks: str) -> list[Line]:
    return said(*(PROMPT.format(task) + f"Fault {task} is the worst one." for task in tasks))


def test_the_standing_text_is_what_most_messages_begin_with_without_what_differs() -> None:
    lines = prompted("sort", "sort", "print", "clean")
    day, found = heads_of(lines)
    assert len(found) == 4
    standing = found["c0", 0].standing
    assert (standing.name, standing.messages) == ("standing text of Reviewer", 4)
    assert standing.characters == len(PROMPT.format("").strip()) - len("Here is the task: .") - 2
    assert {head.length for head in found.values()} == {3}
    text = lines[0].text
    assert [text[start:end].strip() for start, end in found["c0", 0].shown(day, ("c0", 0))] == [
        "You are the reviewer of a small team of builders.",
        "Answer in at most three sentences.",
    ]
    assert [head.is_first for head in found.values()] == [True, False, False, False]


def test_the_document_names_it_once_and_gives_it_as_the_reason_of_what_folds() -> None:
    lines = prompted("sort", "print", "clean")
    talks = [Conversation("c0", "session", "builders", None, START, START)]
    (entry,) = orjson.loads(build("acme", talks, lines, {}, "e").body)
    verify(lines, [entry])
    first, second, third = entry["display_conversation"]
    assert first["standing"]["messages"] == 3
    assert "standing" not in second
    assert "standing" not in third
    assert {one["reason"] for one in second["repeats"]} == {"standing text of Reviewer"}


def test_its_key_is_that_of_what_it_says_whatever_else_the_day_holds() -> None:
    keys = [
        {head.standing.key for head in heads_of(lines)[1].values()}
        for lines in (
            prompted("sort", "print", "clean"),
            prompted("fold", "sort", "print", "hide", "sort"),
            said(
                *("You are a tester.\nHere is the task: fold.\nSay what fails, and where.\n\n" + end for end in "ABC")
            ),
        )
    ]
    assert [len(found) for found in keys] == [1, 1, 1]
    assert keys[0] == keys[1] != keys[2]


def test_it_is_named_also_where_another_voice_said_all_of_it_before() -> None:
    lines = [
        *said(PROMPT.format("sort") + "Go.", speaker="Planner"),
        *said(*(PROMPT.format("sort") + end for end in ("A.", "B.", "C."))),
    ]
    lines = [
        line._replace(position=place, spoken_at=START + timedelta(seconds=place)) for place, line in enumerate(lines)
    ]
    talks = [Conversation("c0", "session", "builders", None, START, START)]
    (entry,) = orjson.loads(build("acme", talks, lines, {}, "e").body)
    _, first, second, _ = entry["display_conversation"]
    assert (first["standing"]["messages"], first["standing"]["spans"]) == (3, [])
    assert {one["reason"] for one in first["repeats"]} == {REASON}
    assert {one["reason"] for one in second["repeats"]} == {"standing text of Reviewer"}


def test_a_file_sent_again_after_the_prompt_is_no_standing_text() -> None:
    lines = said(*(PROMPT.format("sort") + f"Version {word} follows now.\n{FILE}" for word in ("one", "two", "three")))
    _, found = heads_of(lines)
    assert {head.length for head in found.values()} == {3}
    day = DayPassages.of(lines)
    reasons = [one.reason for one in day.repeats(("c0", 1), 3, "standing")]
    assert reasons == ["standing", REASON]


def test_two_messages_or_a_few_of_many_make_no_standing_text() -> None:
    assert heads_of(prompted("sort", "print"))[1] == {}
    others = [f"Something else, number {number}.\nAnd one more row of it." for number in range(7)]
    texts = [PROMPT.format(task) for task in ("sort", "print", "clean")]
    assert heads_of(said(*texts, *others))[1] == {}


def test_each_voice_of_each_crew_has_its_own() -> None:
    one = prompted("sort", "print", "clean")
    other = [line._replace(conversation_id="c1") for line in one]
    _, together = heads_of(one + other)
    _, apart = heads_of(one + other, {"c0": "builders", "c1": "testers"})
    assert {head.standing.messages for head in together.values()} == {6}
    assert {head.standing.messages for head in apart.values()} == {3}
    renamed = [line._replace(conversation_id="c1", speaker="Tester") for line in one]
    _, found = heads_of(one + renamed)
    assert {head.standing.name for head in found.values()} == {"standing text of Reviewer", "standing text of Tester"}


def test_the_order_of_arrival_changes_nothing() -> None:
    lines = prompted("sort", "print", "clean", "sort", "move")
    talks = [Conversation("c0", "session", "builders", None, START, START)]
    made = build("acme", talks, lines, {}, "e")
    random.Random(3).shuffle(lines)
    assert build("acme", talks, lines, {}, "e") == made


def test_chats_have_none() -> None:
    assert heads_of(said(*["Good morning to all of you in this big room here."] * 20))[1] == {}


def test_a_standing_text_that_nobody_wants_to_see_is_left_out_of_short_views_only() -> None:
    lines = prompted("sort", "print", "clean")
    talks = [Conversation("c0", "session", "builders", None, START, START)]

    def shown(*hidden: str, seen: str = "") -> dict[str, Any]:
        unwanted = frozenset(one for row in hidden for one in hashes_in(row))
        feedback = Feedback(hidden=unwanted, shown=frozenset(hashes_in(seen) if seen else ()))
        (entry,) = orjson.loads(build("acme", talks, lines, {}, "e", feedback).body)
        verify(lines, [entry])
        assert entry["display_conversation"][0]["text"] == lines[0].text
        without_passages([entry])
        first: dict[str, Any] = entry["display_conversation"][0]
        return first

    rows = PROMPT.format("sort").splitlines()
    own = [rows[1], "Fault sort is the worst one."]
    assert [row for row in shown()["text"].splitlines() if row] == [*rows[:3], own[1]]
    assert shown(*rows)["text"].splitlines() == own
    assert [row for row in shown(rows[0])["text"].splitlines() if row] == [rows[1], rows[2], own[1]]
    # Of what is always to be seen, and of that alone, the wish to leave it out is taken back.
    assert [row for row in shown(*rows, seen=rows[2])["text"].splitlines() if row] == [rows[1], rows[2], own[1]]
    assert "hidden" not in shown("Something else that nobody ever said here.")["standing"]
