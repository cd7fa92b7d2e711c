"""Processes are started together: one that dies while it starts comes again, one that keeps dying ends the start."""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from crew_pipeline.processes.supervisor import Child, StartError, Supervisor

LIVES = "import time; time.sleep(60)"


@pytest.fixture
def supervisor() -> Iterator[Supervisor]:
    # Runs of other tests leave the signal ignored, which a process that is started inherits.
    before = signal.signal(signal.SIGTERM, signal.SIG_DFL)
    made = Supervisor()
    yield made
    made.stop()
    signal.signal(signal.SIGTERM, before)


def child(folder: Path, name: str, program: str) -> Child:
    """A process that is ready once it has written its sign."""
    sign = folder / f"{name} is ready"
    ready = f"open({str(sign)!r}, 'w').close()"
    return Child(name, [sys.executable, "-c", program.format(ready=ready)], sign.exists, folder / f"{name}.log")


def test_one_that_dies_while_it_starts_is_started_again(supervisor: Supervisor, tmp_path: Path) -> None:
    died = tmp_path / "died"
    dies_once = (
        f"import os, signal\nif not os.path.exists({str(died)!r}):\n    open({str(died)!r}, 'w').close()\n"
        f"    os.kill(os.getpid(), signal.SIGKILL)\n{{ready}}\n{LIVES}"
    )
    ready: list[str] = []
    supervisor.watch(
        [child(tmp_path, "steady", f"{{ready}}; {LIVES}"), child(tmp_path, "once", dies_once)], dict(os.environ)
    )
    assert supervisor.start(30, ready.append)
    assert sorted(ready) == ["once", "steady"]
    assert died.exists()


def test_one_that_keeps_dying_ends_the_start_and_is_named(supervisor: Supervisor, tmp_path: Path) -> None:
    starts = tmp_path / "starts"
    program = f"open({str(starts)!r}, 'a').write('x'); raise SystemExit(3)"
    steady = child(tmp_path, "steady", f"{{ready}}; {LIVES}")
    supervisor.watch([steady, child(tmp_path, "broken", program)], dict(os.environ))
    with pytest.raises(StartError, match=r"broken does not start: it ended 3 times .*broken\.log"):
        supervisor.start(30, lambda _: None)
    assert starts.read_text() == "xxx"
    supervisor.stop()
    assert not steady.group_alive()


def test_one_that_is_never_ready_ends_the_start_when_its_time_is_over(supervisor: Supervisor, tmp_path: Path) -> None:
    supervisor.watch([child(tmp_path, "slow", LIVES)], dict(os.environ))
    with pytest.raises(StartError, match="slow is not ready after 1 s"):
        supervisor.start(1, lambda _: None)


def test_a_check_that_cannot_tell_yet_is_asked_again(supervisor: Supervisor, tmp_path: Path) -> None:
    asked: list[int] = []

    def ready() -> bool:
        asked.append(1)
        if len(asked) == 1:
            raise ConnectionError("the database is being started again")
        return True

    supervisor.watch([Child("daemon", [sys.executable, "-c", LIVES], ready, tmp_path / "log")], dict(os.environ))
    assert supervisor.start(30, lambda _: None)
    assert len(asked) == 2


def test_a_process_that_was_ready_and_keeps_dying_does_not_end_the_start_of_the_others(
    supervisor: Supervisor, tmp_path: Path
) -> None:
    starts = tmp_path / "starts"
    dies = f"open({str(starts)!r}, 'a').write('x')"
    once_ready = Child("dies", [sys.executable, "-c", dies], lambda: True, tmp_path / "log")
    waits = Child(
        "waits", [sys.executable, "-c", LIVES], lambda: starts.exists() and len(starts.read_text()) > 3, tmp_path / "l"
    )
    supervisor.watch([once_ready, waits], dict(os.environ))
    assert supervisor.start(30, lambda _: None)


def test_some_are_started_anew_with_other_variables_and_the_others_go_on(
    supervisor: Supervisor, tmp_path: Path
) -> None:
    told = tmp_path / "told"
    program = f"import os; open({str(told)!r}, 'a').write(os.environ.get('NEWS', 'none') + ' '); {{ready}}; {LIVES}"
    renewed, steady = child(tmp_path, "renewed", program), child(tmp_path, "steady", f"{{ready}}; {LIVES}")
    supervisor.watch([renewed, steady], dict(os.environ))
    assert supervisor.start(30, lambda _: None)
    before = [each.process.pid for each in (renewed, steady) if each.process]
    supervisor.start_anew(["renewed"], {"NEWS": "good"})
    deadline = time.monotonic() + 30
    while told.read_text() != "none good " and time.monotonic() < deadline:
        time.sleep(0.05)
    assert told.read_text() == "none good "
    after = [each.process.pid for each in (renewed, steady) if each.process]
    assert (after[0] != before[0], after[1] == before[1]) == (True, True)
    assert renewed.deaths == 0
