"""What a language model tells counts as far as the lines that it names bear it out."""

from __future__ import annotations

import pytest

from crew_pipeline.history.summaries.prose import Numbered, checked, numbered, question

LINES = [
    Numbered("a-1", "Ann", "we go for the rubber case, 25 euros a piece", "decided"),
    Numbered("a-2", "Ben", "I'll send the drawings to Mrs Miller by Friday", "to do"),
]


@pytest.mark.parametrize(
    ("answer", "kept", "why"),
    [
        ("Ann decides on rubber for 25 euros [1].", 1, None),
        ("- Ben sends the drawings to Mrs Miller by Friday [2].\n\n* Rubber it is [1, 2].", 2, None),
        ("Ann decides on rubber.", 0, "it names no line"),
        ("Ann decides on rubber [3].", 0, "it names a line that is not there"),
        ("Ann decides on rubber [0].", 0, "it names a line that is not there"),
        ("Rubber for 26 euros [1].", 0, "26 is not in its lines"),
        ("The drawings go to Miller by Monday [2].", 0, "Monday is not in its lines"),
        ("The drawings go to Mr Jones [2].", 0, "Mr is not in its lines"),
        ("", 0, None),
        ("[1]", 0, None),
        ("x" * 5_000 + " [1]", 0, "it names no line"),
    ],
)
def test_a_sentence_is_kept_where_its_lines_have_what_it_says(answer: str, kept: int, why: str | None) -> None:
    found = checked(answer, LINES)
    assert len(found.sentences) == kept
    assert [one["why"] for one in found.dropped] == ([] if why is None else [why])
    assert all(one["line_ids"] for one in found.sentences)


def test_the_lines_are_numbered_in_the_order_of_the_parts_and_shown_on_one_row() -> None:
    def point(line: str, words: str) -> dict[str, object]:
        return {"line_id": line, "start": 0, "speaker": "Ann", "text": words}

    summary = {
        "key_points": [point("a-1", "one\ntwo")], "decisions": [point("a-2", "x" * 900)], "tasks": [],
        "questions": [point("a-1", "one\ntwo")],
    }  # fmt: skip
    lines = numbered(summary)
    assert [line.line_id for line in lines] == ["a-1", "a-2"]
    asked = question(lines).splitlines()
    assert asked[0] == "[1] (said) Ann: one two"
    assert len(asked) == 2
    assert len(asked[1]) < 700
