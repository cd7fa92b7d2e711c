"""The embedded Postgres of the data directory: started by whoever needs it first, stopped by whoever leaves last."""

from __future__ import annotations

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from crew_pipeline.storage.postgres_server import PostgresServer, PostgresServerError

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
        self.folder = home / "postgres"
        self._lock: IO[bytes] | None = None
        self._server: PostgresServer | None = None

    def start(self) -> None:
        """Start the server, or join the one that runs.

        Raises:
            EmbeddedPostgresError: the data directory cannot be used or the server does not come up.
        """
        try:
            self.folder.parent.mkdir(parents=True, exist_ok=True)
            self._lock = (self.folder.parent / "postgres.lock").open("ab")
            fcntl.flock(self._lock, fcntl.LOCK_SH)
            self._server = _server(self.folder)
        except OSError as error:
            raise EmbeddedPostgresError(
                f"The data directory {self.folder.parent} cannot be used ({error.strerror}); set CREW_HOME to a "
                "folder that you may write to, or CREW_DATABASE_URL to a Postgres of your own."
            ) from error
        except Exception as error:
            raise self._not_started(error) from error

    def revive(self) -> bool:
        """Start the server again if it died; returns whether it had.

        Raises:
            EmbeddedPostgresError: it does not come up.
        """
        if self._server is None or self._server.lives:
            return False
        try:
            self._server = _server(self.folder)
        except Exception as error:
            raise self._not_started(error) from error
        return True

    def _not_started(self, error: Exception) -> EmbeddedPostgresError:
        why = f": {error}" if isinstance(error, PostgresServerError) else ""
        return EmbeddedPostgresError(
            f"The embedded Postgres did not start{why}; see {self.folder / 'log'}, or set CREW_DATABASE_URL to a "
            "Postgres of your own."
        )

    def url(self, database: str, user: str = "postgres") -> str:
        """SQLAlchemy-style address (``postgresql://…``) of one of its databases, for one of its users; ``postgres``
        administers it."""
        assert self._server is not None
        return self._server.url(database, user)

    def leave(self) -> None:
        """Give up this process's share; the last one stops the server."""
        if self._lock is None:
            return
        # Released first: where two leave at once, the later one then gets the exclusive lock.
        fcntl.flock(self._lock, fcntl.LOCK_UN)
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            pass
        else:
            if self._server is not None:
                if not self._server.lives:
                    self._server = _server(self.folder)  # somebody else may have started it again
                self._server.stop()
        self._lock.close()
        self._lock = None


def _server(folder: Path) -> PostgresServer:
    server = PostgresServer(folder)
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
