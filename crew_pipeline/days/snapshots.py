"""What a run computes from: a client's day is read once under its claim, by the first step or before it.

Lines that arrive meanwhile belong to the next run; steps that saw different lines would not fit together.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import TYPE_CHECKING

from sqlalchemy import Connection

from crew_pipeline.days import claims
from crew_pipeline.dedup import frames
from crew_pipeline.model import ClientDay
from crew_pipeline.storage.days import content
from crew_pipeline.storage.days.content import Discovered

if TYPE_CHECKING:
    import pandas as pd


class Snapshots:
    """The lines of the run that is at work in this process, which never executes two at a time."""

    def __init__(self) -> None:
        self._token = ""
        self._frames: dict[ClientDay, pd.DataFrame] = {}

    def read(self, connection: Connection, client_day: ClientDay, token: str) -> pd.DataFrame | None:
        """The frame ``frames.DISCOVERED`` of a client's day that ``token`` holds.

        None where another process has run the earlier steps and the content has changed since: the day is given back.
        """
        if token != self._token:
            self._token, self._frames = token, {}
        if client_day not in self._frames:
            discovered = content.discovered_of(connection, client_day)
            if not claims.settle_stamp(connection, client_day, token, _stamp(discovered)):
                claims.give_back(connection, token, only=client_day)
                return None
            self._frames[client_day] = frames.frame(
                [(client_day.client, *line[:-1]) for line in discovered], frames.DISCOVERED
            )
        return self._frames[client_day]

    def drop(self, client_day: ClientDay) -> None:
        """Forget a client's day that is finished."""
        self._frames.pop(client_day, None)


def _stamp(discovered: Sequence[Discovered]) -> bytes:
    """A hash over the contents of a day's conversations."""
    digest = hashlib.sha256()
    for conversation_id, content_hash in sorted({(line.conversation_id, line.content_hash) for line in discovered}):
        digest.update(conversation_id.encode() + content_hash)
    return digest.digest()
