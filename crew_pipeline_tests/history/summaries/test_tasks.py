"""A task says who is to do it and by when as far as its sentence does, and nothing more."""

from __future__ import annotations

from datetime import date

import pytest

from crew_pipeline.history.summaries.tasks import Todo, todo

WEDNESDAY = date(2025, 1, 15)
SPEAKERS = ("Ann", "Ben", "Project Manager")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("I'll send the minutes by tomorrow", Todo("Ben", "by tomorrow", date(2025, 1, 16))),
        ("Ann, could you find out the price before Friday?", Todo("Ann", "before Friday", date(2025, 1, 17))),
        ("the project manager will write it down", Todo("Project Manager", None, None)),
        ("we'll have to test it next week", Todo(None, "next week", None)),
        ("I will bring it next Monday", Todo("Ben", "next Monday", date(2025, 1, 20))),
        ("I will bring it next Friday", Todo("Ben", "next Friday", date(2025, 1, 24))),
        ("please send it on Wednesday", Todo(None, "on Wednesday", date(2025, 1, 22))),
        ("due 2025-02-03, please", Todo(None, "due 2025-02-03", date(2025, 2, 3))),
        ("done by the 3rd of March", Todo(None, "by the 3rd of March", date(2025, 3, 3))),
        ("done by January 3", Todo(None, "by January 3", date(2026, 1, 3))),
        ("ready by the end of the week", Todo(None, "by the end of the week", date(2025, 1, 19))),
        ("on the 31st of February", Todo(None, None, None)),
        ("Ann, I'll look at it in a minute", Todo("Ben", "in a minute", None)),
        ("I'll look at it, but not before Friday", Todo("Ben", "not before Friday", None)),
        ("transfer me to a human project manager.", Todo(None, None, None)),
        ("someone fix the annex", Todo(None, None, None)),
    ],
)
def test_who_and_when_are_what_the_sentence_says(text: str, expected: Todo) -> None:
    found = todo(text, "Ben", WEDNESDAY, SPEAKERS)
    assert found == expected or (expected.due is None and (found.who, found.due_on) == (expected.who, expected.due_on))


@pytest.mark.parametrize(
    "text", ["2025-99-99", "by the 99th of May", "in 999 years", "(" * 5_000, "by " * 3_000, "I'll" * 900]
)
def test_what_means_no_day_is_no_day(text: str) -> None:
    assert todo(text, "(", WEDNESDAY, ["(", "[a", "Ann"]).due_on is None
