"""What happens in a fortnight: sessions that people have with their agents, and visits of those who read the days.

Conversations follow office hours, with one hump before lunch and one after it, and sizes with a long tail, as logs of
chats do: most are short and a few are very long. Readers mostly want what is new (today above all, while it is still
growing), come back to older days now and then, and leaf from one day to the next; so the share of visits that are
hard to serve, the first of a day, does not shrink with the number of days that are ready already.
"""

from __future__ import annotations

import math
import random
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from typing import NamedTuple

from benchmarks.made_talk import said


@dataclass(frozen=True)
class Life:
    """The parameters of the distributions.

    Attributes:
        backlog_days: days of history before the system is switched on, none of them processed.
        sessions_weekday: sessions on a weekday (mean of a Poisson distribution).
        sessions_weekend: the same on a Saturday or Sunday.
        session_hours: hour and spread (h) around which sessions begin, each with its weight; an equal share of the rest
            begins at any hour.
        lines_median: lines of a session (median of a log-normal distribution); also its sigma, and where it is cut.
        line_gap_s: seconds between two lines (mean of an exponential distribution).
        late_share: sessions that arrive as a whole up to ``late_days`` days later (an upload, an outage).
        readings_weekday: times that somebody sits down to read on a weekday (mean of a Poisson distribution).
        readings_weekend: the same on a Saturday or Sunday.
        reading_hours: as ``session_hours``.
        today, yesterday, this_week: share of readings that begin with this day; the rest begins with an older one.
        older_mean_days: how much older than a week those are (mean of a geometric distribution, days).
        leafing: probability that a reader goes on to the neighbouring day, after each day.
        leafing_s: seconds until then, least and most.
    """

    backlog_days: int = 90
    sessions_weekday: float = 9.0
    sessions_weekend: float = 2.0
    session_hours: tuple[tuple[float, float, float], ...] = ((10.0, 1.5, 0.5), (15.0, 2.0, 0.4))
    lines_median: float = 12.0
    lines_sigma: float = 0.8
    lines_most: int = 150
    line_gap_s: float = 30.0
    late_share: float = 0.03
    late_days: float = 3.0
    readings_weekday: float = 60.0
    readings_weekend: float = 15.0
    reading_hours: tuple[tuple[float, float, float], ...] = ((11.0, 2.5, 0.4), (15.5, 2.0, 0.3), (20.0, 1.5, 0.2))
    today: float = 0.55
    yesterday: float = 0.15
    this_week: float = 0.15
    older_mean_days: float = 20.0
    leafing: float = 0.3
    leafing_s: tuple[float, float] = (10.0, 60.0)


QUICK = Life(backlog_days=45, sessions_weekday=3.0, sessions_weekend=0.7, lines_median=6.0, line_gap_s=15.0)
"""Fewer and shorter sessions; the backlog is still long enough to be left to the sweep."""


class Arrival(NamedTuple):
    """A line and when it reaches the history table; of a session that is told live, when it is said."""

    arrives_at: datetime
    said_at: datetime
    session: str
    speaker: str
    text: str


class Visit(NamedTuple):
    """Somebody asks for a day."""

    at: datetime
    day: date


def arrivals(life: Life, first: date, days: int, chance: random.Random) -> list[Arrival]:
    """All lines of ``days`` days from ``first`` on, in the order of their arrival."""
    found: list[Arrival] = []
    for number in range(days):
        day = first + timedelta(days=number)
        mean = life.sessions_weekend if day.weekday() >= 5 else life.sessions_weekday
        for session in range(_poisson(mean, chance)):
            found.extend(_session(life, day, f"{day}-{session}", chance))
    return sorted(found, key=lambda one: one.arrives_at)


def _session(life: Life, day: date, name: str, chance: random.Random) -> Iterator[Arrival]:
    moment = _moment(day, life.session_hours, chance)
    lines = round(chance.lognormvariate(math.log(life.lines_median), life.lines_sigma))
    late = chance.random() < life.late_share
    arrives = moment + timedelta(days=chance.uniform(0, life.late_days))
    for number in range(min(max(2, lines), life.lines_most)):
        speaker = "ai" if number % 2 else "human"
        yield Arrival(max(arrives, moment) if late else moment, moment, name, speaker, said(chance))
        moment += timedelta(seconds=max(1.0, chance.expovariate(1 / life.line_gap_s)))


def visits(life: Life, first: date, days: int, oldest: date, chance: random.Random) -> list[Visit]:
    """All visits of ``days`` days from ``first`` on, in order; nobody asks for a day before ``oldest``."""
    found: list[Visit] = []
    for number in range(days):
        day = first + timedelta(days=number)
        mean = life.readings_weekend if day.weekday() >= 5 else life.readings_weekday
        for _ in range(_poisson(mean, chance)):
            found.extend(_reading(life, day, oldest, chance))
    return sorted(found)


def _reading(life: Life, today: date, oldest: date, chance: random.Random) -> Iterator[Visit]:
    moment = _moment(today, life.reading_hours, chance)
    day = max(oldest, today - timedelta(days=_age(life, chance)))
    step = timedelta(days=chance.choice((-1, 1)))
    while oldest <= day <= today:
        yield Visit(moment, day)
        if chance.random() >= life.leafing:
            return
        day += step
        moment += timedelta(seconds=chance.uniform(*life.leafing_s))


def _age(life: Life, chance: random.Random) -> int:
    """How many days old the day is that a reader begins with."""
    drawn = chance.random()
    if drawn < life.today:
        return 0
    if drawn < life.today + life.yesterday:
        return 1
    if drawn < life.today + life.yesterday + life.this_week:
        return chance.randint(2, 7)
    # The geometric distribution by its inverse.
    return 8 + int(math.log(1 - chance.random()) / math.log(1 - 1 / life.older_mean_days))


def _moment(day: date, humps: tuple[tuple[float, float, float], ...], chance: random.Random) -> datetime:
    """A moment of the day (UTC) around one of the humps, or any."""
    left = chance.random()
    hour = chance.uniform(0, 24)
    for middle, spread, weight in humps:
        if 0 <= left < weight:
            hour = chance.gauss(middle, spread)
        left -= weight
    return datetime.combine(day, time(), UTC) + timedelta(hours=min(max(hour, 0.0), 23.99))


def _poisson(mean: float, chance: random.Random) -> int:
    """A number of a Poisson distribution, by counting arrivals within one unit of time."""
    count, passed = 0, chance.expovariate(mean)
    while passed < 1:
        count += 1
        passed += chance.expovariate(mean)
    return count
