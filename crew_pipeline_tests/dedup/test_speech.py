"""Addressees, fillers and restarts are left aside; what is said is not."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crew_pipeline.dedup.speech import Utterance, speaker_names, tokens, without_addressees
from crew_pipeline.dedup.text import normalise

NAMES = speaker_names(["kjele", "Josh43", "Ann Lee", "max", "dr_wu", "well"])


@pytest.mark.parametrize(
    ("said", "left"),
    [
        ("kjele: try it again", "try it again"),
        ("kjele, Josh43: try it again", "try it again"),
        ("@kjele try it again", "try it again"),
        ("<kjele> try it again", "try it again"),
        ("kjele - try it again", "try it again"),
        ("max where did you put it", "where did you put it"),
        ("try it again, Josh43", "try it again"),
        ("did it work, josh43?", "did it work?"),
        ("Ann, can you send it", "can you send it"),
        ("ann lee: can you send it", "can you send it"),
    ],
)
def test_whom_a_line_addresses_is_left_aside(said: str, left: str) -> None:
    assert without_addressees(normalise(said), NAMES) == left


@pytest.mark.parametrize(
    "said",
    [
        "max is the one who broke it",
        "well, that depends",
        "error: disk is full",
        "note: read it first",
        "10.04: the last good one",
        "see http://a.org",
        "kjele:",
        "it was max",
        "warning, it is hot",
        "web01: disk is nearly full",
        "some_nick42: try it again",
        "@2pm we meet",
        "<enter> then wait",
        "c: drive is full",
        "the new owners are kjele, max",
    ],
)
def test_what_is_no_address_stays(said: str) -> None:
    assert without_addressees(normalise(said), NAMES) == normalise(said)


@given(st.text(max_size=80), st.lists(st.text(max_size=12), max_size=4))
def test_any_text_and_any_names_leave_something_to_compare(said: str, speakers: list[str]) -> None:
    normalised = normalise(said)
    left = without_addressees(normalised, speaker_names(speakers))
    assert bool(left) == bool(normalised)
    Utterance.of(left)


def test_words_said_twice_in_a_row_count_once() -> None:
    assert tokens("i think i think the the volume") == ["i", "think", "the", "volume"]


def test_fillers_are_no_content_unless_nothing_else_is_said() -> None:
    assert Utterance.of("um, yeah, the volume").content == ("the", "volume")
    assert Utterance.of("yeah, okay").content == ("yeah", "okay")


def test_values_stay_whole_and_other_scripts_are_kept() -> None:
    assert tokens("open /etc/fstab (10.04), 请问 👍") == ["open", "/etc/fstab", "10.04", "请问", "👍"]


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("chmod +x it", "chmod -x it"),
        ("it is -5 degrees", "it is 5 degrees"),
        ("check that a == b", "check that a != b"),
        ("written in c++", "written in c#"),
        ("use --force here", "use force here"),
        ("dial nine nine two", "dial nine two"),
    ],
)
def test_signs_and_read_out_digits_are_not_lost(one: str, other: str) -> None:
    assert tokens(one) != tokens(other)


def test_only_words_that_tell_something_make_a_line_long() -> None:
    assert Utterance.of("i think so").content_words == 1
    assert Utterance.of("the invoice export times out").content_words == 4
