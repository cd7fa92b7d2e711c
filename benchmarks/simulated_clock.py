"""A clock that is set: for this process's ``datetime`` and for ``now()`` in one database, both at once."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime

import psycopg
import time_machine
from psycopg import sql

from crew_pipeline.storage.database import libpq_url

# The catalogue is searched first unless the path names it, so that it has to be named behind the clock.
_INSTALL = """
CREATE SCHEMA sim;
CREATE TABLE sim.clock (at timestamptz NOT NULL);
CREATE FUNCTION sim.now() RETURNS timestamptz LANGUAGE sql STABLE PARALLEL SAFE
RETURN (SELECT at FROM sim.clock);
CREATE FUNCTION sim.clock_timestamp() RETURNS timestamptz LANGUAGE sql STABLE PARALLEL SAFE
RETURN (SELECT at FROM sim.clock);
"""
_SEARCH_PATH = "ALTER DATABASE {} SET search_path = public, sim, pg_catalog"


class SimulatedClock:
    """Stands still at ``now`` until it is moved, forwards or backwards. What measures how long something takes
    (``time.monotonic``) goes on as ever."""

    def __init__(
        self, connection: psycopg.Connection[tuple[object, ...]], traveller: time_machine.Traveller, now: datetime
    ) -> None:
        self._connection = connection
        self._traveller = traveller
        self.now = now

    def move_to(self, moment: datetime) -> None:
        """Make it ``moment`` here and in the database."""
        self.now = moment
        self._traveller.move_to(moment, tick=False)
        self._connection.execute("UPDATE sim.clock SET at = %s", (moment,))


@contextmanager
def simulated_clock(url: str, start: datetime) -> Iterator[SimulatedClock]:
    """The clock of this process and of the database at ``url``, which must be empty yet: defaults and functions of the
    tables to come find the simulated ``now()`` by its name.

    The database keeps it; only connections that are opened from here on follow it.
    """
    with psycopg.connect(libpq_url(url), autocommit=True) as connection:
        connection.execute(_INSTALL)
        connection.execute("INSERT INTO sim.clock VALUES (%s)", (start,))
        connection.execute(sql.SQL(_SEARCH_PATH).format(sql.Identifier(connection.info.dbname)))
        with time_machine.travel(start, tick=False) as traveller:
            yield SimulatedClock(connection, traveller, start)
