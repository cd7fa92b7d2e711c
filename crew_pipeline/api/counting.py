"""Counts how visitors are served, in memory first: a request must not wait for its own record."""

from __future__ import annotations

import asyncio
import logging
from contextlib import suppress

from sqlalchemy.exc import SQLAlchemyError

from crew_pipeline.storage.database import Database
from crew_pipeline.storage.days import visits
from crew_pipeline.storage.days.visits import Kind, Visits

logger = logging.getLogger(__name__)

_WRITTEN_EVERY_S = 5.0


class VisitCounter:
    """The requests for days that this process has answered since it wrote them down last."""

    def __init__(self, db: Database) -> None:
        self._db = db
        self._counts: dict[tuple[str, Kind], Visits] = {}
        self._writing: asyncio.Task[None] | None = None

    def count(self, client: str, kind: Kind, milliseconds: float) -> None:
        """Count one request."""
        before = self._counts.get((client, kind), Visits(0, 0.0))
        self._counts[client, kind] = Visits(before.visits + 1, before.milliseconds + milliseconds)

    def start(self) -> None:
        """Write down what was counted every few seconds."""
        self._writing = asyncio.create_task(self._write_on())

    async def stop(self) -> None:
        """Write down the rest."""
        if self._writing is not None:
            self._writing.cancel()
            with suppress(asyncio.CancelledError):
                await self._writing
        await self.write()

    async def write(self) -> None:
        """Write down what was counted; what cannot be written now is written the next time."""
        counts, self._counts = self._counts, {}
        if not counts:
            return
        try:
            await self._db.writing(visits.add, counts)
        except SQLAlchemyError as error:
            logger.warning("visits were not written down (%s); trying again", type(error).__name__)
            for (client, kind), earlier in counts.items():
                later = self._counts.get((client, kind), Visits(0, 0.0))
                self._counts[client, kind] = Visits(
                    later.visits + earlier.visits, later.milliseconds + earlier.milliseconds
                )

    async def _write_on(self) -> None:
        while True:
            await asyncio.sleep(_WRITTEN_EVERY_S)
            await self.write()
