"""The warm worker: a process that has the days made that visitors ask for.

It is woken by a notification and looks at the queue by itself every few seconds, so a lost notification only costs
seconds.
"""

import logging
import os
import signal
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from datetime import UTC, datetime

import psutil
import psycopg
from dagster import DagsterInstance
from sqlalchemy.exc import SQLAlchemyError
from tenacity import retry, retry_if_exception_type, stop_after_delay, wait_exponential

from crew_pipeline.dedup.config import fingerprint_of
from crew_pipeline.orchestration.build import build_defs
from crew_pipeline.orchestration.instance import dagster_instance, prepare_home
from crew_pipeline.orchestration.partitions import any_day
from crew_pipeline.orchestration.runs import DayRunner
from crew_pipeline.orchestration.upkeep.assets import look_after
from crew_pipeline.settings import Settings
from crew_pipeline.storage.database import UNANSWERED, Database, does_not_answer
from crew_pipeline.storage.days import queue
from crew_pipeline.storage.days.events import REQUEST_CHANNEL
from crew_pipeline.storage.opening import Databases
from crew_pipeline.storage.upkeep import workers
from crew_pipeline.upkeep.alerts import watch_discovery
from crew_pipeline.workers.maker import RECYCLED, Maker
from crew_pipeline.workers.warm import WarmMaker, warm_up

logger = logging.getLogger(__name__)

_BEAT_S = 5.0
_WATCH_S = 60.0
_OVERSEE_S = 1.0
_LOOKED_AT = 8


class Worker:
    """Takes days from the queue and has them made, until it is told to stop."""

    def __init__(
        self,
        settings: Settings,
        db: Database,
        maker: Maker,
        fingerprint: str,
        watches: Sequence[Callable[[], object]] = (),
    ) -> None:
        """Args:
        watches: what is looked after every minute from here as well, since a dead daemon does not tell it.
        """
        self.name = workers.name_of(os.getpid())
        self._settings = settings
        self._db = db
        self._maker = maker
        self._fingerprint = fingerprint
        self._watches = watches
        self._parent = os.getppid()
        self._stop = threading.Event()
        self._stopped_at = 0.0
        self._woken = threading.Event()

    def stop(self) -> None:
        """End after the run at hand."""
        if not self._stop.is_set():
            self._stopped_at = time.monotonic()
        self._stop.set()
        self._woken.set()

    def serve(self) -> int:
        """Work until stopped; returns the exit status."""
        done = threading.Event()
        for target in (self._beat, self._listen, self._watch, self._oversee):
            threading.Thread(target=target, args=(done,), name=target.__name__, daemon=True).start()
        try:
            return self._serve()
        finally:
            done.set()

    def _serve(self) -> int:
        limit_mb = self._limit_mb()
        try:
            return self._serve_until_stopped(limit_mb)
        finally:
            with suppress(Exception):
                self._maker.tend()  # what a run left behind is given back, not left to expire

    def _limit_mb(self) -> int:
        """The memory above which to start anew: always more than the models take, or it would go on for ever."""
        limit, present = self._settings.memory_limit_mb, resident_mb()
        if present <= limit:
            return limit
        logger.warning(
            "the models alone take %d MiB, more than CREW_MEMORY_LIMIT_MB=%d; set it to %d",
            present,
            limit,
            present + 300,
        )
        return present + 300

    def _serve_until_stopped(self, limit_mb: int) -> int:
        while not self._stop.is_set():
            self._woken.clear()
            worked = False
            try:
                self._maker.tend()
                worked = self.work_once()
            except Exception as error:
                if not does_not_answer(error):
                    raise
                logger.warning("the database does not answer (%s); trying again", type(error).__name__)
            if worked and resident_mb() > limit_mb:
                logger.warning("resident memory %d MiB is above the limit; starting anew", resident_mb())
                return RECYCLED
            if not worked:
                self._woken.wait(self._settings.poll_s)
        return 0

    def work_once(self) -> bool:
        """Have the most urgent requested day made; returns whether there was one."""
        with self._db.read() as connection:
            waiting = queue.work(connection, self._fingerprint, which="urgent", most=_LOOKED_AT)
        return any(self._maker.make(work) for work in waiting)

    def _beat(self, done: threading.Event) -> None:
        while True:
            try:
                with self._db.write() as connection:
                    workers.beat(connection, self.name, resident_mb())
            except SQLAlchemyError as error:
                logger.debug("no heartbeat (%s)", type(error).__name__)
            if done.wait(_BEAT_S):
                return

    def _watch(self, done: threading.Event) -> None:
        while not done.wait(_WATCH_S):
            for watch_over in self._watches:
                try:
                    watch_over()
                except Exception as error:
                    logger.log(
                        logging.DEBUG if does_not_answer(error) else logging.ERROR,
                        "something was not looked after: %s",
                        type(error).__name__,
                    )

    def _oversee(self, done: threading.Event) -> None:
        """Stop when whoever started this process is gone, and end a run that hangs or outlasts a stop."""
        while not done.wait(_OVERSEE_S):
            if os.getppid() != self._parent:
                self.stop()
            self._maker.oversee(time.monotonic() - self._stopped_at if self._stop.is_set() else None)

    def _listen(self, done: threading.Event) -> None:
        while not done.is_set():
            try:
                with self._db.listening(REQUEST_CHANNEL) as connection:
                    self._woken.set()
                    while not done.is_set():
                        for _ in connection.notifies(timeout=_BEAT_S):
                            self._woken.set()
            except psycopg.Error:
                done.wait(1.0)


def resident_mb() -> int:
    """Resident memory of this process (MiB)."""
    return int(psutil.Process().memory_info().rss / 2**20)


@retry(retry=retry_if_exception_type(UNANSWERED), stop=stop_after_delay(60), wait=wait_exponential(max=5))
def _wait_for_database(db: Database) -> None:
    with db.read():
        return


def run_worker(settings: Settings, databases: Databases) -> int:
    """Load the model, then serve until SIGTERM or SIGINT; returns the exit status."""
    os.environ.update(databases.environment())
    _wait_for_database(databases.db)
    definitions = build_defs(any_day(settings))
    warm_up((definitions.resources or {})["scorer"])
    with dagster_instance(prepare_home(settings)) as instance:
        maker = WarmMaker(settings, databases.db, DayRunner(definitions, instance))
        return run_until_stopped(settings, databases, maker, instance)


def run_until_stopped(settings: Settings, databases: Databases, maker: Maker, instance: DagsterInstance) -> int:
    """Serve with ``maker`` until SIGTERM or SIGINT; returns the exit status."""
    db = databases.db
    worker = Worker(
        settings,
        db,
        maker,
        fingerprint_of(settings),
        (lambda: watch_discovery(db, settings, datetime.now(UTC)), lambda: look_after(db, settings, instance)),
    )
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: worker.stop())
    logger.info("worker %s is ready (%d MiB)", worker.name, resident_mb())
    status = _beside(worker.serve)
    with databases.db.write() as connection:
        workers.leave(connection, worker.name)
    return status


def _beside(serve: Callable[[], int]) -> int:
    """Serve in a thread of its own: in the main thread Dagster would take the signals for itself and, asked to stop,
    interrupt the step, retry it, and count the day as failed."""
    with ThreadPoolExecutor(max_workers=1, thread_name_prefix="runs") as runs:
        return runs.submit(serve).result()
