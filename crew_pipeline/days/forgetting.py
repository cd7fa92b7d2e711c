"""Forgetting on request: lines, and all that was made of them, are erased and the days made again from what is left."""

from __future__ import annotations

import time
import uuid
from dataclasses import dataclass
from datetime import date, datetime

from sqlalchemy import Connection

from crew_pipeline.days import claims, requests
from crew_pipeline.dedup.passages import passages
from crew_pipeline.dedup.speech import speaker_names, without_addressees
from crew_pipeline.dedup.text import normalise, text_hash
from crew_pipeline.model import ClientDay
from crew_pipeline.settings import Settings
from crew_pipeline.storage.conversations import forgetting
from crew_pipeline.storage.conversations.forgetting import NothingThereError, Scope
from crew_pipeline.storage.conversations.parts import calendar_of
from crew_pipeline.storage.database import Database

__all__ = ["BusyError", "Forgotten", "NothingThereError", "Scope", "forget"]

LONGEST_WAIT_S = 60.0
_CLAIM_S = 600
_POLL_S = 0.5


class BusyError(RuntimeError):
    """A run is at work on a day that is to change, and does not end; the message says which."""


@dataclass(frozen=True)
class Forgotten:
    """What was erased: rows by table; and the days that are made again, newest first."""

    rows: dict[str, int]
    days: list[date]

    @property
    def lines(self) -> int:
        """How many lines."""
        return self.rows.get("lines", 0)


def forget(db: Database, settings: Settings, scope: Scope, now: datetime, *, dry_run: bool = False) -> Forgotten:
    """Erase what a scope names, and ask for the days that it leaves behind.

    Args:
        dry_run: only say what would go; nothing changes.

    Raises:
        NothingThereError: the client has nothing of it.
        BusyError: a run that a visitor waits for holds one of the days for longer than a minute.
    """
    deadline = time.monotonic() + LONGEST_WAIT_S
    while True:
        try:
            return _forget(db, settings, scope, now, dry_run=dry_run)
        except BusyError:
            if time.monotonic() > deadline:
                raise
            time.sleep(_POLL_S)


def _forget(db: Database, settings: Settings, scope: Scope, now: datetime, *, dry_run: bool) -> Forgotten:
    token = f"forget-{uuid.uuid4()}"
    with db.read() as connection:
        calendar = calendar_of(connection, settings, scope.client, now)
        client_days = forgetting.choose(connection, scope, calendar)
        if not dry_run:
            _hold(connection, client_days, token)
        erased = forgetting.erase(connection, scope, _hashes(connection, scope.client), calendar)
        if not dry_run:
            claims.give_back(connection, token)
            for day in erased.days:
                requests.request(connection, ClientDay(scope.client, day), waiting=False)
            connection.commit()
    return Forgotten(erased.rows, sorted(erased.days, reverse=True))


def _hold(connection: Connection, client_days: list[ClientDay], token: str) -> None:
    """Claim the days, so that no run that has read them writes any more; background runs yield."""
    for client_day in client_days:
        claims.want(connection, client_day)
        if claims.acquire(connection, client_day, token, _CLAIM_S) is None:
            raise BusyError(f"A run is at work on {client_day}, for somebody who waits; try again in a minute.")


def _hashes(connection: Connection, client: str) -> list[bytes]:
    """By which the texts that are about to go are known: as they are compared, with and without whom they address, and
    their passages."""
    gone = list(forgetting.texts(connection, client))
    names = speaker_names({speaker for speaker, _ in gone})
    found: set[bytes] = set()
    for _, text in gone:
        whole = normalise(text)
        parts = (normalise(text[part.start : part.end]) for part in passages(text))
        found.update(map(text_hash, (whole, without_addressees(whole, names), *parts)))
    return sorted(found)
