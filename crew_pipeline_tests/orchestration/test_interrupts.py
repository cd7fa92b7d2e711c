"""What is told to stop stops: nothing is raised in the midst of what is computed, nothing is begun again."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time

import pytest
from dagster import DagsterExecutionInterruptedError, Failure

from crew_pipeline.orchestration.failures import permanent_errors_end_at_once
from crew_pipeline.orchestration.interrupts import in_thread, terminated_as_interrupted


def test_work_gives_back_what_it_returns_and_raises() -> None:
    assert in_thread(lambda: 42) == 42
    with pytest.raises(ZeroDivisionError):
        in_thread(lambda: 1 // 0)
    with pytest.raises(TimeoutError, match="its own"):
        in_thread(lambda: (_ for _ in ()).throw(TimeoutError("its own")))


def test_work_of_another_thread_stays_there() -> None:
    seen: list[threading.Thread] = []
    thread = threading.Thread(target=lambda: in_thread(lambda: seen.append(threading.current_thread())))
    thread.start()
    thread.join()
    assert seen == [thread]


@pytest.mark.parametrize("interrupt", [KeyboardInterrupt, DagsterExecutionInterruptedError])
def test_being_told_to_stop_is_never_tried_again(interrupt: type[BaseException]) -> None:
    with pytest.raises(Failure, match="told to stop") as failed, permanent_errors_end_at_once("token"):
        raise interrupt
    assert failed.value.allow_retries is False


STOPPED = """
import signal
import time
from crew_pipeline.orchestration.interrupts import in_thread, terminated_as_interrupted
# A shell that starts this in the background has it ignore Ctrl-C.
signal.signal(signal.SIGINT, signal.default_int_handler)
done = []
def work():
    print("begun", flush=True)
    time.sleep(1.5)
    done.append("to its end")
try:
    with terminated_as_interrupted():
        in_thread(work)
except KeyboardInterrupt:
    print("stopped, with", done, flush=True)
    time.sleep(2)
    print("the thread has come", *done, flush=True)
"""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_nothing_is_raised_within_the_work_itself(number: signal.Signals) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", STOPPED], stdout=subprocess.PIPE, text=True, env=os.environ
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "begun\n"
        time.sleep(0.1)
        process.send_signal(number)
        assert process.stdout.read() == "stopped, with []\nthe thread has come to its end\n"


def test_sigterm_is_as_before_afterwards() -> None:
    before = signal.getsignal(signal.SIGTERM)
    with terminated_as_interrupted():
        assert signal.getsignal(signal.SIGTERM) is signal.default_int_handler
    assert signal.getsignal(signal.SIGTERM) is before
