"""Another folding of a day that is ready, from its judged pairs: milliseconds, no model, no Dagster run.

Used when people have said something about two lines, and when a client is given another operating point.
"""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from datetime import date

from sqlalchemy import Connection

from crew_pipeline.dedup import document, frames
from crew_pipeline.dedup.config import EngineConfig
from crew_pipeline.dedup.embedding import model_id, vectors_id
from crew_pipeline.dedup.engine import cores, distinct_texts, fold_lines
from crew_pipeline.dedup.text import count_words, text_hash
from crew_pipeline.model import ClientDay, Line, OperatingPoint
from crew_pipeline.settings import Settings
from crew_pipeline.storage.conversations import clients
from crew_pipeline.storage.database import Database
from crew_pipeline.storage.days import claims, documents, queue
from crew_pipeline.storage.days import states as days
from crew_pipeline.storage.days.states import Discovered
from crew_pipeline.storage.evidence import clusters, invariants, pairs
from crew_pipeline.storage.evidence import verdicts as feedback

AT_ONCE = 50
"""Days that are folded again while whoever asked waits; the others follow in the background."""
_CLAIM_S = 30


class UnknownLineError(ValueError):
    """A line that was named does not stand in the day; the message says which."""


class SameLineError(ValueError):
    """A line was compared with itself."""


class TooShortError(ValueError):
    """Lines were said to be the same of which one is too short to be folded at all."""


@dataclass(frozen=True)
class Refolded:
    """What came of it: days that are served anew, and days that follow in the background."""

    at_once: list[date]
    later: list[date]


@dataclass(frozen=True)
class Verdict:
    """A person's verdict as it was stored."""

    id: int
    verdict: feedback.Verdict
    days: Refolded


def say(
    db: Database, settings: Settings, client_day: ClientDay, verdict: feedback.Verdict, line_ids: tuple[str, str]
) -> Verdict:
    """Store what a reader says about two lines of a day, and fold the days that hold both texts again.

    Raises:
        UnknownLineError: one of the lines does not stand in the client's day.
        SameLineError: both are one line.
        TooShortError: they are said to be the same, but one has too few words to be folded.
    """
    if line_ids[0] == line_ids[1]:
        raise SameLineError("Name two different lines: a line is always the same as itself.")
    with db.read() as connection:
        found = days.discovered_of(connection, client_day)
    one, other = _sides(found, client_day, line_ids, settings.min_words if verdict == "same" else 0)
    with db.write() as connection:
        made = feedback.say(connection, client_day.client, client_day.day, verdict, one, other)
    return Verdict(made, verdict, refold_days_with(db, settings, client_day, (one.text_hash, other.text_hash)))


def undo(db: Database, settings: Settings, client: str, feedback_id: int) -> Refolded | None:
    """Take a verdict back and fold its days again; None where no such verdict is in force."""
    with db.write() as connection:
        undone = feedback.undo(connection, client, feedback_id)
    return None if undone is None else refold_days_with(db, settings, ClientDay(client, undone[0]), undone[1])


def set_folding(db: Database, settings: Settings, client: str, folding: OperatingPoint | None) -> Refolded:
    """Give a client an operating point of its own (None: the system's) and fold its days again, newest first."""
    with db.write() as connection:
        clients.set_folding(connection, client, folding)
        found = pairs.days_with(connection, client, [])
    return _refold_all(db, settings, client, found)


def refold_days_with(db: Database, settings: Settings, client_day: ClientDay, texts: tuple[bytes, bytes]) -> Refolded:
    """Fold again a client's day, and every other one on which both texts were compared."""
    with db.read() as connection:
        found = pairs.days_with(connection, client_day.client, sorted(set(texts)))
    return _refold_all(
        db, settings, client_day.client, [client_day.day, *(day for day in found if day != client_day.day)]
    )


def _refold_all(db: Database, settings: Settings, client: str, found: list[date]) -> Refolded:
    done, later = [], []
    for number, day in enumerate(found):
        client_day = ClientDay(client, day)
        if number < AT_ONCE and refold(db, settings, client_day):
            done.append(day)
            continue
        later.append(day)
        with db.write() as connection:
            documents.outdate(connection, client_day)
            queue.request(connection, client_day, outdated=True)
    return Refolded(done, later)


def refold(db: Database, settings: Settings, client_day: ClientDay) -> bool:
    """Fold one day again from its judged pairs, in one transaction.

    Returns:
        False where that cannot be done now: somebody is at work on it, it has lines that were not compared yet, or its
        pairs were judged by another engine.
    """
    config, model = EngineConfig.of(settings), model_id(settings.model)
    token = f"refold-{uuid.uuid4()}"
    with db.read() as connection, connection.begin() as transaction:
        done = claims.acquire(connection, client_day, token, _CLAIM_S) == "new" and _fold(
            connection, client_day, config, model, vectors_id(settings.model, settings.precision), token
        )
        if not done:
            transaction.rollback()
    return done


def _fold(
    connection: Connection, client_day: ClientDay, config: EngineConfig, model: str, vectors: str, token: str
) -> bool:
    status = days.status_of(connection, client_day)
    found = days.discovered_of(connection, client_day)
    comparison = pairs.load(connection, client_day, config.judgement(vectors))
    if status is None or status.status != "completed" or comparison is None:
        return False
    lines = frames.frame([(client_day.client, *row[:5]) for row in found], frames.LINES)
    if list(distinct_texts(lines, config)) != list(comparison.texts):
        return False
    own = config.at(clients.folding_of(connection, client_day.client))
    said = feedback.in_force(connection, client_day.client)
    members = fold_lines(client_day.client, client_day.day.isoformat(), lines, comparison, own, said).members
    clusters.replace(connection, client_day, members)
    invariants.hold_clusters(connection, client_day)
    built = document.build(
        client_day.client,
        days.conversations_of(connection, client_day),
        [Line(*row[:5]) for row in found],
        clusters.folds_of(connection, client_day),
        own.fingerprint(model),
    )
    documents.publish(connection, client_day, built, own.fingerprint(model), token)
    return True


def _sides(
    found: list[Discovered], client_day: ClientDay, line_ids: tuple[str, str], least_words: int
) -> tuple[feedback.Side, feedback.Side]:
    lines = frames.frame([(client_day.client, *row[:5]) for row in found], frames.LINES)
    by_id = {
        document.line_id(row.conversation_id, row.position): (row, core)
        for row, core in zip(found, cores(lines), strict=True)
    }
    sides = []
    for wanted in line_ids:
        if wanted not in by_id:
            raise UnknownLineError(
                f"There is no line {wanted!r} on {client_day.day}; 'line_id' in the day's answer names them."
            )
        row, core = by_id[wanted]
        if count_words(core) < least_words:
            raise TooShortError(f"Lines of fewer than {least_words} words (CREW_MIN_WORDS) are never folded.")
        sides.append(feedback.Side(text_hash(core), row.text, row.speaker))
    return sides[0], sides[1]
