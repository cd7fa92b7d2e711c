"""The day document loses nothing, keeps every speaker, and is the same bytes for the same day."""

from __future__ import annotations

import random
from datetime import UTC, datetime, timedelta

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from crew_pipeline.dedup.document import DocumentError, build, verify
from crew_pipeline.dedup.views import full_view
from crew_pipeline.model import Conversation, Fold, Folds, Line

START = datetime(2025, 1, 15, 9, tzinfo=UTC)


def conversations(count: int) -> list[Conversation]:
    return [
        Conversation(f"c{number}", f"session {number}", "desk", None, START + timedelta(hours=number), START)
        for number in range(count)
    ]


@st.composite
def folded_days(draw: st.DrawFn) -> tuple[list[Conversation], list[Line], Folds]:
    talks = conversations(draw(st.integers(1, 3)))
    lines = [
        Line(
            draw(st.sampled_from(talks)).id,
            number * 2,
            draw(st.sampled_from(["Ann", "Bo"])),
            START + timedelta(seconds=draw(st.integers(0, 90))),
            draw(st.sampled_from(["hello there", "", "请问怎么", "👍 ok", "  padded "])),
        )
        for number in range(draw(st.integers(0, 12)))
    ]
    folds: Folds = {}
    free = [(line.conversation_id, line.position) for line in lines]
    for cluster in range(draw(st.integers(0, 3))):
        members = draw(st.lists(st.sampled_from(free), min_size=2, unique=True)) if len(free) > 1 else []
        for number, key in enumerate(members):
            folds[key] = Fold(f"k{cluster}", number == 0, 1.0 if number == 0 else 0.9, 0.9, "same words")
        free = [key for key in free if key not in members]
    return talks, lines, folds


@given(folded_days())
def test_every_line_stands_once_visible_or_hidden(day: tuple) -> None:
    talks, lines, folds = day
    made = build("acme", talks, lines, folds, "e")
    entries = orjson.loads(made.body)
    shown = [line for entry in entries for line in entry["display_conversation"]]
    hidden = [line for one in shown for line in one["hidden_variations"]]
    assert len(shown) + len(hidden) == made.line_count == len(lines)
    assert len(hidden) == made.hidden_count == sum(not fold.is_canonical for fold in folds.values())
    assert sum(entry["line_count"] for entry in entries) == len(lines)
    assert sum(entry["hidden_count"] for entry in entries) == len(hidden)
    assert all(line["is_deduplicated"] is not line["is_unique"] for line in shown)
    assert all((line["represents_cluster"] is None) is line["is_unique"] for line in shown)


@given(folded_days(), st.randoms(use_true_random=False))
def test_the_order_in_which_lines_arrive_does_not_matter(day: tuple, order: random.Random) -> None:
    talks, lines, folds = day
    made = build("acme", talks, lines, folds, "e")
    order.shuffle(talks)
    order.shuffle(lines)
    assert build("acme", talks, lines, dict(reversed(folds.items())), "e") == made


@given(folded_days())
def test_the_full_view_has_every_line_in_its_place(day: tuple) -> None:
    talks, lines, folds = day
    entries = orjson.loads(build("acme", talks, lines, folds, "e").body)
    full_view(entries)
    placed = [(entry["id"], line["line_id"]) for entry in entries for line in entry["display_conversation"]]
    expected = {entry["id"]: [] for entry in entries}
    for line in sorted(lines, key=lambda line: line.position):
        expected[line.conversation_id].append(f"{line.conversation_id}-{line.position}")
    assert placed == [(entry["id"], name) for entry in entries for name in expected[entry["id"]]]
    marked = {line["line_id"] for entry in entries for line in entry["display_conversation"] if line["represented_by"]}
    assert marked == {f"{key[0]}-{key[1]}" for key, fold in folds.items() if not fold.is_canonical}


def test_the_version_covers_content_and_engine() -> None:
    talks = conversations(1)
    one = build("acme", talks, [Line("c0", 0, "Ann", START, "hello")], {}, "e1")
    assert one.version == build("acme", talks, [Line("c0", 0, "Ann", START, "hello")], {}, "e1").version
    assert one.version != build("acme", talks, [Line("c0", 0, "Ann", START, "hello")], {}, "e2").version
    assert one.version != build("acme", talks, [Line("c0", 0, "Ann", START, "hallo")], {}, "e1").version


def test_a_line_whose_canonical_line_is_gone_is_shown() -> None:
    folds = {("c0", 0): Fold("k", True, 1, 1, "canonical"), ("c0", 1): Fold("k", False, 0.9, 0.9, "same")}
    made = build("acme", conversations(1), [Line("c0", 1, "Ann", START, "still here")], folds, "e")
    assert made.hidden_count == 0
    assert b"still here" in made.body


@pytest.mark.parametrize(
    ("field", "value"), [("speaker", "Somebody else"), ("text", "changed"), ("spoken_at", "2000-01-01T00:00:00Z")]
)
def test_a_line_under_another_name_time_or_text_is_refused(field: str, value: str) -> None:
    lines = [Line("c0", 0, "Ann", START, "hello there")]
    entries = orjson.loads(build("acme", conversations(1), lines, {}, "e").body)
    entries[0]["display_conversation"][0][field] = value
    with pytest.raises(DocumentError, match="its own"):
        verify(lines, entries)


def test_a_lost_or_doubled_line_is_refused() -> None:
    lines = [Line("c0", number, "Ann", START, "hello") for number in range(2)]
    entries = orjson.loads(build("acme", conversations(1), lines, {}, "e").body)
    shown = entries[0]["display_conversation"]
    with pytest.raises(DocumentError, match="twice"):
        verify(lines, [{"display_conversation": [*shown, shown[0]]}])
    with pytest.raises(DocumentError, match="1 of 2 lines are missing"):
        verify(lines, [{"display_conversation": shown[:1]}])


def test_a_line_of_a_conversation_that_is_not_there_is_refused() -> None:
    with pytest.raises(DocumentError):
        build("acme", [], [Line("c0", 0, "Ann", START, "hello")], {}, "e")
