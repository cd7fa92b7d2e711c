"""Only what chance would hardly do is said of when themes are spoken of."""

from __future__ import annotations

import math
import random
from datetime import date, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crew_pipeline.history.themes.patterns import Pattern, Talk, at_least, kept, patterns, together

FIRST = date(2025, 1, 6)
DAYS = 26 * 7


def usual(seed: int, count: int = 600) -> dict[str, Talk]:
    """Conversations of half a year, on any day and at any hour."""
    chance = random.Random(seed)
    return {
        f"talk {number}": Talk(FIRST + timedelta(days=chance.randrange(DAYS)), chance.randrange(24))
        for number in range(count)
    }


def told(talks: dict[str, Talk], about: set[str]) -> list[str]:
    return [pattern.said for pattern in patterns(talks, {1: about})]


@given(st.integers(0, 40), st.integers(0, 40), st.data())
def test_a_chance_is_that_of_counting_all_draws(there: int, beside: int, data: st.DataObject) -> None:
    total = there + beside
    drawn = data.draw(st.integers(0, total))
    found = data.draw(st.integers(0, drawn))
    ways = sum(math.comb(there, i) * math.comb(beside, drawn - i) for i in range(found, min(there, drawn) + 1))
    assert at_least(found, drawn, there, total) == pytest.approx(ways / math.comb(total, drawn), abs=1e-9)


def test_a_habit_is_said_with_its_figures() -> None:
    talks = usual(1)
    mondays = [one for one, talk in talks.items() if talk.day.weekday() == 0 and talk.part == 1]
    others = [one for one, talk in talks.items() if talk.day.weekday() != 0][:8]
    (said,) = told(talks, {*mondays[:14], *others})
    assert said == "mostly Monday mornings, 14 of 22"


def test_who_speaks_on_mondays_only_has_no_habit_of_it() -> None:
    talks = {one: talk for one, talk in usual(2, 3_000).items() if talk.day.weekday() == 0}
    assert told(talks, {*list(talks)[:30]}) == []


def test_many_conversations_of_one_day_are_no_habit() -> None:
    talks = usual(3)
    burst = {f"more {number}": Talk(FIRST, 9) for number in range(12)}
    assert told({**talks, **burst}, {*burst}) == []


def test_a_theme_that_rises_is_gone_or_is_back() -> None:
    talks = usual(4)
    last = max(talk.day for talk in talks.values())
    by_day = sorted(talks, key=lambda one: (talks[one].day, one))
    new = [one for one in by_day if talks[one].day > last - timedelta(weeks=3)][::4]
    assert [said.partition(":")[0] for said in told(talks, {*new})] == ["rising"]
    old = [one for one in by_day if talks[one].day < FIRST + timedelta(weeks=8)][::6]
    assert told(talks, {*old}) == [f"not since {talks[old[-1]].day}"]
    again = [one for one in by_day if talks[one].day > last - timedelta(weeks=2)][::8]
    assert f"back again since {talks[again[0]].day}" in told(talks, {*old, *again})


def test_a_history_whose_times_were_shuffled_has_hardly_any_pattern() -> None:
    """Of a hundred shuffled histories of twenty themes at most five have one that is false (expected: fewer)."""
    wrong = 0
    for seed in range(100):
        talks, chance = usual(seed, 400), random.Random(-seed)
        names = [*talks]
        themes = {theme: {*chance.sample(names, chance.randint(5, 80))} for theme in range(20)}
        wrong += bool(patterns(talks, themes))
    assert wrong <= 5


def test_themes_that_come_together_are_found_and_others_are_not() -> None:
    talks, chance = usual(5), random.Random(5)
    names = [*talks]
    one = {*names[:60]}
    themes = {1: one, 2: {*names[:40], *names[300:320]}, 3: {*chance.sample(names, 60)}}
    assert [(pair.one, pair.other, pair.conversations) for pair in together(talks, themes)] == [(1, 2, 40)]


@given(st.lists(st.floats(0, 1), max_size=30))
def test_no_more_is_kept_than_the_false_discovery_rate_allows(chances: list[float]) -> None:
    most = kept(chances)
    count = sum(chance <= most for chance in chances)
    assert count == 0 or most <= 0.05 * count / len(chances)


@pytest.mark.parametrize(("pattern", "said"), [
    (Pattern(1, "part", None, 0, 5, 9, 0.001), "mostly at night, 5 of 9"),
    (Pattern(1, "part", None, 3, 4, 9, 0.001), "often in the evening, 4 of 9"),
    (Pattern(1, "weekday", 6, None, 5, 9, 0.001), "mostly Sundays, 5 of 9"),
    (Pattern(1, "weekday_part", 2, 0, 5, 9, 0.001), "mostly Wednesday nights, 5 of 9"),
])  # fmt: skip
def test_patterns_are_said_as_people_say_them(pattern: Pattern, said: str) -> None:
    assert pattern.said == said
