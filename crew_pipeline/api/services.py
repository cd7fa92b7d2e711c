"""What the routes work with, in one typed place of the application's state."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from dataclasses import dataclass
from datetime import date, datetime
from typing import Annotated
from zoneinfo import ZoneInfo

from fastapi import Depends
from starlette.requests import HTTPConnection

from crew_pipeline.api.access import Doorkeeper, NamedClient
from crew_pipeline.api.admission import Admission
from crew_pipeline.api.counting import VisitCounter
from crew_pipeline.api.exposition import Metrics
from crew_pipeline.api.limits import Limits
from crew_pipeline.days import reading
from crew_pipeline.model import ClientDay
from crew_pipeline.serving.feed import Feeds
from crew_pipeline.serving.listener import Listener
from crew_pipeline.serving.live import LiveTalks
from crew_pipeline.serving.prose import Prose
from crew_pipeline.serving.room import Room
from crew_pipeline.serving.search import Searches
from crew_pipeline.serving.service import DayService
from crew_pipeline.serving.shared import Remembered
from crew_pipeline.serving.webhooks import Deliveries
from crew_pipeline.settings import Settings
from crew_pipeline.storage.conversations import clients
from crew_pipeline.storage.database import Database

_CONNECTED = 3
"""Connections that are there from the start."""


@dataclass(frozen=True)
class Services:
    """What the routes work with.

    Attributes:
        db: shows nothing but through ``as_client``.
        system: works across clients: for tokens, figures, and what is the operator's.
        fingerprint: of the engine in force; documents of another are served as stale.
        send_within_s: how long a follower of a day may take to make room for a message before it is cut off.
    """

    settings: Settings
    db: Database
    system: Database
    fingerprint: str
    doorkeeper: Doorkeeper
    limits: Limits
    listener: Listener
    days: DayService
    feeds: Feeds
    searches: Searches
    live: LiveTalks
    prose: Prose
    followers: Room
    visits: VisitCounter
    metrics: Metrics
    deliveries: Deliveries
    readiness: Remembered[dict[str, str]]
    send_within_s: float

    async def zone_of(self, client: str) -> str:
        """The time zone of a client's days."""
        own: str | None = await self.db.as_client(client).reading(clients.timezone_of, client)
        return own or self.settings.timezone

    async def today_of(self, client: str) -> date:
        """The day that it is for a client."""
        return datetime.now(ZoneInfo(await self.zone_of(client))).date()

    async def start(self) -> None:
        """Open what is needed to serve."""
        await self.db.open_in_loop()
        await self.system.open_in_loop()
        await self.listener.start()
        # Whatever is wrong: /readyz says so, and this is no reason not to begin.
        with suppress(Exception):
            await self._warm_up()
        self.visits.start()
        self.doorkeeper.start()
        self.limits.start(self.system)
        self.deliveries.start()
        self.searches.start(await self._clients())

    async def _clients(self) -> list[str] | None:
        with suppress(Exception):
            names: list[str] = await self.system.reading(clients.names)
            return names
        return None

    async def _warm_up(self) -> None:
        """Do once what the first visitor of a missing day would else wait for, and all others with it: connect, and
        prepare statements. It is nobody's day, so there is nothing to read."""
        nobody = ClientDay("", date.min)
        db = self.db.as_client(nobody.client)
        readers = [db.reading(reading.unfinished, nobody, reading.AS_STORED) for _ in range(_CONNECTED)]
        await asyncio.gather(*readers, self.days.ready(nobody, reading.AS_STORED))

    async def stop(self) -> None:
        """Write down what was counted, and close everything."""
        await self.searches.stop()
        await self.deliveries.stop()
        await self.limits.stop()
        await self.doorkeeper.stop()
        await self.visits.stop()
        self.feeds.stop()
        await self.listener.stop()
        await self.system.close_in_loop()
        await self.db.close_in_loop()


ADMISSION = "admission"
"""The name, in ``scope["state"]``, of who was let in already, and the client that was named."""


# Not a plain function: FastAPI would call that in a thread, for every request.
async def _services(connection: HTTPConnection) -> Services:
    services: Services = connection.app.state.services
    return services


ServicesOf = Annotated[Services, Depends(_services)]
"""The services, as a dependency of a route."""


async def admitted(connection: HTTPConnection, services: ServicesOf, client: NamedClient = None) -> Admission:
    """Let somebody in, and count them."""
    before = connection.scope.get("state", {}).get(ADMISSION)
    if before is not None and before[0] == client:
        known: Admission = before[1]
        return known
    admission = await services.doorkeeper.admit(connection, client)
    await services.limits.count("requests", admission)
    connection.state.client = admission.client
    return admission


Admitted = Annotated[Admission, Depends(admitted)]
"""Who was let in, as a dependency of a route."""


async def _client(admission: Admitted) -> str:
    return admission.client


Client = Annotated[str, Depends(_client)]
"""The client of a request, as a dependency of a route."""
