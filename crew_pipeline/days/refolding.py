"""Folds a ready day again from its judged pairs: in milliseconds, without a model or a Dagster run.

Done when visitors have said something about two lines, and when a client is given another operating point.
"""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from typing import NamedTuple

import orjson
from sqlalchemy import Connection

from crew_pipeline.days import changes, claims, folding, publishing, requests
from crew_pipeline.days.changes import Changes
from crew_pipeline.dedup.config import EngineConfig, fingerprint_of
from crew_pipeline.dedup.cores import distinct_texts
from crew_pipeline.dedup.document import Document
from crew_pipeline.dedup.folding import Clusters
from crew_pipeline.model import ClientDay, DayState, OperatingPoint
from crew_pipeline.settings import Settings
from crew_pipeline.storage.conversations import clients
from crew_pipeline.storage.database import Database
from crew_pipeline.storage.days import content, documents, states
from crew_pipeline.storage.evidence import pairs

AT_ONCE = 50
"""Days that are folded again while whoever asked waits; the others follow in the background."""
_CLAIM_S = 30


@dataclass(frozen=True)
class Refolded:
    """The outcome: days that are served anew, and days that follow in the background."""

    at_once: list[date]
    later: list[date]


def set_folding(db: Database, settings: Settings, client: str, folding_at: OperatingPoint | None) -> Refolded:
    """Give a client an operating point of its own (None: the system's) and fold its days again, newest first."""
    with db.write() as connection:
        clients.set_folding(connection, client, folding_at)
        days = pairs.days_with(connection, client, [])
    return _refold_all(db, settings, client, days)


def refold_days_with(db: Database, settings: Settings, client_day: ClientDay, texts: tuple[bytes, bytes]) -> Refolded:
    """Fold a client's day again, and every other one on which both texts were compared."""
    with db.read() as connection:
        days = pairs.days_with(connection, client_day.client, sorted(set(texts)))
    others = [day for day in days if day != client_day.day]
    return _refold_all(db, settings, client_day.client, [client_day.day, *others])


def refold_every_day(db: Database, settings: Settings, client_day: ClientDay) -> Refolded:
    """Fold a client's day again; its others, of which each may hold what was spoken of, follow in the background."""
    with db.read() as connection:
        days = pairs.days_with(connection, client_day.client, [])
    others = [day for day in days if day != client_day.day]
    return _refold_all(db, settings, client_day.client, [client_day.day, *others], most_at_once=1)


def _refold_all(
    db: Database, settings: Settings, client: str, days: Sequence[date], most_at_once: int = AT_ONCE
) -> Refolded:
    at_once, later = [], []
    for number, day in enumerate(days):
        client_day = ClientDay(client, day)
        if number < most_at_once and refold(db, settings, client_day):
            at_once.append(day)
            continue
        later.append(day)
        with db.write() as connection:
            requests.remake(connection, client_day)
    return Refolded(at_once, later)


def refold(db: Database, settings: Settings, client_day: ClientDay) -> bool:
    """Fold one day again from its judged pairs, in one transaction.

    Returns:
        False where that cannot be done now: somebody is at work on it, it has lines that were not compared yet, or its
        pairs were judged by another engine.
    """
    token = f"refold-{uuid.uuid4()}"
    with db.read() as connection:
        done = claims.acquire(connection, client_day, token, _CLAIM_S) == "new" and _fold_again(
            connection, settings, client_day, token
        )
        if done:
            connection.commit()
    return done


def try_at(db: Database, settings: Settings, client_day: ClientDay, point: OperatingPoint) -> Changes | None:
    """What another operating point would change in a ready day; nothing is stored. None where that cannot be told."""
    with db.read() as connection:
        now = documents.current(connection, client_day, fingerprint_of(settings))
        tried = _folded(connection, settings, client_day, point)
    if now is None or now.body is None or now.stale or tried is None:
        return None
    return changes.between(orjson.loads(now.body), orjson.loads(tried.document.body))


class _Folded(NamedTuple):
    clusters: Clusters
    document: Document
    fingerprint: str


def _folded(
    connection: Connection, settings: Settings, client_day: ClientDay, at: OperatingPoint | None = None
) -> _Folded | None:
    """A day folded from its judged pairs; None where they are not those of its lines and of this engine."""
    config = EngineConfig.of(settings)
    status = states.status_of(connection, client_day)
    lines = folding.columns_of(client_day, content.discovered_of(connection, client_day))
    comparison = pairs.load(connection, client_day, config.judgement)
    if status is None or status.state != DayState.COMPLETED or comparison is None:
        return None
    if list(distinct_texts(lines, config)) != list(comparison.texts):
        return None
    wishes = folding.wishes_of(connection, client_day.client, config)
    wishes = wishes._replace(config=wishes.config.at(at))
    clusters = folding.fold(client_day, lines, comparison, wishes)
    fingerprint = wishes.config.fingerprint
    folds = folding.folds_in(clusters.rows)
    return _Folded(clusters, folding.document_of(client_day, lines, folds, fingerprint, wishes.verdicts), fingerprint)


def _fold_again(connection: Connection, settings: Settings, client_day: ClientDay, token: str) -> bool:
    folded = _folded(connection, settings, client_day)
    if folded is None:
        return False
    publishing.replace_clusters(connection, client_day, token, folded.clusters.rows)
    publishing.publish(connection, client_day, folded.document, folded.fingerprint, token)
    return True
