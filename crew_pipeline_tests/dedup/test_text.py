"""Texts are compared in one form, and what must not differ is found in them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crew_pipeline.dedup.text import count_words, has_value, is_question, normalise, text_hash

any_text = st.text(st.characters(codec="utf-8"), max_size=60)


@given(any_text)
def test_normalising_twice_changes_nothing(text: str) -> None:
    once = normalise(text)
    assert normalise(once) == once


@given(any_text)
def test_white_space_around_and_between_does_not_matter(text: str) -> None:
    assert normalise(f"  \t{text}\n ") == normalise(text)


def test_case_composition_and_invisible_characters_do_not_matter() -> None:
    assert normalise("Cafe\u0301  OPEN\u200b\ufeff") == normalise("café open")


def test_meaning_of_superscripts_scripts_and_emoji_is_kept() -> None:
    assert normalise("10²") != normalise("102")
    assert normalise("请问 👍") == "请问 👍"


def test_hashes_are_sixteen_bytes_and_tell_texts_apart() -> None:
    assert len(text_hash("a b c")) == 16
    assert text_hash("a b c") != text_hash("a b d")


@pytest.mark.parametrize(
    ("text", "expected"),
    [("", 0), ("ok", 1), ("one two three", 3), ("... -- !!", 0), ("👍 👍 👍", 0), ("请问怎么导出一年的发票", 5)],
)
def test_words_are_counted_in_any_script(text: str, expected: int) -> None:
    assert count_words(text) == expected


@pytest.mark.parametrize(
    "token", ["10.04", "/etc/fstab", "--force", "http://a.org/x", "foo_bar", "a@b.org", "v2", "x=1", "main.py"]
)
def test_numbers_versions_paths_addresses_and_code_are_values(token: str) -> None:
    assert has_value(token)


@pytest.mark.parametrize("token", ["word", "don't", "well-known", "…", "end."])
def test_words_are_no_values(token: str) -> None:
    assert not has_value(token)


def test_questions_are_found_with_and_without_a_mark() -> None:
    assert is_question("does it work?", "does")
    assert is_question("how do i do that", "how")
    assert is_question("really?!", "really")
    assert not is_question("it works", "it")
    assert not is_question("see http://a.org/?q=1 for more on that", "see")


@pytest.mark.parametrize("separator", ["\u2028", "\u2029", "\x0b", "\x0c", "\x85", "\u3000"])
def test_separators_of_any_kind_part_words(separator: str) -> None:
    assert normalise(f"the file is now{separator}here") == "the file is now here"


def test_heaped_marks_are_left_as_they_are_and_others_composed() -> None:
    assert normalise("cafe\u0301") == "caf\u00e9"
    heaped = "a" + "\u0316\u0301" * 100_000
    assert normalise(heaped) == heaped
