"""Who is to do a thing, and by when, as far as its sentence says so."""

from __future__ import annotations

import re
from collections.abc import Collection
from contextlib import suppress
from datetime import date, timedelta
from typing import NamedTuple

from crew_pipeline.history.summaries.habits import HABITS

_SELF = re.compile(r"\b(?:I'll|I will|I'm going to|I am going to|I can|I shall|I'd|I have to|I need to|let me)\b", re.I)
_ALL = re.compile(r"\b(?:we'll|we will|we're going to|we need to|we have to|we should|let's)\b", re.I)
_WEEKDAYS = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")
_MONTHS = (
    "january", "february", "march", "april", "may", "june", "july", "august", "september", "october", "november",
    "december",
)  # fmt: skip
_DAY = rf"(?:{'|'.join(_WEEKDAYS)})"
_MONTH = rf"(?:{'|'.join(_MONTHS)}|{'|'.join(month[:3] for month in _MONTHS)}\.?)"
_WHEN = re.compile(
    rf"""\b(?:(?:by|until|till|before|on|for|due)\s+(?:the\s+)?)?(?P<when>
        \d{{4}}-\d{{2}}-\d{{2}}
      | today | tonight | tomorrow(?:\s+(?:morning|noon|afternoon|evening|night))? | the\ day\ after\ tomorrow
      | (?:this|next)\s+(?:week|month|{_DAY})
      | {_DAY}(?:\s+(?:morning|noon|afternoon|evening|night))?
      | (?:\d{{1,2}}(?:st|nd|rd|th)?\s+(?:of\s+)?{_MONTH} | {_MONTH}\s+\d{{1,2}}(?:st|nd|rd|th)?)\b
      | in\s+(?:\d{{1,3}}|a|two|three|four|five|six|ten)\s+(?:minutes?|hours?|days?|weeks?|months?)
      | (?:the\s+)?(?:end\s+of\s+(?:the\s+|this\s+|next\s+)?(?:day|week|month|year))
      | (?:the\s+)?next\s+(?:meeting|session|call|release|sprint)
    )\b""",
    re.IGNORECASE | re.VERBOSE,
)
_NOT = re.compile(r"\bnot\s+$", re.IGNORECASE)
_DATE = re.compile(r"\d{4}-\d{2}-\d{2}")


class Todo(NamedTuple):
    """What a sentence says of its task.

    Attributes:
        who: a name; None where it is nobody's by name.
        due: as it was said.
        due_on: the day that this means, where it means one.
    """

    who: str | None
    due: str | None
    due_on: date | None


def todo(text: str, speaker: str, said_on: date, speakers: Collection[str]) -> Todo:
    """Who is to do it: a speaker who is named, else the one who says so of himself; and by when.

    Args:
        said_on: the day on which it was said.
        speakers: of its conversation.
    """
    who = _who(text, speaker, speakers)
    found = _WHEN.search(text)
    if found is None:
        return Todo(who, None, None)
    due = " ".join(found[0].split())
    is_denied = _NOT.search(text[: found.start()])
    return Todo(who, f"not {due}", None) if is_denied else Todo(who, due, _meant(found["when"].lower(), said_on))


def _who(text: str, speaker: str, speakers: Collection[str]) -> str | None:
    of_himself = _SELF.search(text) and not _ALL.search(text)
    if of_himself and not HABITS["asks of"].search(text):
        return speaker
    others = sorted(
        (name for name in speakers if name != speaker and len(name) > 1), key=lambda name: (-len(name), name)
    )
    folded = text.casefold()
    named = next((name for name in others if name.casefold() in folded and _is_called(name, text)), None)
    if named is not None:
        return named
    return speaker if of_himself else None


def _is_called(name: str, text: str) -> bool:
    """Whether somebody is addressed or said to do something, and not merely spoken of ("a human agent")."""
    named = re.escape(name)
    return re.search(rf"^\W*{named}\b|(?<!\w){named}(?!\w)(?:\s+\w+)?{_DOES}", text, re.IGNORECASE) is not None


_DOES = (
    r"\s*(?:[,:]|['’]ll\b|(?:and|will|is|are|should|can|could|would|has|have|needs?|to|please|does|takes?|sends?)\b)"
)


def _meant(when: str, said_on: date) -> date | None:
    """The day that words mean; None where they mean no one day."""
    words = " ".join(when.split())
    if _DATE.fullmatch(words):
        with suppress(ValueError):
            return date.fromisoformat(words)
        return None
    days = next((days for named, days in _DAYS_AHEAD.items() if words.startswith(named)), None)
    if days is None and re.search(r"end of (?:the |this )?week", words):
        days = 6 - said_on.weekday()
    if days is None:
        days = _to_weekday(words, said_on)
    return said_on + timedelta(days=days) if days is not None else _on_the_calendar(words, said_on)


_DAYS_AHEAD = {"today": 0, "tonight": 0, "tomorrow": 1, "the day after tomorrow": 2}


def _to_weekday(words: str, said_on: date) -> int | None:
    """How many days ahead the next day of a name is; "next" is in the next week."""
    named = next((number for number, name in enumerate(_WEEKDAYS) if name in words), None)
    if named is None:
        return None
    ahead = (named - said_on.weekday() - 1) % 7 + 1
    return ahead + 7 * (words.startswith("next") and said_on.weekday() + ahead < 7)


def _on_the_calendar(words: str, said_on: date) -> date | None:
    month = next((number for number, name in enumerate(_MONTHS, 1) if re.search(rf"\b{name[:3]}", words)), None)
    day = re.search(r"\d{1,2}", words)
    if month is None or day is None or words.startswith("in "):
        return None
    with suppress(ValueError):
        meant = date(said_on.year, month, int(day[0]))
        return meant if meant >= said_on else meant.replace(year=said_on.year + 1)
    return None
