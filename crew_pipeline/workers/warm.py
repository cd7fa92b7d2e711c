"""Days made in a warm process, which has the model loaded: each by a Dagster run that it executes itself."""

import gc
import logging
import os
import threading
import time
from collections.abc import Callable

from sqlalchemy.exc import SQLAlchemyError

from crew_pipeline.days import claims
from crew_pipeline.days.first_look import show_first_look
from crew_pipeline.days.planning import day_batch
from crew_pipeline.days.retries import Patience
from crew_pipeline.days.run import DayRun
from crew_pipeline.dedup.judging import PairScorer
from crew_pipeline.dedup.languages import MEASURED, is_judged
from crew_pipeline.dedup.neighbours import nearest_pairs
from crew_pipeline.dedup.pair_model import pair_model
from crew_pipeline.dedup.text_vectors import halves, text_vectors
from crew_pipeline.model import ClientDay, DayState, Trigger
from crew_pipeline.orchestration import tags
from crew_pipeline.orchestration.dagster_internals import new_run_id
from crew_pipeline.orchestration.runs import DayRunner
from crew_pipeline.settings import Settings
from crew_pipeline.storage.database import Database
from crew_pipeline.storage.days.queue import Work
from crew_pipeline.workers.maker import STUCK

logger = logging.getLogger(__name__)


class WarmMaker:
    """Makes days in this process, one at a time; see ``maker.Maker``."""

    def __init__(
        self, settings: Settings, db: Database, runner: DayRunner, leave: Callable[[int], object] = os._exit
    ) -> None:
        """Args:
        leave: ends the process at once, with an exit status.
        """
        self._settings = settings
        self._db = db
        self._runner = runner
        self._leave = leave
        self._patience = Patience.of(settings)
        self._tools = runner.tools(db)
        self._given_back: list[str] = []
        self._current: tuple[str, float] | None = None
        self._changing = threading.Lock()
        self._died: dict[str, float] = {}

    def make(self, work: Work) -> bool:
        """See ``Maker``."""
        run_id = new_run_id()
        if not self._take(work, run_id):
            return False
        self._now_at((run_id, time.monotonic()))
        try:
            with claims.heartbeat(self._db, run_id, self._settings.claim_ttl_s):
                self._show_first_look(work.client_day, run_id)
                self._run(work, run_id)
        except BaseException:
            self._given_back.append(run_id)
            raise
        finally:
            self._now_at(None)
        return True

    def _now_at(self, current: tuple[str, float] | None) -> None:
        with self._changing:
            self._current = current

    def tend(self) -> None:
        """Give back the days of a run that broke off because the database did not answer: they have not failed.

        Also tell Dagster of runs that died, once none of their claims has been kept alive for a while: a process that
        was only suspended goes on with its other days.
        """
        while self._given_back:
            with self._db.write() as connection:
                claims.give_back(connection, self._given_back[0], state=DayState.QUEUED)
            self._runner.close_dead([self._given_back[0]], "The database did not answer; the day is tried again.")
            self._given_back.pop(0)
        due = [token for token, at in self._died.items() if time.monotonic() >= at]
        if due:
            with self._db.read() as connection:
                dead = [token for token in due if not claims.lives(connection, token)]
            self._runner.close_dead(dead)
            for token in due:
                del self._died[token]

    def oversee(self, stopping_for_s: float | None) -> None:
        """End the process where its run hangs, or goes on for longer than a stop may take."""
        with self._changing:
            if self._current is not None:
                self._end_if_due(*self._current, stopping_for_s)

    def _end_if_due(self, run_id: str, started: float, stopping_for_s: float | None) -> None:
        if time.monotonic() - started > self._settings.stuck_after_s:
            error = f"the run did not end within {self._settings.stuck_after_s:.0f} s; its process was ended"
            logger.error("run %s: %s", run_id, error)
            self._end(run_id, error, lambda c: claims.settle_failure(c, run_id, error, self._patience, at_once=True))
            self._leave(STUCK)
        elif stopping_for_s is not None and stopping_for_s > self._settings.worker_grace_s:
            error = "The worker was told to stop; the day was given back."
            self._end(run_id, error, lambda c: claims.give_back(c, run_id, state=DayState.QUEUED))
            self._leave(0)

    def _end(self, run_id: str, error: str, settle: Callable[..., object]) -> None:
        """Settle the claims of a run and close it, as far as the database answers; a claim expires in any case."""
        try:
            with self._db.write() as connection:
                settle(connection)
            self._runner.close_dead([run_id], error)
        except Exception as failure:
            logger.warning("run %s was not closed (%s); its claim will expire", run_id, type(failure).__name__)

    def _take(self, work: Work, run_id: str) -> bool:
        client_day = work.client_day
        with self._db.write() as connection:
            taken = claims.take(connection, client_day, run_id, self._settings.claim_ttl_s, work.lines)
            died = claims.overtaken_tokens(connection, client_day) if taken else []
            hopeless = taken and self._patience.is_over_at_once(claims.failures_in_a_row(connection, client_day))
            if hopeless:
                error = "every process that worked at this day died or failed"
                claims.give_up(connection, client_day, run_id, error, self._patience)
        for token in died:
            self._died.setdefault(token, time.monotonic() + self._settings.claim_ttl_s)
        return taken and not hopeless

    def _show_first_look(self, client_day: ClientDay, run_id: str) -> None:
        try:
            with self._db.write() as connection:
                lines = self._tools.snapshots.read(connection, client_day, run_id)
        except SQLAlchemyError as error:
            logger.warning("%s: no first look (%s)", client_day, type(error).__name__)
            return
        if lines is not None:
            show_first_look(DayRun(self._tools, client_day, run_id), lines, logger.warning)

    def _run(self, work: Work, run_id: str) -> None:
        started = time.monotonic()
        outcome = self._runner.run(
            day_batch(work),
            trigger=Trigger.ON_DEMAND,
            client=work.client,
            force=True,
            run_id=run_id,
            more_tags=tags.on_demand_tags(self._settings, work.client),
        )
        seconds = time.monotonic() - started
        logger.info("%s: %d lines in %.2f s (run %s)", work.client_day, work.lines, seconds, run_id)
        with self._db.write() as connection:
            if not outcome.success:
                logger.error("%s: run %s failed: %s", work.client_day, run_id, outcome.error)
                error = outcome.error or "the run failed"
                claims.settle_failure(connection, run_id, error, self._patience, at_once=True)
            claims.give_back(connection, run_id)


def warm_up(scorer: PairScorer | None) -> None:
    """Load what the first run of this process would otherwise wait for, and exempt it from garbage collection.

    Args:
        scorer: the one that the runs use.
    """
    logging.getLogger("faiss.loader").setLevel(logging.WARNING)
    lines = ["a first line", "and a second one"]
    nearest_pairs(halves(text_vectors(lines)), [range(2)])
    import faiss  # noqa: F401, a larger day asks for it

    pair_model()
    is_judged(lines[0], MEASURED)
    if scorer is not None:
        scorer.logits([(lines[0], lines[1])])
    gc.collect()
    gc.freeze()
