"""Passages follow one another without a gap, end where a reader would say so, and code is compared sign by sign."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crew_pipeline.dedup.passages import LONG_ROW, form, passages

FILLING = "and so the long row goes on with words that nobody reads " * 4

TEXTS = st.text(st.sampled_from('ab .,!?\r\n\t>{}[]":\\n1A。\u200f\ud800é'), max_size=60) | st.text(max_size=400)


@given(TEXTS)
def test_passages_cover_every_character_once_and_in_order(text: str) -> None:
    found = passages(text)
    assert "".join(text[one.start : one.end] for one in found) == text
    assert all(one.start < one.end for one in found)
    assert [one.row for one in found] == sorted(one.row for one in found)


ROWS = st.lists(st.text(st.sampled_from("ab .{"), min_size=1, max_size=30), max_size=6)


@given(ROWS, st.sampled_from(["\r\n", "\r"]))
def test_ends_of_rows_of_any_kind_part_alike(rows: list[str], end: str) -> None:
    one, other = "\n".join(rows), end.join(rows)
    assert keys(one) == keys(other)


def keys(text: str) -> list[str]:
    """How the passages of a text are compared."""
    return [form(text[one.start : one.end], one.kind).key for one in passages(text)]


def parts(row: str) -> list[str]:
    return [row[one.start : one.end].strip() for one in passages(row)]


@pytest.mark.parametrize(
    "sentences",
    [
        ["The pump is running.", "It started at noon."],
        ["Is it?", "Yes!", "Good."],
        ["Mr. Hale met Dr. Ito, e.g. in No. 5 of Fig. 2 here.", "Then they left."],
        ["We have 3.5 litres at v1.2.3.", "Fill it up."],
        ["See https://example.org/a.b?c=d. for more.", "Then go on."],
        ["J. R. Marsh wrote it.", "We read it."],
        ["Am 3. März kommt Hr. Vogt, d.h. am Montag.", "Danach nicht."],
        ['He said "Stop it."', "Nobody did."],
        ["Wait... what?", "Nothing."],
        ["Call os.path.join(a, b).", "It joins."],
        ["水が止まりました。", "明日直します。", "以上です。"],
        ["Open the file (it is large).", "Close it."],
        ["Where? here, of course.", "There."],
        ["Add 5 ml.", "2 drops more."],
        ["It holds 42.", "The other holds less."],
        ["1. Open the lid.", "2. Take out the filter.", "3. Close it."],
    ],
)
def test_a_long_row_of_prose_is_parted_into_its_sentences(sentences: list[str]) -> None:
    row = " ".join([*sentences, FILLING.strip().capitalize()])
    assert len(row) > LONG_ROW
    assert parts(row)[: len(sentences)] == sentences


def test_a_short_row_is_one_passage_whatever_it_says() -> None:
    assert len(passages("Is it? Yes! Good. Very good.")) == 1
    assert len(passages("")) == 0
    assert len(passages(" \n \n")) == 1


def test_rows_are_passages_and_empty_rows_belong_to_the_one_before() -> None:
    text = "\n\nfirst\n\nsecond\r\n  third\n\n"
    assert [text[one.start : one.end] for one in passages(text)] == ["\n\nfirst\n\n", "second\r\n", "  third\n\n"]


def test_json_of_one_row_is_parted_into_its_members() -> None:
    content = {"task": "build, test", "steps": [{"do": "a" * 90}, {"do": "b, c"}], "log": "x\n" * 120, "left": {}}
    row = json.dumps(content)
    found = parts(row)
    assert '"task": "build, test",' in found
    assert '"do": "' + "a" * 90 + '"},' in found
    assert sum(one == r"x\n" for one in found) > 100


def test_what_only_looks_like_json_stays_whole() -> None:
    row = "{" + "Not a member. " * 30 + "}"
    assert len(parts(row)) == 1
    assert len(parts("[" * 100_000 + "]" * 100_000)) == 1


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("Please write the Code again.", "please  write the code again."),
        ("Please write\u200b it again.", "Please write it again."),
        ("> We met at nine o'clock.", "We met at nine o'clock."),
        (">> we met at nine o'clock.", "We met at nine o'clock."),
        ("    return total\r\n", "    return total"),
    ],
)
def test_says_the_same(one: str, other: str) -> None:
    assert keys(one) == keys(other)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("    return total", "  return total"),
        ("\treturn total", "    return total"),
        ("return Total", "return total"),
        ("if Fast is not slow:", "if fast is not slow:"),
        ("total += price", "total -= price"),
        ("retry = 3", "retry = 8"),
        ("import Numeric as num", "import numeric as num"),
        ("Print(the, whole, list).", "print(the, whole, list)."),
        ("run Server.Start and wait.", "run server.start and wait."),
        ("name\u202e = value", "name = value"),
        ("> total = total + 1", "total = total + 1"),
        ("There are 3 of them.", "There are 8 of them."),
        ("docker run -P -f Compose .", "docker run -p -f compose ."),
        ('git commit -m "Fix the Bug of it."', 'git commit -M "fix the bug of it."'),
        ("cp Notes Old and New ..", "cp notes old and new .."),
        ("name: The User's Name.", "name: the user's name."),
        ("apply H in Hn now.", "apply h in hn now."),
        ("find it like 'Foo or Bar.'", "find it like 'foo or bar.'"),
        ("> import os", "import os"),
        ("> return None", "return None"),
        (f"# {FILLING}it. Path(cache).rmtree()", f"# {FILLING}it."),
        (f'  check(x == "{FILLING}day. Please wait")', f'  check(x == "{FILLING}day.   Please wait")'),
        ('echo "Deleting All Files of it. Go On?"', 'echo "deleting all files of it. go on?"'),
        (
            f'    fail("{FILLING}Now Use the Other One. Or Not.")',
            f'    fail("{FILLING}now use the other one. Or Not.")',
        ),
        (f'fail("{FILLING}. Now Use the Other One. Or Not.")', f'fail("{FILLING}. now use the other one. or not.")'),
        ("Is it the pump again?", "Is it the pump again."),
    ],
)
def test_says_something_else(one: str, other: str) -> None:
    assert keys(one) != keys(other)


@given(st.text(st.sampled_from("aB1 _=+-(){}[];:.<>\t"), min_size=1, max_size=30))
def test_a_row_with_a_sign_of_code_never_equals_one_of_other_signs(row: str) -> None:
    row = "x = " + row.rstrip() + "1"
    for place, sign in enumerate(row):
        if sign.swapcase() != sign:
            assert keys(row) != keys(row[:place] + sign.swapcase() + row[place + 1 :])
    assert keys(row) != keys(" " + row)


def test_half_a_comment_is_not_the_code_behind_it() -> None:
    comment = f"# {FILLING}it."
    assert len(keys(f"{comment} remove(cache)\nend")) == 2
    assert keys(f"{comment} remove(cache)\nend")[0] not in keys(f"{comment}\nremove(cache)\nend")
