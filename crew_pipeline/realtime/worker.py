"""The warm worker: a process with the model loaded that runs the day job for days that readers ask for.

One run at a time. It is woken by a notification and looks at the queue by itself every few seconds, so a lost
notification only costs seconds.
"""

import logging
import os
import signal
import threading
import time
import uuid
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime

import psutil
import psycopg
from sqlalchemy import Engine
from sqlalchemy.exc import OperationalError, SQLAlchemyError
from tenacity import retry, retry_if_exception_type, stop_after_delay, wait_exponential

from crew_pipeline.dedup.config import fingerprint_of
from crew_pipeline.dedup.neighbours import near_pairs
from crew_pipeline.dedup.pair_model import pair_model
from crew_pipeline.dedup.reader import reader_of
from crew_pipeline.dedup.static import word_vectors
from crew_pipeline.discovery.watch import watch
from crew_pipeline.orchestration.assets import ON_DEMAND
from crew_pipeline.orchestration.build import build_defs
from crew_pipeline.orchestration.instance import dagster_instance, prepare_home
from crew_pipeline.orchestration.resources import EmbeddingModel, build_resources
from crew_pipeline.orchestration.runs import DayRunner, day_batch, new_run_id
from crew_pipeline.settings import Settings
from crew_pipeline.storage import claims, queue, workers
from crew_pipeline.storage.access import Databases
from crew_pipeline.storage.database import libpq_url
from crew_pipeline.storage.events import REQUEST_CHANNEL
from crew_pipeline.storage.queue import Work

logger = logging.getLogger(__name__)

RECYCLED = 75
"""Exit status of a worker that has grown above the memory limit and wants to be started again."""

_BEAT_S = 5.0
_WATCH_S = 60.0


class Worker:
    """Takes days from the queue and runs them, until it is told to stop."""

    def __init__(
        self, settings: Settings, engine: Engine, runner: DayRunner, fingerprint: str, listen_url: str
    ) -> None:
        self.name = f"{os.uname().nodename}-{os.getpid()}-{uuid.uuid4().hex[:6]}"
        self._settings = settings
        self._engine = engine
        self._runner = runner
        self._fingerprint = fingerprint
        self._listen_url = listen_url
        self._stop = threading.Event()
        self._woken = threading.Event()

    def stop(self) -> None:
        """End after the run at hand."""
        self._stop.set()
        self._woken.set()

    def serve(self) -> int:
        """Work until stopped; returns the exit status."""
        for target in (self._beat, self._listen, self._watch):
            threading.Thread(target=target, name=target.__name__, daemon=True).start()
        while not self._stop.is_set():
            self._woken.clear()
            try:
                worked = self.work_once()
            except OperationalError as error:
                logger.warning("the database does not answer (%s); trying again", type(error).__name__)
                worked = False
            if resident_mb() > self._settings.memory_limit_mb:
                logger.warning("resident memory %d MiB is above the limit; starting anew", resident_mb())
                return RECYCLED
            if not worked:
                self._woken.wait(self._settings.poll_s)
        return 0

    def work_once(self) -> bool:
        """Run the most urgent day that was asked for; whether there was one."""
        for work in self._waiting():
            run_id = new_run_id()
            with self._engine.begin() as connection:
                claimed = claims.acquire(connection, work.unit, run_id, self._settings.claim_ttl_s, work.lines)
                died = claims.overtaken_tokens(connection, work.unit) if claimed else []
                given_up = (
                    claimed and claims.failures_in_a_row(connection, work.unit) > self._settings.on_demand_retries
                )
                if given_up:
                    claims.fail(connection, work.unit, run_id, "every process that worked at this day died or failed")
            self._runner.close_dead(died)
            if claimed and not given_up:
                self._run(work, run_id)
                return True
        return False

    def _waiting(self) -> list[Work]:
        with self._engine.connect() as connection:
            return queue.work(connection, self._fingerprint, urgent=True, most=8)

    def _run(self, work: Work, run_id: str) -> None:
        started = time.monotonic()
        outcome = self._runner.run(day_batch(work), trigger=ON_DEMAND, client=work.client, force=True, run_id=run_id)
        seconds = time.monotonic() - started
        logger.info("%s, %s: %d lines in %.2f s (run %s)", work.client, work.day, work.lines, seconds, run_id)
        with self._engine.begin() as connection:
            if not outcome.success:
                logger.error("%s, %s: run %s failed: %s", work.client, work.day, run_id, outcome.error)
                retries = self._settings.on_demand_retries
                claims.settle_failure(connection, run_id, outcome.error or "the run failed", retries, status="queued")
            claims.give_back(connection, run_id)

    def _beat(self) -> None:
        while True:
            try:
                with self._engine.begin() as connection:
                    workers.beat(connection, self.name, resident_mb())
            except OperationalError:
                logger.debug("no heartbeat: the database does not answer")
            if self._stop.wait(_BEAT_S):
                return

    def _watch(self) -> None:
        """Look after discovery from here as well: a daemon that is dead does not tell that it is silent."""
        while not self._stop.wait(_WATCH_S):
            try:
                watch(self._engine, self._settings, datetime.now(UTC))
            except SQLAlchemyError as error:
                logger.debug("discovery was not looked after: %s", type(error).__name__)

    def _listen(self) -> None:
        while not self._stop.is_set():
            try:
                with psycopg.connect(self._listen_url, autocommit=True) as connection:
                    connection.execute(f"LISTEN {REQUEST_CHANNEL}")
                    self._woken.set()
                    while not self._stop.is_set():
                        for _ in connection.notifies(timeout=_BEAT_S):
                            self._woken.set()
            except psycopg.Error:
                self._stop.wait(1.0)


def resident_mb() -> int:
    """Resident memory of this process (MiB)."""
    return int(psutil.Process().memory_info().rss / 2**20)


@retry(retry=retry_if_exception_type(OperationalError), stop=stop_after_delay(60), wait=wait_exponential(max=5))
def _wait_for_database(engine: Engine) -> None:
    with engine.connect():
        return


def run_worker(settings: Settings, databases: Databases) -> int:
    """Load the model, then serve until SIGTERM or SIGINT; returns the exit status."""
    os.environ.update(databases.environment())
    _wait_for_database(databases.engine)
    _warm_up(settings)
    with dagster_instance(prepare_home(settings)) as instance:
        runner = DayRunner(build_defs(settings), instance)
        worker = Worker(settings, databases.engine, runner, fingerprint_of(settings), libpq_url(databases.application))
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: worker.stop())
        logger.info("worker %s is ready (%d MiB)", worker.name, resident_mb())
        status = _serve_beside(worker)
        with databases.engine.begin() as connection:
            workers.leave(connection, worker.name)
    return status


def _serve_beside(worker: Worker) -> int:
    """Serve in a thread of its own: in the main thread Dagster would take the signals for itself and, asked to stop,
    interrupt the step, retry it, and count the day as failed."""
    with ThreadPoolExecutor(max_workers=1, thread_name_prefix="runs") as runs:
        return runs.submit(worker.serve).result()


def _warm_up(settings: Settings) -> None:
    """Load what the first run would otherwise wait for."""
    embedding_model: EmbeddingModel = build_resources(settings)["embedding_model"]
    encoder = embedding_model.encoder
    logging.getLogger("faiss.loader").setLevel(logging.WARNING)
    lines = ["a first line", "and a second one"]
    near_pairs(encoder.encode(lines), 0.5)
    word_vectors(lines)
    pair_model()
    if (reader := reader_of(settings.reader, encoder)) is not None:
        reader.logits([(lines[0], lines[1])])
