"""How the standing texts of a client's day came about: since when each has been as it is, over the days before."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import date
from typing import Any, NamedTuple

from sqlalchemy import Connection

from crew_pipeline.model import ClientDay
from crew_pipeline.storage.days import documents

Entry = Mapping[str, Any]


class Since(NamedTuple):
    """A standing text of a day.

    Attributes:
        crew, speaker: whose it is.
        name, characters, messages, key: see ``dedup.standing.Standing``.
        since: the first of the days on which the voice has begun its messages with it, without another in between.
        changed: whether it had another one before.
    """

    crew: str
    speaker: str
    name: str
    characters: int
    messages: int
    key: str
    since: date
    changed: bool


def of_day(connection: Connection, client_day: ClientDay) -> list[Since]:
    """The standing texts of a day that is ready, by crew and speaker."""
    return since(client_day.day, documents.standing_until(connection, client_day))


def since(day: date, days: Iterable[tuple[date, Sequence[Entry]]]) -> list[Since]:
    """The standing texts of ``day``, by crew and speaker.

    Args:
        days: the standing texts of each day until then, in order of time.
    """
    stretches: dict[tuple[str, str], tuple[str, date, bool]] = {}
    found: list[Since] = []
    for of, texts in days:
        for text in texts:
            voice = text["crew"], text["speaker"]
            key, first, changed = stretches.get(voice, (text["key"], of, False))
            stretches[voice] = (key, first, changed) if key == text["key"] else (text["key"], of, True)
            if of == day:
                _, first, changed = stretches[voice]
                found.append(Since(**text, since=first, changed=changed))
    return sorted(found)
