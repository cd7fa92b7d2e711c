"""What visitors say about two lines: stored for ever, and honoured at once wherever both texts stand."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from crew_pipeline.days import folding
from crew_pipeline.days.refolding import Refolded, refold_days_with
from crew_pipeline.dedup import document
from crew_pipeline.dedup.cores import cores
from crew_pipeline.dedup.text import count_words, text_hash
from crew_pipeline.model import ClientDay
from crew_pipeline.settings import Settings
from crew_pipeline.storage.database import Database
from crew_pipeline.storage.days import content
from crew_pipeline.storage.days.content import Discovered
from crew_pipeline.storage.evidence import verdicts
from crew_pipeline.storage.evidence.verdicts import Side, Verdict


class UnknownLineError(ValueError):
    """A line that was named does not stand in the day; the message says which."""


class SameLineError(ValueError):
    """A line was compared with itself."""


class TooShortError(ValueError):
    """Lines were said to be the same, but one is too short to be folded at all."""


@dataclass(frozen=True)
class Given:
    """A verdict as it was stored, and the days that it changed."""

    id: int
    verdict: Verdict
    days: Refolded


def say(db: Database, settings: Settings, client_day: ClientDay, verdict: Verdict, line_ids: tuple[str, str]) -> Given:
    """Store what a visitor says about two lines of a day, and fold the days that hold both texts again.

    Raises:
        UnknownLineError: one of the lines does not stand in the client's day.
        SameLineError: both are one line.
        TooShortError: they are said to be the same, but one has too few words to be folded.
    """
    if line_ids[0] == line_ids[1]:
        raise SameLineError("Name two different lines: a line is always the same as itself.")
    with db.read() as connection:
        discovered = content.discovered_of(connection, client_day)
    left, right = _sides(discovered, client_day, line_ids, settings.min_words if verdict == "same" else 0)
    with db.write() as connection:
        verdict_id = verdicts.say(connection, client_day, verdict, left, right)
    refolded = refold_days_with(db, settings, client_day, (left.text_hash, right.text_hash))
    return Given(verdict_id, verdict, refolded)


def undo(db: Database, settings: Settings, client: str, verdict_id: int) -> Refolded | None:
    """Take a verdict back and fold its days again; None where no such verdict is in force."""
    with db.write() as connection:
        undone = verdicts.undo(connection, client, verdict_id)
    if undone is None:
        return None
    day, texts = undone
    return refold_days_with(db, settings, ClientDay(client, day), texts)


def _sides(
    discovered: Sequence[Discovered], client_day: ClientDay, line_ids: tuple[str, str], least_words: int
) -> tuple[Side, Side]:
    lines = folding.columns_of(client_day, discovered)
    by_id = {
        document.line_id(line.conversation_id, line.position): (line, core)
        for line, core in zip(discovered, cores(lines), strict=True)
    }
    sides = []
    for wanted in line_ids:
        if wanted not in by_id:
            raise UnknownLineError(
                f"There is no line {wanted!r} on {client_day.day}; 'line_id' in the day's answer names them."
            )
        line, core = by_id[wanted]
        if count_words(core) < least_words:
            raise TooShortError(f"Lines of fewer than {least_words} words (CREW_MIN_WORDS) are never folded.")
        sides.append(Side(text_hash(core), line.text, line.speaker))
    return sides[0], sides[1]
