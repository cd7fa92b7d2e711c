"""Texts are compared in one form, and what must not differ is found in them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crew_pipeline.dedup.text import (
    count_words,
    is_question,
    negations,
    normalise,
    opposites,
    text_hash,
    values,
    words,
)

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
    ("left", "right"),
    [
        ("install 10.04 now", "install 10.10 now"),
        ("open /etc/fstab", "open /etc/hosts"),
        ("two customers wrote", "four customers wrote"),
        ("use --force", "use --verbose"),
        ("see http://a.org/x", "see http://a.org/y"),
        ("call foo_bar", "call foo_baz"),
    ],
)
def test_values_that_differ_are_found(left: str, right: str) -> None:
    assert values(left) != values(right)


def test_punctuation_around_a_value_does_not_matter() -> None:
    assert values("it is 10.04.") == values("(it is 10.04)") == {"10.04"}


def test_negations_and_opposites_are_found() -> None:
    assert negations(words("it does not work")) == 1
    assert negations(words("it works")) == 0
    enable, disable = opposites(words("enable it")), opposites(words("disable it"))
    assert enable[0] & disable[1]
    assert opposites(words("nothing of the kind")) == (0, 0)


@pytest.mark.parametrize("text", ["does it work?", "kjele: how do i do that", "is it on", "really?!", "what now"])
def test_questions_are_found_with_and_without_a_mark(text: str) -> None:
    assert is_question(text)


@pytest.mark.parametrize("text", ["it works", "the question is what to do", "see http://a.org/?q=1 for more on that"])
def test_statements_are_not_taken_for_questions(text: str) -> None:
    assert not is_question(text)
