"""Days that visitors ask for, made by a Dagster deployment: each is submitted as a run that its run launcher executes.

What is under way is known to the deployment and the database; this process only keeps alive the claims of runs that
have not started, and settles those that ended. Where it dies, another one goes on with the runs that it submitted.
"""

from __future__ import annotations

import logging
import os
import time
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection
from sqlalchemy.exc import SQLAlchemyError

from crew_pipeline.days import claims
from crew_pipeline.days.planning import day_batch
from crew_pipeline.days.retries import Patience
from crew_pipeline.deployment.graphql import Deployment, DeploymentError, RunState, UnclearError
from crew_pipeline.model import DayState
from crew_pipeline.orchestration import tags
from crew_pipeline.orchestration.instance import dagster_instance, prepare_home
from crew_pipeline.settings import Settings
from crew_pipeline.storage.database import Database
from crew_pipeline.storage.days.queue import Work
from crew_pipeline.storage.opening import Databases
from crew_pipeline.workers.worker import run_until_stopped

logger = logging.getLogger(__name__)

UNCLEAR_S = 30.0
"""How long a launch without an answer may still become a run (s); after that the day is submitted anew."""
LONGEST_PAUSE_S = 15.0
"""Longest pause after requests that the deployment did not answer (s)."""
ABOVE_BACKGROUND = 10
"""What a visitor who waits adds to a run's priority; background runs have 0 to 3."""

_UNKNOWN = "unknown"
_Settle = Callable[[Connection, str, str], None]


@dataclass
class _Submitted:
    """A run that was asked for.

    Attributes:
        run_id: None while it is not known whether there is one.
        since: when it was asked for (s, monotonic).
    """

    run_id: str | None
    since: float


class DagsterMaker:
    """Has days made by the runs of a Dagster deployment; see ``maker.Maker``.

    A run that starts goes on with the claim which was made for it (``tags.CLAIM``) and keeps it alive itself. One that
    starts after its claim was lost finds the day taken, or made, and ends without touching it.
    """

    def __init__(
        self, settings: Settings, db: Database, deployment: Deployment, *, unclear_s: float = UNCLEAR_S
    ) -> None:
        self._settings = settings
        self._db = db
        self._deployment = deployment
        self._unclear_s = unclear_s
        self._patience = Patience.of(settings)
        self._submitted: dict[str, _Submitted] = {}
        self._looking = _Pause()
        self._launching = _Pause()
        self._look_at = 0.0
        self._keep_at = 0.0

    def make(self, work: Work) -> bool:
        """Claim a day and submit its run; False where somebody else has it, or the deployment is to be left alone."""
        full = len(self._submitted) >= self._settings.dagster_max_submitted
        if full or self._looking.lasts or self._launching.lasts:
            return False
        token = str(uuid.uuid4())
        if not self._take(work, token):
            return False
        # Known before it is launched, so that its claim is kept alive meanwhile.
        submitted = self._submitted[token] = _Submitted(None, time.monotonic())
        try:
            submitted.run_id = self._deployment.launch(*self._run_of(work, token))
        except DeploymentError as error:
            self._put_off(self._launching, error)
            if not isinstance(error, UnclearError):
                self._give_back(token)
            return False
        self._launching.end()
        logger.info("%s: submitted as run %s (%d lines)", work.client_day, submitted.run_id, work.lines)
        return True

    def tend(self) -> None:
        """Keep claims alive, ask the deployment how its runs are, and settle those that have ended."""
        self._keep_claims()
        asked_at = time.monotonic()
        if self._looking.lasts or asked_at < self._look_at:
            return
        self._look_at = asked_at + self._settings.poll_s
        try:
            runs = self._deployment.runs([run.run_id for run in self._submitted.values() if run.run_id])
        except DeploymentError as error:
            self._put_off(self._looking, error)
            return
        self._looking.end()
        self._adopt(runs)
        statuses = {run.run_id: run.status for run in runs}
        for token, submitted in list(self._submitted.items()):
            settle = self._settlement(submitted, statuses, asked_at)
            if settle is not None:
                with self._db.write() as connection:
                    settle(connection, token, submitted.run_id or token)
                del self._submitted[token]

    def oversee(self, stopping_for_s: float | None) -> None:
        """Keep claims alive also while the deployment takes its time to answer; there is nothing here to end."""
        try:
            self._keep_claims()
        except SQLAlchemyError as error:
            logger.debug("claims were not kept alive: %s", type(error).__name__)

    def _take(self, work: Work, token: str) -> bool:
        with self._db.write() as connection:
            if not claims.acquire(connection, work.client_day, token, self._settings.claim_ttl_s, work.lines):
                return False
            died = claims.overtaken_tokens(connection, work.client_day)
            hopeless = self._patience.is_over_at_once(claims.failures_in_a_row(connection, work.client_day))
            if hopeless:
                error = "every run that worked at this day died or failed"
                claims.give_up(connection, work.client_day, token, error, self._patience)
        self._end_dead(died)
        return not hopeless

    def _run_of(self, work: Work, token: str) -> tuple[dict[str, Any], dict[str, str]]:
        """Configuration and tags of the run. Not forced: a run that is late should see whether work is left."""
        batch = day_batch(work)
        return tags.with_console(tags.day_config(client=work.client), "WARNING"), {
            **tags.partition_tags(batch),
            **tags.on_demand_tags(self._settings, work.client),
            tags.PRIORITY: str(ABOVE_BACKGROUND + batch.priority),
            tags.CELERY_QUEUE: tags.URGENT,
            tags.CLAIM: token,
            # The day is tried again from here; Dagster's own retry of the run would be one more.
            tags.RUN_RETRIES: "0",
            tags.MAX_RUNTIME: f"{self._settings.stuck_after_s:.0f}",
        }

    def _keep_claims(self) -> None:
        """Prolong the claims of runs that have not started; once a run has, its claim is another's."""
        if not self._submitted or time.monotonic() < self._keep_at:
            return
        with self._db.write() as connection:
            # In order, so that two dispatchers do not wait for each other.
            for token in sorted(self._submitted):
                claims.prolong(connection, token, self._settings.claim_ttl_s)
        self._keep_at = time.monotonic() + self._settings.claim_ttl_s / 3

    def _adopt(self, runs: list[RunState]) -> None:
        """Go on with what was submitted by another process, or by this one without an answer."""
        for run in runs:
            if run.claim is not None:
                known = self._submitted.setdefault(run.claim, _Submitted(run.run_id, time.monotonic()))
                known.run_id = run.run_id

    def _settlement(self, submitted: _Submitted, statuses: Mapping[str, str], asked_at: float) -> _Settle | None:
        """What is to be done about the claims of a run; None where it is under way.

        Args:
            statuses: of the runs that the deployment knows.
            asked_at: when it was asked for them (s, monotonic).
        """
        if submitted.run_id is None:
            return _return if asked_at - submitted.since >= self._unclear_s else None
        settlements: dict[str, _Settle] = {
            _UNKNOWN: _return,
            "SUCCESS": self._settle_finished,
            "FAILURE": self._settle_failed,
            "CANCELED": _settle_cancelled,
        }
        return settlements.get(statuses.get(submitted.run_id, _UNKNOWN))

    def _settle_failed(self, connection: Connection, token: str, run_id: str) -> None:
        """Ahead of the sensor: a visitor waits, so the day is tried again at once."""
        error = f"the Dagster run {run_id} failed; its log says why"
        logger.error("run %s failed; its log says why", run_id)
        for holder in (token, run_id):
            claims.settle_failure(connection, holder, error, self._patience, at_once=True)

    def _settle_finished(self, connection: Connection, token: str, run_id: str) -> None:
        """A run that succeeded without its claim has found no work in a day that needs some: trying on without end
        would not help."""
        claims.give_back(connection, run_id)
        error = f"the Dagster run {run_id} did not take the day; see that the deployment runs this version"
        claims.settle_failure(connection, token, error, self._patience, at_once=True)

    def _give_back(self, token: str) -> None:
        with self._db.write() as connection:
            claims.give_back(connection, token, state=DayState.QUEUED)
        del self._submitted[token]

    def _end_dead(self, died: list[str]) -> None:
        """Tell the deployment of runs that died; until its monitor notices, they would take the place of others."""
        dead = {run.run_id: token for token, run in self._submitted.items() if run.run_id in died}
        if not dead:
            return
        try:
            self._deployment.end([run_id for run_id in dead if run_id])
        except DeploymentError as error:
            logger.warning("%s; %d dead runs are left to its monitor", error, len(dead))
        for token in dead.values():
            del self._submitted[token]

    def _put_off(self, pause: _Pause, error: DeploymentError) -> None:
        logger.warning("%s. Trying again in %.0f s.", str(error).removesuffix("."), pause.begin())


class _Pause:
    """A pause after a failure, longer after each failure that follows."""

    def __init__(self) -> None:
        self._failures = 0
        self._until = 0.0

    @property
    def lasts(self) -> bool:
        return time.monotonic() < self._until

    def begin(self) -> float:
        """Begin a pause; returns its length (s)."""
        length = min(2.0**self._failures, LONGEST_PAUSE_S)
        self._failures = min(self._failures + 1, 10)
        self._until = time.monotonic() + length
        return length

    def end(self) -> None:
        self._failures, self._until = 0, 0.0


def _return(connection: Connection, token: str, run_id: str) -> None:
    """There is no such run: it was never launched, or somebody deleted it."""
    for holder in (token, run_id):
        claims.give_back(connection, holder, state=DayState.QUEUED)


def _settle_cancelled(connection: Connection, token: str, run_id: str) -> None:
    """Somebody cancelled the run, so it is not asked for again before a visitor comes."""
    for holder in (token, run_id):
        claims.cancel(connection, holder)


def run_dispatcher(settings: Settings, databases: Databases) -> int:
    """Submit what visitors ask for to the deployment, until SIGTERM or SIGINT; returns the exit status.

    Loads no model: the runs do.
    """
    logging.getLogger("httpx").setLevel(logging.WARNING)
    os.environ.update(databases.environment())
    with (
        Deployment(settings.dagster_graphql_url) as deployment,
        dagster_instance(prepare_home(settings)) as instance,
    ):
        return run_until_stopped(settings, databases, DagsterMaker(settings, databases.db, deployment), instance)
