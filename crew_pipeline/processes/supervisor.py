"""Everything on one machine: starts the processes, keeps them alive, stops all of them.

Each child leads a process group of its own, so that what it started (Dagster's code servers, runs) is stopped with it.
A child whose supervisor is killed is told to stop by the system, where that is Linux.
"""

from __future__ import annotations

import ctypes
import logging
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

logger = logging.getLogger(__name__)

GRACE_S = 12.0
_LOOK_S = 0.2
_UPKEEP_S = 1.0
_PR_SET_PDEATHSIG = 1
_BACKOFF_S = (0.5, 1, 2, 5, 10, 30)
_STEADY_AFTER_S = 60.0
_DEATHS_AT_START = 3
"""The start fails when a process ends so often before it is ready; a single death may have any cause."""


class StartError(RuntimeError):
    """A process does not come up; the message names it and where its output is."""


@dataclass
class Child:
    """A process to keep running.

    Attributes:
        command: its arguments.
        ready: says whether it does its work; where it raises, it cannot tell yet and is asked again.
        log: where its output goes; None: where ours goes.
        again: exit status by which it asks to be started anew.
    """

    name: str
    command: Sequence[str]
    ready: Callable[[], bool]
    log: Path | None = None
    again: int | None = None
    process: subprocess.Popen[bytes] | None = None
    started_at: float = 0.0
    deaths: int = 0
    restart_at: float | None = None
    _output: IO[bytes] | None = field(default=None, repr=False)

    def start(self, environment: dict[str, str]) -> None:
        """Start it, in a process group of its own."""
        if self._output is None and self.log is not None:
            self._output = self.log.open("ab")
        self.process = subprocess.Popen(  # noqa: S603 - the command is ours
            self.command,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=self._output,
            stderr=subprocess.STDOUT if self._output else None,
            start_new_session=True,
            preexec_fn=_die_with_parent if sys.platform == "linux" else None,  # noqa: PLW1509 - one system call
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
        self._upkeep: Callable[[], object] = lambda: None
        self._kept_up_at = 0.0
        self._grace_s = GRACE_S

    def watch(
        self,
        children: Sequence[Child],
        environment: dict[str, str],
        upkeep: Callable[[], object] = lambda: None,
        grace_s: float = GRACE_S,
    ) -> None:
        """Take over ``children``, to be run with ``environment``.

        Args:
            upkeep: called every second while they run.
            grace_s: how long they may take to stop when they are asked to (s).
        """
        self._children = list(children)
        self._environment = environment
        self._upkeep = upkeep
        self._grace_s = grace_s

    def request_stop(self) -> None:
        """Stop at the next look; safe to call from a signal handler."""
        self._stopping = True

    def stop_on_signals(self) -> None:
        """Let SIGINT and SIGTERM stop everything."""
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, lambda *_: self.request_stop())

    def start(self, within_s: float, on_ready: Callable[[str], None]) -> bool:
        """Start all and wait until each is ready. One that ends meanwhile is started again, as it would be later.

        Returns:
            False where a stop was asked for meanwhile.

        Raises:
            StartError: one of them ends again and again before it is ready, or is not ready in time.
        """
        for child in self._children if not self._stopping else ():
            child.start(self._environment)
        waiting = list(self._children)
        deadline = time.monotonic() + within_s
        while waiting and not self._stopping:
            self._keep_up()
            for child in self._children:
                self._look_after(child)
                if child in waiting and child.deaths >= _DEATHS_AT_START:
                    raise StartError(
                        f"{child.name} does not start: it ended {child.deaths} times in a row{_output_of(child)}."
                    )
                if child in waiting and child.restart_at is None and _is_ready(child):
                    waiting.remove(child)
                    on_ready(child.name)
            if time.monotonic() > deadline:
                raise StartError(f"{waiting[0].name} is not ready after {within_s:.0f} s{_output_of(waiting[0])}.")
            time.sleep(_LOOK_S)
        return not self._stopping

    def run(self) -> None:
        """Keep the children alive until a stop is asked for."""
        while not self._stopping:
            self._keep_up()
            for child in self._children:
                self._look_after(child)
            time.sleep(_LOOK_S)

    def start_anew(self, names: Collection[str], variables: Mapping[str, str]) -> None:
        """Stop some of the children, politely if they let themselves, and start them with other variables."""
        self._environment |= variables
        chosen = [child for child in self._children if child.name in names]
        _end(chosen, self._grace_s)
        for child in chosen:
            child.start(self._environment)

    def stop(self) -> None:
        """Stop everything: politely, then by force. Afterwards nothing that was started is left."""
        _end(self._children, self._grace_s)

    def _keep_up(self) -> None:
        if time.monotonic() - self._kept_up_at < _UPKEEP_S:
            return
        self._kept_up_at = time.monotonic()
        try:
            self._upkeep()
        except Exception as error:
            logger.warning("%s; trying again", error)

    def _look_after(self, child: Child) -> None:
        now = time.monotonic()
        if child.restart_at is not None:
            if now >= child.restart_at:
                child.start(self._environment)
            return
        if child.process is None or child.process.poll() is None:
            return
        if child.process.returncode == child.again:
            child.start(self._environment)
            return
        child.deaths = 1 if now - child.started_at > _STEADY_AFTER_S else child.deaths + 1
        delay = _BACKOFF_S[min(child.deaths, len(_BACKOFF_S)) - 1]
        logger.warning(
            "%s ended with status %s; starting it again in %s s", child.name, child.process.returncode, delay
        )
        child.signal_group(signal.SIGKILL)
        child.restart_at = now + delay


def _end(children: Sequence[Child], grace_s: float) -> None:
    for child in children:
        child.signal_group(signal.SIGTERM)
    deadline = time.monotonic() + grace_s
    while any(child.group_alive() for child in children) and time.monotonic() < deadline:
        time.sleep(_LOOK_S / 2)
    for child in children:
        child.signal_group(signal.SIGKILL)
        if child.process is not None:
            child.process.wait()


def _is_ready(child: Child) -> bool:
    try:
        return child.ready()
    except Exception as error:
        logger.debug("whether %s is ready cannot be told yet: %s", child.name, error)
        return False


def _output_of(child: Child) -> str:
    return f"; its output is in {child.log}" if child.log else "; its output is above"


def _die_with_parent() -> None:
    """Have the system send this process SIGTERM when its parent dies."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
