"""``crew up``: database, migrations, Dagster, warm worker and API on one machine."""

from __future__ import annotations

import fcntl
import os
import socket
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from crew_pipeline.processes.pool import worker_children
from crew_pipeline.processes.supervisor import Child, StartError
from crew_pipeline.settings import Settings
from crew_pipeline.shipped import shipped
from crew_pipeline.storage.opening import Databases


@dataclass(frozen=True)
class Addresses:
    """Where things listen."""

    host: str
    port: int
    dagster_port: int

    @property
    def api(self) -> str:
        """The API and the day page."""
        return f"http://{_reachable(self.host)}:{self.port}"

    @property
    def dagster(self) -> str:
        """The Dagster UI, on loopback always: it has no access control of its own."""
        return f"http://127.0.0.1:{self.dagster_port}"


def _reachable(host: str) -> str:
    named = {"0.0.0.0": "127.0.0.1", "::": "[::1]"}.get(host, host)  # noqa: S104 - compared, not bound
    return f"[{named}]" if ":" in named and not named.startswith("[") else named


def children(
    settings: Settings, databases: Databases, addresses: Addresses, daemon_age_s: Callable[[], float | None]
) -> list[Child]:
    """The processes of ``crew up``, each with the check that it is ready.

    Args:
        daemon_age_s: how long ago Dagster's daemon last beat (s); None where it never did.
    """
    logs = settings.home_path / "logs"
    logs.mkdir(parents=True, exist_ok=True)
    python = [sys.executable, "-m"]
    loads = ["-w", str(shipped("workspace.yaml"))]

    def child(name: str, command: list[str], ready: Callable[[], bool]) -> Child:
        return Child(name, [*python, *command], ready, logs / f"{name}.log")

    daemon = child("dagster-daemon", ["dagster._daemon", "run", *loads], lambda: _has_beaten(daemon, daemon_age_s()))
    return [
        *worker_children(settings, databases, settings.workers),
        child(
            "api",
            ["crew_pipeline.cli", "api", "--host", addresses.host, "--port", str(addresses.port)],
            lambda: _answers(f"{addresses.api}/healthz"),
        ),
        child(
            "dagster-webserver",
            ["crew_pipeline.processes.dagster_webserver", "-h", "127.0.0.1", "-p", str(addresses.dagster_port), *loads],
            lambda: _answers(f"{addresses.dagster}/server_info"),
        ),
        daemon,
    ]


@contextmanager
def alone_in(home: Path) -> Iterator[None]:
    """Run everything of a data directory once: two daemons over one would do everything twice.

    The kernel drops the lock of a process that is killed.

    Raises:
        StartError: it runs already.
    """
    home.mkdir(parents=True, exist_ok=True)
    with (home / "up.lock").open("a+") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            lock.seek(0)
            raise StartError(
                f"'crew up' runs already on the data directory {home} (process {lock.read().strip() or 'unknown'}); "
                "stop it first, or give another directory with --data-dir."
            ) from None
        lock.truncate(0)
        lock.write(str(os.getpid()))
        lock.flush()
        yield


def refuse_taken_port(host: str, port: int) -> None:
    """Refuse to start where somebody else listens already.

    Raises:
        StartError: the port cannot be used.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            raise StartError(f"Port {port} of {host} cannot be used ({error.strerror}); choose another port.") from None


def _answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=2) as response:  # noqa: S310 - our own address
            return bool(response.status == 200)
    except (urllib.error.URLError, OSError):
        return False


def _has_beaten(daemon: Child, age_s: float | None) -> bool:
    """Whether the daemon has beaten since it was started: the last beat may be that of one that ran before."""
    return age_s is not None and age_s < time.monotonic() - daemon.started_at
