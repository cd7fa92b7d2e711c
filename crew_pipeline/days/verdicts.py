"""What visitors say about two lines, or about what stands in messages: stored for ever, and honoured wherever it
stands."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import orjson

from crew_pipeline.days import folding
from crew_pipeline.days.refolding import Refolded, refold_days_with, refold_every_day
from crew_pipeline.dedup import document
from crew_pipeline.dedup.config import fingerprint_of
from crew_pipeline.dedup.cores import cores
from crew_pipeline.dedup.passages import hashes_in
from crew_pipeline.dedup.text import count_words, text_hash
from crew_pipeline.model import ClientDay
from crew_pipeline.settings import Settings
from crew_pipeline.storage.database import Database
from crew_pipeline.storage.days import content, documents
from crew_pipeline.storage.days.content import Discovered
from crew_pipeline.storage.evidence import verdicts
from crew_pipeline.storage.evidence.verdicts import Side, Verdict


class UnknownLineError(ValueError):
    """A line that was named does not stand in the day; the message says which."""


class SameLineError(ValueError):
    """A line was compared with itself."""


class TooShortError(ValueError):
    """Lines were said to be the same, but one is too short to be folded at all."""


class NoPassageError(ValueError):
    """There is no passage, or no standing text, where one was named; the message says what there is."""


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


def show(db: Database, settings: Settings, client_day: ClientDay, line_id: str, start: int, end: int | None) -> Given:
    """Store that the passages of a line are always shown, wherever they stand, and fold the client's days again.

    Args:
        start, end: where they lie in the line's text, in code points; None: to its end.

    Raises:
        UnknownLineError: the line does not stand in the client's day.
        NoPassageError: nothing lies between the two places.
    """
    line = _line(db, client_day, line_id)
    hashes = hashes_in(line.text, start, end) if start >= 0 else []
    if not hashes:
        raise NoPassageError(f"Nothing of line {line_id} lies there; its text has {len(line.text):,} characters.")
    spoken = Side(text_hash(" ".join(one.hex() for one in hashes)), line.text[start:end], line.speaker)
    return _say_of_passages(db, settings, client_day, "show", spoken, sorted(set(hashes)))


def hide(db: Database, settings: Settings, client_day: ClientDay, line_id: str) -> Given:
    """Store that the standing text of a line's speaker is left out where it is visible, and fold the client's days
    again.

    Raises:
        UnknownLineError: the line does not stand in the client's day.
        NoPassageError: its speaker has no standing text on that day.
    """
    line = _line(db, client_day, line_id)
    with db.read() as connection:
        stored = documents.current(connection, client_day, fingerprint_of(settings))
    entries = orjson.loads(stored.body) if stored is not None and stored.body is not None else []
    found = next(
        (
            shown
            for entry in entries
            for shown in entry["display_conversation"]
            if "standing" in shown and (entry["crew"], shown["speaker"]) == (line.crew, line.speaker)
        ),
        None,
    )
    if found is None:
        raise NoPassageError(f"{line.speaker} has no standing text in {line.crew} on {client_day.day}.")
    standing, text = found["standing"], found["text"]
    hashes = {one for span in standing["spans"] for one in hashes_in(text, span["start"], span["end"])}
    side = Side(bytes.fromhex(standing["key"]), standing["name"], line.speaker)
    return _say_of_passages(db, settings, client_day, "hide", side, sorted(hashes))


def _say_of_passages(
    db: Database, settings: Settings, client_day: ClientDay, verdict: Verdict, side: Side, hashes: Sequence[bytes]
) -> Given:
    with db.write() as connection:
        verdict_id = verdicts.say(connection, client_day, verdict, side, side, hashes)
    return Given(verdict_id, verdict, refold_every_day(db, settings, client_day))


def _line(db: Database, client_day: ClientDay, line_id: str) -> Discovered:
    with db.read() as connection:
        discovered = content.discovered_of(connection, client_day)
    for line in discovered:
        if document.line_id(line.conversation_id, line.position) == line_id:
            return line
    raise UnknownLineError(_no_line(line_id, client_day))


def _no_line(line_id: str, client_day: ClientDay) -> str:
    return f"There is no line {line_id!r} on {client_day.day}; 'line_id' in the day's answer names them."


def undo(db: Database, settings: Settings, client: str, verdict_id: int) -> Refolded | None:
    """Take a verdict back and fold its days again; None where no such verdict is in force."""
    with db.write() as connection:
        undone = verdicts.undo(connection, client, verdict_id)
    if undone is None:
        return None
    client_day = ClientDay(client, undone.day)
    if undone.verdict in ("show", "hide"):
        return refold_every_day(db, settings, client_day)
    return refold_days_with(db, settings, client_day, undone.texts)


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
            raise UnknownLineError(_no_line(wanted, client_day))
        line, core = by_id[wanted]
        if count_words(core) < least_words:
            raise TooShortError(f"Lines of fewer than {least_words} words (CREW_MIN_WORDS) are never folded.")
        sides.append(Side(text_hash(core), line.text, line.speaker))
    return sides[0], sides[1]
