"""Everything on one machine: starts the processes, keeps them alive, stops all of them.

Each child leads a process group of its own, so that what it started (Dagster's code servers, runs) is stopped with it.
"""

from __future__ import annotations

import logging
import os
import signal
import subprocess
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

logger = logging.getLogger(__name__)

_GRACE_S = 12.0
_LOOK_S = 0.2
_BACKOFF_S = (0.5, 1, 2, 5, 10, 30)
_STEADY_AFTER_S = 60.0


class StartError(RuntimeError):
    """A process does not come up; the message names it and where its output is."""


@dataclass
class Child:
    """A process to keep running.

    Attributes:
        command: its arguments.
        ready: says whether it does its work.
        log: where its output goes.
    """

    name: str
    command: Sequence[str]
    ready: Callable[[], bool]
    log: Path
    process: subprocess.Popen[bytes] | None = None
    started_at: float = 0.0
    deaths: int = 0
    restart_at: float | None = None
    _output: IO[bytes] | None = field(default=None, repr=False)

    def start(self, environment: dict[str, str]) -> None:
        """Start it, in a process group of its own."""
        if self._output is None:
            self._output = self.log.open("ab")
        self.process = subprocess.Popen(  # noqa: S603 - the command is ours
            self.command,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=self._output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        self.started_at = time.monotonic()
        self.restart_at = None

    def signal_group(self, number: signal.Signals) -> None:
        """Send a signal to it and to all that it started."""
        if self.process is not None:
            try:
                os.killpg(self.process.pid, number)
            except ProcessLookupError:
                return

    def group_alive(self) -> bool:
        """Whether anything of its process group is left."""
        if self.process is None:
            return False
        self.process.poll()
        try:
            os.killpg(self.process.pid, 0)
        except ProcessLookupError:
            return False
        return True


class Supervisor:
    """Runs the children until it is told to stop."""

    def __init__(self) -> None:
        self._children: list[Child] = []
        self._environment: dict[str, str] = {}
        self._stopping = False

    def watch(self, children: Sequence[Child], environment: dict[str, str]) -> None:
        """Take over ``children``, to be run with ``environment``."""
        self._children = list(children)
        self._environment = environment

    def request_stop(self) -> None:
        """Stop at the next look; safe to call from a signal handler."""
        self._stopping = True

    def start(self, within_s: float, on_ready: Callable[[str], None]) -> bool:
        """Start all and wait until each is ready.

        Returns:
            False where a stop was asked for meanwhile.

        Raises:
            StartError: one of them ends or is not ready in time.
        """
        for child in self._children if not self._stopping else ():
            child.start(self._environment)
        waiting = list(self._children)
        deadline = time.monotonic() + within_s
        while waiting and not self._stopping:
            for child in list(waiting):
                if child.process is not None and child.process.poll() is not None:
                    raise StartError(f"{child.name} ended at once; its output is in {child.log}.")
                if child.ready():
                    waiting.remove(child)
                    on_ready(child.name)
            if time.monotonic() > deadline:
                raise StartError(
                    f"{waiting[0].name} is not ready after {within_s:.0f} s; its output is in {waiting[0].log}."
                )
            time.sleep(_LOOK_S)
        return not self._stopping

    def run(self) -> None:
        """Keep the children alive until a stop is asked for."""
        while not self._stopping:
            for child in self._children:
                self._look_after(child)
            time.sleep(_LOOK_S)

    def stop(self) -> None:
        """Stop everything: politely, then not. Afterwards nothing that was started is left."""
        for child in self._children:
            child.signal_group(signal.SIGTERM)
        deadline = time.monotonic() + _GRACE_S
        while any(child.group_alive() for child in self._children) and time.monotonic() < deadline:
            time.sleep(_LOOK_S / 2)
        for child in self._children:
            child.signal_group(signal.SIGKILL)
            if child.process is not None:
                child.process.wait()

    def _look_after(self, child: Child) -> None:
        now = time.monotonic()
        if child.restart_at is not None:
            if now >= child.restart_at:
                child.start(self._environment)
            return
        if child.process is None or child.process.poll() is None:
            return
        child.deaths = 1 if now - child.started_at > _STEADY_AFTER_S else child.deaths + 1
        delay = _BACKOFF_S[min(child.deaths, len(_BACKOFF_S)) - 1]
        logger.warning(
            "%s ended with status %s; starting it again in %s s", child.name, child.process.returncode, delay
        )
        child.signal_group(signal.SIGKILL)
        child.restart_at = now + delay
