"""Runs of the day job in this process: for the warm worker and for the command line.

One at a time: ``execute_in_process`` in two threads of a process deadlocks, since each run reconfigures logging.
"""

import contextlib
import ctypes
import gc
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache

from dagster import DagsterInstance, Definitions, JobDefinition

from crew_pipeline.days.planning import DayBatch
from crew_pipeline.days.run import DayTools
from crew_pipeline.model import Trigger
from crew_pipeline.orchestration import tags
from crew_pipeline.orchestration.dagster_internals import new_run_id
from crew_pipeline.storage.database import Database

_DIED = "The process that executed this run died; its days were taken over."


@dataclass(frozen=True)
class RunOutcome:
    """How a run ended.

    Attributes:
        run_id: Dagster's id, which is also the token of its claims.
        success: whether every step succeeded.
        error: the first step's failure in one sentence, else None.
    """

    run_id: str
    success: bool
    error: str | None


class DayRunner:
    """Runs the day job in this process against an instance."""

    def __init__(self, definitions: Definitions, instance: DagsterInstance, *, console_level: str = "CRITICAL") -> None:
        """Args:
        console_level: least level that runs print; everything is in the event log of the instance anyway.
        """
        self._console_level = console_level
        self._resources = definitions.resources or {}
        self._job: JobDefinition = definitions.resolve_job_def(tags.DAY_JOB)
        self._instance = instance

    def tools(self, db: Database) -> DayTools:
        """What the runs of this process work with, for whoever begins a day before its run does."""
        shared = self._resources
        return DayTools(db, shared["encoder"], shared["scorer"], shared["engine_config"], shared["snapshots"])

    def run(
        self,
        batch: DayBatch,
        *,
        trigger: Trigger,
        client: str = "",
        force: bool = False,
        run_id: str | None = None,
        more_tags: Mapping[str, str] | None = None,
    ) -> RunOutcome:
        """Materialize the days of ``batch``.

        Args:
            trigger: who asked.
            client: only this client's days.
            run_id: the token of claims made beforehand.
            more_tags: further tags of the run.
        """
        run_id = run_id or new_run_id()
        result = self._job.execute_in_process(
            instance=self._instance,
            run_id=run_id,
            run_config=tags.with_console(tags.day_config(client=client, force=force), self._console_level),
            tags={
                **tags.partition_tags(batch),
                tags.TRIGGER: trigger.value,
                tags.PRIORITY: str(batch.priority),
                tags.CLIENT: client or tags.EVERY_CLIENT,
                **(more_tags or {}),
            },
            raise_on_error=False,
        )
        outcome = RunOutcome(run_id, result.success, None if result.success else _first_failure(result, run_id))
        del result
        release_memory()
        return outcome

    def close_dead(self, run_ids: Sequence[str], why: str = _DIED) -> None:
        """Tell Dagster of runs whose process died: nobody else would, and they would count as running for an hour."""
        for run_id in run_ids:
            run = self._instance.get_run_by_id(run_id)
            if run is not None and not run.is_finished:
                self._instance.report_run_failed(run, why)


def release_memory() -> None:
    """Hand freed memory back to the system: batches of many shapes leave the C library's heap full of holes."""
    gc.collect()
    _leave_libraries_aside()
    if sys.platform == "linux":
        with contextlib.suppress(OSError, AttributeError):
            ctypes.CDLL("libc.so.6").malloc_trim(0)


@lru_cache(maxsize=1)
def _leave_libraries_aside() -> None:
    """After the first run, exempt objects that stay for good: each collection would spend half a second on them."""
    gc.freeze()


def _first_failure(result: object, run_id: str) -> str:
    """A sentence that visitors may see: what an error says of itself may hold paths and values; the log has all."""
    for event in result.all_events:  # type: ignore[attr-defined]
        if event.is_step_failure:
            error = event.step_failure_data.error
            cause = error.cause or error if error else None
            user = event.step_failure_data.user_failure_data
            if user is not None and user.description:
                return str(user.description)
            kind = (cause.cls_name or "an error").rsplit(".", 1)[-1] if cause else "a step failed"
            return f"{kind}; the log of Dagster run {run_id} says more"
    return "the run failed before its first step"
