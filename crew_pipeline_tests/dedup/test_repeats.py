"""What stands in a message and stood before folds in place: nothing is lost, and everything folded is visible once."""

from __future__ import annotations

import random
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from itertools import pairwise

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from crew_pipeline.days.folding import folds_in
from crew_pipeline.dedup import frames
from crew_pipeline.dedup.comparing import exact_repeats
from crew_pipeline.dedup.config import EngineConfig
from crew_pipeline.dedup.document import Document, DocumentError, build, verify
from crew_pipeline.dedup.feedback import Feedback
from crew_pipeline.dedup.folding import fold_lines
from crew_pipeline.dedup.passages import Passage, form, hashes_in, passages
from crew_pipeline.dedup.repeats import FEWEST_CHARACTERS, FEWEST_WORDS, DayPassages
from crew_pipeline.dedup.views import full_view, visible_text, without_passages
from crew_pipeline.model import Conversation, Fold, Folds, Line, Repeat

START = datetime(2025, 1, 15, 9, tzinfo=UTC)

PROMPT = (
    "You are the reviewer of a small team of builders.\n"
    "Never forget that you speak for the people who use it.\n"
    "\n"
    "Answer in at most three sentences.\n"
)
CODE = "def total(prices):\n    amount = 0\n    for price in prices:\n        amount += price\n    return amount\n"

ROWS = [
    "}", "ok", "    return total", "  return total", "total = total + price * 2", "total = total - price * 2",
    "You are the reviewer of a small team of builders.", "you are the reviewer of a small team of builders.",
    "Answer in at most three sentences.", "-----", "", "x = {'a': 1, 'b': 2, 'name': 'the long one'}",
]  # fmt: skip


def repeats(lines: Sequence[Line], shown: frozenset[bytes] = frozenset()) -> dict[tuple[str, int], tuple[Repeat, ...]]:
    day = DayPassages.of(lines, shown)
    return {key: found for key in day.lines if (found := tuple(day.repeats(key)))}


def said(*texts: str) -> list[Line]:
    return [Line("c0", place, "Ann", START + timedelta(seconds=place), text) for place, text in enumerate(texts)]


def folded(*texts: str, shown: frozenset[bytes] = frozenset()) -> list[list[str]]:
    """The parts of each text that fold."""
    lines = said(*texts)
    found = repeats(lines, shown)
    return [
        [line.text[one.start : one.end] for one in found.get((line.conversation_id, line.position), ())]
        for line in lines
    ]


def day_of(lines: Sequence[Line], folds: Folds | None = None) -> Document:
    talks = [
        Conversation(name, f"session {name}", "desk", None, START, START)
        for name in sorted({line.conversation_id for line in lines})
    ]
    return build("acme", talks, lines, folds or {}, "e")


@st.composite
def days(draw: st.DrawFn) -> list[Line]:
    texts = st.lists(st.sampled_from(ROWS), min_size=1, max_size=14).map("\n".join)
    return [
        Line(
            draw(st.sampled_from(["c0", "c1"])),
            number,
            draw(st.sampled_from(["Ann", "Bo"])),
            START + timedelta(seconds=draw(st.integers(0, 3))),
            draw(texts),
        )
        for number in range(draw(st.integers(1, 7)))
    ]


@given(days())
def test_the_unfolded_document_is_its_source_to_the_letter(lines: list[Line]) -> None:
    entries = orjson.loads(day_of(lines).body)
    verify(lines, entries)
    whole = {line["line_id"]: line for entry in entries for line in entry["display_conversation"]}
    omitted = orjson.loads(orjson.dumps(entries))
    without_passages(omitted)
    for entry in omitted:
        for line in entry["display_conversation"]:
            kept = line["text"]
            for one in line.get("repeats", ()):
                folded_part = whole[line["line_id"]]["text"][one["start"] : one["end"]]
                kept = kept[: one["start"]] + folded_part + kept[one["start"] :]
            assert kept == whole[line["line_id"]]["text"]


@given(days(), st.randoms(use_true_random=False))
def test_the_order_of_arrival_changes_nothing(lines: list[Line], order: random.Random) -> None:
    found = repeats(lines)
    order.shuffle(lines)
    assert repeats(lines) == found


@given(st.lists(st.sampled_from(ROWS) | st.text(max_size=60), min_size=1, max_size=30), st.data())
def test_any_split_of_a_text_into_messages_loses_nothing_of_it(rows: list[str], data: st.DataObject) -> None:
    whole = data.draw(st.sampled_from(["\n", "\r\n", " "])).join(rows)
    cuts = data.draw(st.lists(st.integers(0, len(whole)), max_size=8).map(sorted))
    texts = [whole[start:end] for start, end in pairwise([0, *cuts, len(whole)])]
    lines = said(*texts)
    columns = frames.columns([("acme", *line) for line in lines], frames.LINES)
    folds = folds_in(fold_lines("acme", "2025-01-15", columns, exact_repeats(), EngineConfig()).rows)
    entries = orjson.loads(day_of(lines, folds).body)
    verify(lines, entries)
    full_view(entries)
    assert "".join(line["text"] for entry in entries for line in entry["display_conversation"]) == whole


@given(days(), days())
def test_nothing_folds_across_clients(ours: list[Line], theirs: list[Line]) -> None:
    alone = day_of(ours).body
    day_of(theirs)
    assert day_of(ours).body == alone
    named = {one["of"]["line_id"] for one in repeats_in(orjson.loads(alone))}
    assert named <= {f"{line.conversation_id}-{line.position}" for line in ours}
    mixed = frames.columns([("acme", *ours[0]), ("other", *theirs[0])], frames.LINES)
    with pytest.raises(ValueError, match="other clients"):
        fold_lines("acme", "2025-01-15", mixed, exact_repeats(), EngineConfig())


def repeats_in(entries: list[dict]) -> list[dict]:
    shown = [line for entry in entries for line in entry["display_conversation"]]
    return [one for line in shown for one in line.get("repeats", ())]


def stood_before(lines: Sequence[Line]) -> dict[tuple[str, int], set[int]]:
    """By trying all of them: the passages of each line that are part of a run that stood before."""
    ordered = sorted(lines, key=lambda line: (line.spoken_at, line.conversation_id, line.position))
    forms = [[form(line.text[part.start : part.end], part.kind) for part in passages(line.text)] for line in ordered]
    found: dict[tuple[str, int], set[int]] = {}
    for number, line in enumerate(ordered):
        mine = forms[number]
        within = found.setdefault((line.conversation_id, line.position), set())
        for start in range(len(mine)):
            for stop in range(start + 1, len(mine) + 1):
                run = mine[start:stop]
                long = sum(one.length for one in run) >= FEWEST_CHARACTERS
                if not long or sum(one.words for one in run) < FEWEST_WORDS:
                    continue
                keys = [one.key for one in run]
                if any(
                    [one.key for one in forms[before][place : place + len(run)]] == keys
                    for before in range(number + 1)
                    for place in range(len(forms[before]) if before < number else start)
                ):
                    within.update(range(start, stop))
    return found


def key_of(line: Line, part: Passage) -> str:
    return form(line.text[part.start : part.end], part.kind).key


def passages_within(line: Line, found: Sequence[Repeat]) -> set[int]:
    return {
        place
        for place, part in enumerate(passages(line.text))
        if any(one.start <= part.start and part.end <= one.end for one in found)
    }


@given(days())
def test_what_folds_are_runs_that_stood_before_and_no_long_one_is_missed(lines: list[Line]) -> None:
    found, expected = repeats(lines), stood_before(lines)
    keys = {key_of(line, part) for line in lines for part in passages(line.text)}
    visible = set()
    for line in lines:
        key = (line.conversation_id, line.position)
        parts = passages(line.text)
        mine = passages_within(line, found.get(key, ()))
        assert mine == (expected[key] if len(parts) > 1 else set())
        visible |= {key_of(line, part) for place, part in enumerate(parts) if place not in mine}
    assert visible == keys


@given(days())
def test_folding_twice_is_folding_once(lines: list[Line]) -> None:
    made = day_of(lines)
    read_back = [
        Line(entry["id"], int(line["line_id"].rpartition("-")[2]), line["speaker"], spoken_at, line["text"])
        for entry in orjson.loads(made.body)
        for line in entry["display_conversation"]
        for spoken_at in [datetime.fromisoformat(line["spoken_at"])]
    ]
    assert day_of(read_back) == made


def test_a_standing_prompt_folds_under_its_first_place_and_what_is_new_stays() -> None:
    lines = said(PROMPT + "Is the plan good?", PROMPT + "Is the colour right?")
    (one,) = repeats(lines)["c0", 1]
    assert lines[1].text[one.start : one.end] == PROMPT
    assert (one.of, one.of_start, one.lines, one.times) == (("c0", 0), 0, 3, 1)


def test_a_file_sent_again_reads_as_its_changes() -> None:
    lines = said(CODE, CODE.replace("amount = 0", "amount = 10"), CODE.replace("amount = 0", "amount = 10"))
    assert folded(*(line.text for line in lines))[1] == [
        "    for price in prices:\n        amount += price\n    return amount\n"
    ]
    body = orjson.loads(day_of(said(CODE, CODE.replace("amount = 0", "amount = 10") + "print(total([]))")).body)
    text = body[0]["display_conversation"][1]
    assert visible_text(text["text"], text["repeats"]) == "def total(prices):\n    amount = 10\nprint(total([]))"


def test_every_part_folds_under_one_that_is_visible_itself() -> None:
    first, second = "The first of the three long rows of it.", "The second of the three long rows of it."
    third = "The third of the three long rows of it, too."
    found = repeats(said(f"{first}\nnew 1", f"{second}\n{first}\nnew 2", f"{third}\n{second}\n{first}\nnew 3"))
    assert [one.of for one in found.get(("c0", 2), ())] == [("c0", 1)]
    assert not found.get(("c0", 1))
    assert len(first) < FEWEST_CHARACTERS <= len(second)


def test_a_short_passage_folds_where_the_run_that_it_belongs_to_stood_before() -> None:
    first = CODE.replace("amount = 0", "n = 0")
    found = repeats(said(CODE, first, first + "print(total([]))"))
    assert [(one.of[1], one.lines) for one in found["c0", 2]] == [(1, 2), (0, 3)]


def test_what_code_that_follows_a_fold_belongs_to_is_told() -> None:
    tools = (
        "class Till:\n    def open(self):\n        self.is_open = True\n\n    def close(self, by):\n        log(by)\n"
    )
    (one,) = repeats(said(tools, tools + "        self.is_open = False\n"))["c0", 1]
    assert one.within == "def close(self, by):"
    (one,) = repeats(said(tools, tools + "\n    def count(self):\n        return 0\n"))["c0", 1]
    assert one.within == "class Till:"
    (one,) = repeats(said(tools, tools + "print(Till())\n"))["c0", 1]
    assert one.within == ""
    (one,) = repeats(said(tools, tools))["c0", 1]
    assert one.within == ""


def test_short_passages_fold_only_within_a_longer_run() -> None:
    assert folded("}\nok\nhello you there", "ok\n}\nand good bye") == [[], []]
    assert folded("so:\n" + CODE + "}", "then:\n" + CODE + "}")[1] == [CODE + "}"]


def test_rows_that_repeat_on_end_are_one_fold() -> None:
    row = "2025-01-15 09:00 the pump has not answered yet\n"
    (one,) = repeats(said("log\n" + row * 500))["c0", 0]
    assert (one.lines, one.times, one.of, one.of_start) == (499, 499, ("c0", 0), 4)
    (one,) = repeats(said("log\n" + (row + "so it was asked again, and again\n") * 500))["c0", 0]
    assert (one.lines, one.times) == (998, 499)
    verify(said("log\n" + row * 500), orjson.loads(day_of(said("log\n" + row * 500)).body))


def test_a_message_of_one_passage_is_folded_whole_or_not_at_all() -> None:
    row = "We meet at nine o'clock in the big room upstairs."
    assert folded(row, row, f"{row}\nBring the contract with you.") == [[], [], [row + "\n"]]


def test_a_mail_that_quotes_an_earlier_one_folds_the_quotation() -> None:
    letter = "The filter of the pump was changed on Monday.\nSince then it runs without a sound."
    quoted = "\n".join(f"> {row}" for row in letter.split("\n"))
    (part,) = folded(letter, f"Thank you!\n\nOn Monday Ann wrote:\n{quoted}")[1]
    assert part == quoted


@pytest.mark.parametrize(("old", "new"), [("    amount", "   amount"), ("+=", "-="), ("amount", "Amount"), ("0", "1")])
def test_code_never_folds_over_a_change(old: str, new: str) -> None:
    row = f"first = 1\n{CODE.replace(old, new)}"
    changed = {part.strip("\n") for part in CODE.replace(old, new).split("\n") if part not in CODE.split("\n")}
    (parts,) = folded(CODE, row)[1:]
    assert changed.isdisjoint(row for part in parts for row in part.split("\n"))


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("import Foo\nfrom Bar import Baz\nreturn Value", "import foo\nfrom bar import baz\nreturn value"),
        ("if ready:\n    start()\nstop()", "if ready:\n    start()\n    stop()"),
        ("Run it:\ndocker run -P -f Compose .", "Run it:\ndocker run -p -f compose ."),
        ('{"status": "done", "token": "aBcDeF"}', '{"status": "done", "token": "AbCdEf"}'),
    ],
)
def test_messages_of_code_that_differ_in_case_or_indentation_are_not_one(one: str, other: str) -> None:
    lines = frames.columns((("acme", *line) for line in said(one, other)), frames.LINES)
    assert fold_lines("acme", "2025-01-15", lines, exact_repeats(), EngineConfig()).rows == []


def test_sentences_of_one_row_that_fold_count_as_one_row() -> None:
    first, second = "The pump of hall two was changed on Monday.", "Since then it has been running without a sound."
    long = " ".join([first, second, "And more is said that nobody has said before, at some length. " * 3])
    text = f"{long}\nnew"
    entries = orjson.loads(day_of(said(first, second, long.strip() + " So.", text)).body)
    without_passages(entries)
    (fold, *_) = entries[0]["display_conversation"][3]["repeats"]
    assert fold["lines"] == 1


def test_nothing_folds_under_a_line_that_is_hidden() -> None:
    lines = said(PROMPT + "Yes.", PROMPT + "Yes.", PROMPT + "No.")
    folds = {
        ("c0", 1): Fold("k", True, 1.0, 1.0, "canonical line"),
        ("c0", 0): Fold("k", False, 1.0, 1.0, "same words"),
    }
    (entry,) = orjson.loads(day_of(lines, folds).body)
    shown = {line["line_id"]: line for line in entry["display_conversation"]}
    assert {one["of"]["line_id"] for one in shown["c0-2"]["repeats"]} == {"c0-1"}
    assert "repeats" not in shown["c0-1"]


def test_characters_are_counted() -> None:
    lines = said(PROMPT + "Yes.", PROMPT + "Yes.", PROMPT + "No.")
    folds = {
        ("c0", 0): Fold("k", True, 1.0, 1.0, "canonical line"),
        ("c0", 1): Fold("k", False, 1.0, 1.0, "same words"),
    }
    made = day_of(lines, folds)
    (entry,) = orjson.loads(made.body)
    assert made.character_count == entry["character_count"] == sum(len(line.text) for line in lines)
    assert made.hidden_character_count == entry["hidden_character_count"] == 2 * len(PROMPT) + len("Yes.")


@pytest.mark.parametrize(
    "spoilt",
    [
        {"start": 1},
        {"end": 5_000},
        {"of": {"line_id": "c0-7", "start": 0}},
        {"of": {"line_id": "c0-0", "start": 1}},
        {"of": {"line_id": "c0-1", "start": 0}},
        {"times": 2},
    ],
)
def test_a_document_whose_folds_are_not_so_is_refused(spoilt: dict) -> None:
    lines = said(PROMPT + "Yes.", PROMPT + "No.")
    entries = orjson.loads(day_of(lines).body)
    entries[0]["display_conversation"][1]["repeats"][0] |= spoilt
    with pytest.raises(DocumentError, match="part of line c0-1"):
        verify(lines, entries)


def test_parts_that_overlap_are_refused() -> None:
    lines = said(PROMPT + "Yes.", PROMPT + "No.")
    entries = orjson.loads(day_of(lines).body)
    entries[0]["display_conversation"][1]["repeats"] *= 2
    with pytest.raises(DocumentError, match="overlap"):
        verify(lines, entries)


def fibonacci(size: int) -> str:
    one, other = "the first of the two rows that make this up\n", "and this is the second one of them, a bit longer\n"
    while len(other) < size:
        one, other = other, other + one
    return other


@pytest.mark.parametrize(
    "text",
    [
        "x" * 5_000_000,
        "word " * 1_000_000,
        "A sentence of some words. " * 200_000,
        "{" * 2_000_000,
        '{"a": ' * 100_000,
        "\n".join(["the same row again, as often as you like"] * 100_000),
        "\n".join(["}"] * 100_000),
        "\n".join(["a b", "-"] * 50_000),
        "a b c\n" + "-----\n" * 100_000,
        fibonacci(2_000_000),
        "e.g. " * 400_000,
        "\u202eif admin:\u202c\n    pass\n" * 1_000,
        "a \ud800 lone surrogate, and words enough for a run\n" * 1_000,
        "\r\n" * 500_000,
        "x" + "." * 1_000_000 + "y",
        "Some words and a" + "\u0316\u0301" * 200_000 + " heap of marks on it.\nAnd a row.",
        ". " * 500_000,
        "x" + ".!" * 500_000 + "\ny",
        "ab\n" * 300_000,
        " " * 1_000_000 + "\n" + " " * 1_000_000,
        '"' + "\\" * 1_000_000,
    ],
    ids=lambda text: repr(text[:12]),
)
def test_hostile_texts_end_and_lose_nothing(text: str) -> None:
    lines = said(text, text + "\nand one more row")
    found = repeats(lines)
    for line in lines:
        spans = found.get((line.conversation_id, line.position), ())
        assert all(one.start < one.end <= len(line.text) for one in spans)
        assert all(one.end <= two.start for one, two in pairwise(spans))


def test_what_people_want_to_see_folds_nowhere_and_what_stands_around_it_does() -> None:
    rule = "Never forget that you speak for the people who use it.\n"
    wanted = frozenset(hashes_in(rule))
    texts = [PROMPT + answer for answer in ("Yes.", "No.", "Perhaps.")]
    assert folded(*texts)[1] == [PROMPT]
    for parts in folded(*texts, shown=wanted)[1:]:
        assert rule not in "".join(parts)
        assert parts[0].startswith("You are the reviewer")


@given(st.lists(st.lists(st.sampled_from(ROWS), min_size=2, max_size=8), min_size=2, max_size=6), st.data())
def test_a_passage_that_people_want_to_see_is_visible_wherever_it_stands(
    texts: list[list[str]], data: st.DataObject
) -> None:
    wanted = data.draw(st.sampled_from(ROWS))
    hashes = frozenset(hashes_in(wanted))
    lines = said(*("\n".join(rows) for rows in texts))
    columns = frames.columns([("acme", *line) for line in lines], frames.LINES)
    clusters = fold_lines("acme", "2025-01-15", columns, exact_repeats(), EngineConfig(), Feedback(shown=hashes))
    talks = [Conversation("c0", "s0", "crew", None, START, START)]
    body = build("acme", talks, lines, folds_in(clusters.rows), "e", Feedback(shown=hashes)).body
    (entry,) = orjson.loads(body)
    everywhere = sum(1 for line in lines if not hashes.isdisjoint(hashes_in(line.text)))
    visible = [visible_text(one["text"], one.get("repeats", [])) for one in entry["display_conversation"]]
    assert sum(1 for text in visible if not hashes.isdisjoint(hashes_in(text))) >= everywhere
