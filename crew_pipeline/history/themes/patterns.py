"""When themes are spoken of, and which together: only what chance would hardly do.

Counted in conversations, since a long one about a theme is one occasion; and in days as well, since ten conversations
of one Monday are no habit: both must be unlikely. A theme is set against all conversations of its client (who speaks on
Mondays only speaks of everything on Mondays): how often so many of its conversations would lie there if they were drawn
from all of them (hypergeometric). Of the many questions that are asked at once, as many answers are kept as a
false discovery rate of 5% allows (Y. Benjamini and Y. Hochberg, "Controlling the false discovery rate", 1995).
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from functools import lru_cache
from itertools import combinations, pairwise
from typing import Literal, NamedTuple

FALSE_RATE = 0.05
_FEWEST = 4
"""Conversations of a theme, and days of it in a place: below, nothing is asked."""
_FEWEST_DAYS = 3
_NEGLIGIBLE = 1e-12
RECENT, BEFORE = timedelta(weeks=4), timedelta(weeks=12)

PARTS = ("night", "morning", "afternoon", "evening")
"""Of a day, six hours each."""
WEEKDAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")

Kind = Literal["weekday", "part", "weekday_part", "rising", "gone", "back"]


class Talk(NamedTuple):
    """A conversation: its day, and the hour (0 to 23) in which it began, both where its client lives."""

    day: date
    hour: int

    @property
    def part(self) -> int:
        """Of its day."""
        return self.hour // 6


class Pattern(NamedTuple):
    """Something that holds of a theme.

    Attributes:
        weekday: 0 is Monday. part: number in ``PARTS``.
        conversations: of the theme that lie there, of ``of``.
        chance: that so many would (for ``gone`` and ``back``: so few).
        since: first day of what is recent, or after the silence; last day before the silence.
    """

    theme: int
    kind: Kind
    weekday: int | None
    part: int | None
    conversations: int
    of: int
    chance: float
    since: date | None = None

    @property
    def said(self) -> str:
        """In words."""
        if self.kind == "gone":
            return f"not since {self.since}"
        if self.kind == "back":
            return f"back again since {self.since}"
        if self.kind == "rising":
            return f"rising: {self.conversations} of {self.of} since {self.since}"
        when = WEEKDAYS[self.weekday] if self.weekday is not None else ""
        if self.part is not None:
            when = f"{when} {PARTS[self.part]}" if when else f"in the {PARTS[self.part]}" if self.part else "at night"
            when += "s" * when.startswith(WEEKDAYS)
        else:
            when += "s"
        often = "mostly" if 2 * self.conversations > self.of else "often"
        return f"{often} {when}, {self.conversations} of {self.of}"


class Together(NamedTuple):
    """Two themes that come in the same conversations: so many of ``one``'s and of ``other``'s."""

    one: int
    other: int
    conversations: int
    of_one: int
    of_other: int
    chance: float


@dataclass(frozen=True)
class _Drawn:
    """Conversations, or days, of a theme among all of them."""

    all: int
    there: int
    drawn: int
    found: int

    @property
    def chance(self) -> float:
        """That so many of the drawn lie there, or more; 1 where no more do than are to be expected."""
        if self.found * self.all <= self.drawn * self.there:
            return 1.0
        return at_least(self.found, self.drawn, self.there, self.all)


def at_least(found: int, drawn: int, there: int, total: int) -> float:
    """The chance that of ``drawn`` of ``total`` things at least ``found`` are among ``there`` of them."""
    if found <= max(0, drawn + there - total):
        return 1.0
    whole = _log_choose(total, drawn)
    chance = 0.0
    for number in range(found, min(drawn, there) + 1):
        more = math.exp(_log_choose(there, number) + _log_choose(total - there, drawn - number) - whole)
        chance += more
        # Beyond the middle each is less than the one before.
        if more < _NEGLIGIBLE * chance and number * total > drawn * there:
            break
    return min(1.0, chance)


def _log_choose(total: int, drawn: int) -> float:
    if not 0 <= drawn <= total:
        return -math.inf
    return _log_factorial(total) - _log_factorial(drawn) - _log_factorial(total - drawn)


@lru_cache(maxsize=1 << 18)
def _log_factorial(number: int) -> float:
    return math.lgamma(number + 1)


def kept(chances: Sequence[float], rate: float = FALSE_RATE) -> float:
    """The greatest chance that is kept (Benjamini and Hochberg); less than all of them where none is."""
    count = len(chances)
    return max(
        (chance for rank, chance in enumerate(sorted(chances), 1) if chance <= rate * rank / count), default=-1.0
    )


def patterns(talks: Mapping[str, Talk], themes: Mapping[int, Collection[str]]) -> list[Pattern]:
    """What holds of when themes are spoken of, by theme, the least likely first.

    Args:
        talks: all conversations of a client.
        themes: the conversations that speak of each.
    """
    usual = _Usual(list(talks.values()))
    asked = [
        pattern
        for theme, about in sorted(themes.items())
        for pattern in _asked(theme, [talks[one] for one in about if one in talks], usual)
    ]
    most = kept([pattern.chance for pattern in asked])
    held = [pattern for pattern in asked if pattern.chance <= most]
    return sorted(_most_telling(held), key=lambda pattern: (pattern.theme, pattern.chance, pattern.kind))


_Place = tuple[int | None, int | None]
_KINDS: dict[Kind, tuple[bool, bool]] = {
    "weekday": (True, False), "part": (False, True), "weekday_part": (True, True),
}  # fmt: skip
"""By weekday, by part of the day."""


class _Lying(NamedTuple):
    """How many conversations lie in each place, and how many days (or parts of days, where these are places)."""

    talks: Counter[_Place]
    days: Counter[_Place]

    @classmethod
    def of(cls, talks: Iterable[Talk], kind: Kind) -> _Lying:
        """Where some conversations lie."""
        by_weekday, by_part = _KINDS[kind]
        places: Counter[_Place] = Counter()
        days: set[tuple[date, int, _Place]] = set()
        for (day, hour), count in Counter(talks).items():
            part = hour // 6
            place = day.weekday() if by_weekday else None, part if by_part else None
            places[place] += count
            days.add((day, part if by_part else 0, place))
        return cls(places, Counter(place for _, _, place in days))


class _Usual:
    """All conversations of a client: what a theme is set against."""

    def __init__(self, talks: list[Talk]) -> None:
        self.talks = talks
        self.lying = {kind: _Lying.of(talks, kind) for kind in _KINDS}
        self.days = Counter(talk.day for talk in talks)
        self.last = max(self.days, default=date.min)


def _asked(theme: int, own: list[Talk], usual: _Usual) -> Iterable[Pattern]:
    if len(own) >= _FEWEST:
        yield from _places(theme, own, usual)
        yield from _over_time(theme, own, usual)


def _places(theme: int, own: list[Talk], usual: _Usual) -> Iterable[Pattern]:
    for kind, all_of_it in usual.lying.items():
        here = _Lying.of(own, kind)
        every_day, own_days = all_of_it.days.total(), here.days.total()
        for where, found in sorted(here.talks.items(), key=str):
            chance = 1.0
            if found >= _FEWEST and here.days[where] >= _FEWEST_DAYS:
                by_talk = _Drawn(len(usual.talks), all_of_it.talks[where], len(own), found)
                by_day = _Drawn(every_day, all_of_it.days[where], own_days, here.days[where])
                chance = max(by_talk.chance, by_day.chance)
            yield Pattern(theme, kind, *where, found, len(own), chance)


def _over_time(theme: int, own: list[Talk], usual: _Usual) -> Iterable[Pattern]:
    begun, recent = usual.last - RECENT - BEFORE, usual.last - RECENT + timedelta(days=1)
    days = {day: count for day, count in usual.days.items() if day > begun}
    here = [talk.day for talk in own if talk.day > begun]
    new = [day for day in here if day >= recent]
    if len(new) >= _FEWEST and len({*new}) >= _FEWEST_DAYS and min(days) < recent:
        new_days = [day for day in days if day >= recent]
        by_talk = _Drawn(sum(days.values()), sum(days[day] for day in new_days), len(here), len(new))
        by_day = _Drawn(len(days), len(new_days), len({*here}), len({*new}))
        yield Pattern(theme, "rising", None, None, len(new), len(here), max(by_talk.chance, by_day.chance), recent)
    yield from _silences(theme, own, usual)


def _silences(theme: int, own: list[Talk], usual: _Usual) -> Iterable[Pattern]:
    days = sorted({talk.day for talk in own})
    if len(days) < _FEWEST_DAYS:
        return
    if usual.last - days[-1] >= RECENT:
        after = sum(count for day, count in usual.days.items() if day > days[-1])
        yield Pattern(theme, "gone", None, None, 0, len(own), _none_in(after, len(own), len(usual.talks)), days[-1])
        return
    gap, (before, again) = max(((other - one), (one, other)) for one, other in pairwise(days))
    if gap >= RECENT and usual.last - again < RECENT and len([day for day in days if day <= before]) >= _FEWEST_DAYS:
        between = sum(count for day, count in usual.days.items() if before < day < again)
        # The longest of all silences is looked at, so each of them had its chance.
        chance = min(1.0, (len(days) - 1) * _none_in(between, len(own), len(usual.talks)))
        found = sum(talk.day >= again for talk in own)
        yield Pattern(theme, "back", None, None, found, len(own), chance, again)


def _none_in(there: int, drawn: int, total: int) -> float:
    """The chance that none of the drawn is among ``there`` of all."""
    return at_least(drawn, drawn, total - there, total)


def _most_telling(held: Iterable[Pattern]) -> list[Pattern]:
    """Of places that lie within each other the least likely: "Monday mornings" tells more than "Mondays"."""
    best: dict[tuple[int, str], Pattern] = {}
    for pattern in held:
        family = "place" if pattern.kind in {"weekday", "part", "weekday_part"} else pattern.kind
        known = best.get((pattern.theme, family))
        if known is None or (pattern.chance, pattern.kind) < (known.chance, known.kind):
            best[pattern.theme, family] = pattern
    return list(best.values())


def together(talks: Collection[str], themes: Mapping[int, Collection[str]]) -> list[Together]:
    """Which themes come in the same conversations more often than chance would have it, the least likely first."""
    about = {theme: {*conversations} & {*talks} for theme, conversations in themes.items()}
    known = {theme: conversations for theme, conversations in about.items() if len(conversations) >= _FEWEST}
    asked = [
        Together(
            one, other, both := len(known[one] & known[other]), len(known[one]), len(known[other]),
            at_least(both, len(known[one]), len(known[other]), len(talks)),
        )
        for one, other in combinations(sorted(known), 2)
    ]  # fmt: skip
    most = kept([pair.chance for pair in asked])
    found = [pair for pair in asked if pair.chance <= most and pair.conversations >= _FEWEST_DAYS]
    return sorted(found, key=lambda pair: (pair.chance, pair.one, pair.other))
