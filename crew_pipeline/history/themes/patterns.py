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
from itertools import combinations, pairwise
from typing import Literal, NamedTuple

FALSE_RATE = 0.05
_FEWEST = 4
"""Conversations of a theme, and days of it in a place: below, nothing is asked."""
_FEWEST_DAYS = 3
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
        """That so many of the drawn lie there, or more."""
        return at_least(self.found, self.drawn, self.there, self.all)


def at_least(found: int, drawn: int, there: int, total: int) -> float:
    """The chance that of ``drawn`` of ``total`` things at least ``found`` are among ``there`` of them."""
    most = min(drawn, there)
    if found <= max(0, drawn + there - total):
        return 1.0
    parts = [_log_choose(there, i) + _log_choose(total - there, drawn - i) for i in range(found, most + 1)]
    whole = _log_choose(total, drawn)
    return min(1.0, math.fsum(math.exp(part - whole) for part in parts))


def _log_choose(total: int, drawn: int) -> float:
    if not 0 <= drawn <= total:
        return -math.inf
    return math.lgamma(total + 1) - math.lgamma(drawn + 1) - math.lgamma(total - drawn + 1)


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
    asked = [pattern for theme, about in sorted(themes.items()) for pattern in _asked(theme, about, talks)]
    most = kept([pattern.chance for pattern in asked])
    held = [pattern for pattern in asked if pattern.chance <= most]
    return sorted(_most_telling(held), key=lambda pattern: (pattern.theme, pattern.chance, pattern.kind))


def _asked(theme: int, about: Collection[str], talks: Mapping[str, Talk]) -> Iterable[Pattern]:
    own = [talks[conversation] for conversation in about if conversation in talks]
    if len(own) < _FEWEST:
        return
    everything = list(talks.values())
    yield from _places(theme, own, everything)
    yield from _over_time(theme, own, everything)


def _places(theme: int, own: list[Talk], everything: list[Talk]) -> Iterable[Pattern]:
    kinds: tuple[tuple[Kind, bool, bool], ...] = (
        ("weekday", True, False), ("part", False, True), ("weekday_part", True, True),
    )  # fmt: skip
    for kind, by_weekday, by_part in kinds:

        def place(talk: Talk, by_weekday: bool = by_weekday, by_part: bool = by_part) -> tuple[int | None, int | None]:
            return talk.day.weekday() if by_weekday else None, talk.part if by_part else None

        usual, here = Counter(map(place, everything)), Counter(map(place, own))
        usual_days, here_days = (
            Counter(place for _, place in {((talk.day, talk.part if by_part else 0), place(talk)) for talk in some})
            for some in (everything, own)
        )
        for where, found in sorted(here.items(), key=str):
            if found < _FEWEST or here_days[where] < _FEWEST_DAYS:
                chance = 1.0
            else:
                by_talk = _Drawn(len(everything), usual[where], len(own), found)
                by_day = _Drawn(usual_days.total(), usual_days[where], here_days.total(), here_days[where])
                chance = max(by_talk.chance, by_day.chance)
            yield Pattern(theme, kind, *where, found, len(own), chance)


def _over_time(theme: int, own: list[Talk], everything: list[Talk]) -> Iterable[Pattern]:
    last = max(talk.day for talk in everything)
    begun, recent = last - RECENT - BEFORE, last - RECENT + timedelta(days=1)
    usual = [talk.day for talk in everything if talk.day > begun]
    here = [talk.day for talk in own if talk.day > begun]
    new = [day for day in here if day >= recent]
    if len(new) >= _FEWEST and len({*new}) >= _FEWEST_DAYS and min(usual) < recent:
        by_talk = _Drawn(len(usual), sum(day >= recent for day in usual), len(here), len(new))
        by_day = _Drawn(len({*usual}), len({day for day in usual if day >= recent}), len({*here}), len({*new}))
        yield Pattern(theme, "rising", None, None, len(new), len(here), max(by_talk.chance, by_day.chance), recent)
    yield from _silences(theme, own, everything, last)


def _silences(theme: int, own: list[Talk], everything: list[Talk], last: date) -> Iterable[Pattern]:
    days = sorted({talk.day for talk in own})
    if len(days) < _FEWEST_DAYS:
        return
    usual = [talk.day for talk in everything]
    if last - days[-1] >= RECENT:
        after = sum(day > days[-1] for day in usual)
        yield Pattern(theme, "gone", None, None, 0, len(own), _none_in(after, len(own), len(usual)), days[-1])
        return
    gap, (before, again) = max(((other - one), (one, other)) for one, other in pairwise(days))
    if gap >= RECENT and last - again < RECENT and len([day for day in days if day <= before]) >= _FEWEST_DAYS:
        between = sum(before < day < again for day in usual)
        # The longest of all silences is looked at, so each of them had its chance.
        chance = min(1.0, (len(days) - 1) * _none_in(between, len(own), len(usual)))
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
