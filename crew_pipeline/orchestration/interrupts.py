"""Work that can be told to stop: it goes on in a thread of its own, which nothing interrupts.

In the main thread Dagster takes the signals for itself and raises in the midst of whatever is computed. A library that
is just being loaded does not survive that; and where the step has a retry policy, Dagster begins it again.
"""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from typing import TypeVar

from dagster import DagsterExecutionInterruptedError

T = TypeVar("T")

INTERRUPTS = (KeyboardInterrupt, DagsterExecutionInterruptedError)
_LOOK_S = 0.2


def in_thread(work: Callable[[], T]) -> T:
    """What ``work`` returns, from a thread of its own where this is the main thread.

    Raises:
        KeyboardInterrupt, DagsterExecutionInterruptedError: the process was told to stop; the thread goes on, and is
            gone with the process.
    """
    if threading.current_thread() is not threading.main_thread():
        return work()
    done: Future[T] = Future()

    def run() -> None:
        try:
            done.set_result(work())
        except BaseException as error:
            done.set_exception(error)

    threading.Thread(target=run, name="day-work", daemon=True).start()
    while not done.done():
        with contextlib.suppress(TimeoutError):
            return done.result(timeout=_LOOK_S)
    return done.result()


@contextlib.contextmanager
def terminated_as_interrupted() -> Iterator[None]:
    """Let SIGTERM do what Ctrl-C does, as long as the block lasts."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
