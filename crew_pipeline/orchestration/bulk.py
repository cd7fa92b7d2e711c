"""Many days now, from the command line: planned from the queue, run through Dagster in this process."""

import os
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from functools import partial
from typing import Any

from crew_pipeline.days import claims
from crew_pipeline.days.planning import MAX_DAYS_PER_RUN, DayBatch, batches
from crew_pipeline.days.retries import Patience
from crew_pipeline.dedup.config import fingerprint_of
from crew_pipeline.model import DayState, Trigger
from crew_pipeline.orchestration import tags
from crew_pipeline.settings import Settings
from crew_pipeline.storage.database import Database
from crew_pipeline.storage.days import queue, states
from crew_pipeline.storage.days.queue import Work
from crew_pipeline.storage.days.states import Summary
from crew_pipeline.storage.opening import Databases


@dataclass
class BulkReport:
    """What came of it.

    Attributes:
        processed, failed: what this call made ready, and what it tried and could not.
        elsewhere: what another run is at work on, or took over meanwhile.
        unchanged: clients' days that were ready already.
        runs: Dagster runs made.
    """

    processed: list[Summary] = field(default_factory=list)
    failed: list[Summary] = field(default_factory=list)
    elsewhere: list[Summary] = field(default_factory=list)
    unchanged: int = 0
    runs: int = 0
    seconds: float = 0.0

    def as_dict(self) -> dict[str, Any]:
        """The report as ``--json`` prints it."""
        return {
            "processed": [_row(summary) for summary in self.processed],
            "failed": [_row(summary) for summary in self.failed],
            "elsewhere": [_row(summary) for summary in self.elsewhere],
            "unchanged": self.unchanged,
            "runs": self.runs,
            "seconds": round(self.seconds, 3),
        }


def _row(summary: Summary) -> dict[str, Any]:
    return {**summary._asdict(), "day": summary.day.isoformat()}


def process_days(
    settings: Settings,
    databases: Databases,
    span: tuple[date, date] | None,
    *,
    client: str | None = None,
    force: bool = False,
    max_days: int | None = None,
    on_progress: Callable[[float, str], object] = lambda _done, _message: None,
    resource_overrides: Mapping[str, Any] | None = None,
) -> BulkReport:
    """Process what is not ready in ``span`` (first and last day), or all of it.

    Days that are ready cost one query together; neither Dagster nor the model is loaded for them.

    Args:
        max_days: at most so many days, the newest.
        on_progress: told how much of it is done (0 to 1), and in words.
        resource_overrides: resources of the runs by their keys, such as a ``scorer`` that is loaded already.

    Raises:
        KeyboardInterrupt: it was told to stop: what is ready is, the rest waits. A thread is left behind, so the
            process should end at once.
    """
    started = time.monotonic()
    report = BulkReport()
    chosen = _work(databases.db, settings, span, client, force=force)
    if max_days is not None:
        kept = set(sorted({work.day for work in chosen}, reverse=True)[:max_days])
        chosen = [work for work in chosen if work.day in kept]
    if chosen:
        planned = batches(chosen, max_conversations=settings.sweep_batch, max_days=MAX_DAYS_PER_RUN)
        report.runs = len(planned)
        _run(settings, databases, planned, on_progress, resource_overrides, client=client or "", force=force)
    _collect(databases.db, report, chosen, span, client)
    report.seconds = time.monotonic() - started
    return report


def _work(
    db: Database, settings: Settings, span: tuple[date, date] | None, client: str | None, *, force: bool
) -> list[Work]:
    with db.read() as connection:
        wanted = None if span is None else states.days_between(connection, *span, client)
        return queue.work(connection, fingerprint_of(settings), days=wanted, client=client, force=force)


def _run(
    settings: Settings,
    databases: Databases,
    planned: Sequence[DayBatch],
    on_progress: Callable[[float, str], object],
    resource_overrides: Mapping[str, Any] | None,
    *,
    client: str,
    force: bool,
) -> None:
    os.environ.setdefault(tags.EVENT_BATCH_VARIABLE, tags.EVENT_BATCH)
    from crew_pipeline.orchestration.build import build_defs
    from crew_pipeline.orchestration.dagster_internals import new_run_id
    from crew_pipeline.orchestration.instance import dagster_instance, prepare_home
    from crew_pipeline.orchestration.interrupts import in_thread, terminated_as_interrupted
    from crew_pipeline.orchestration.partitions import any_day
    from crew_pipeline.orchestration.runs import DayRunner

    total = sum(batch.lines for batch in planned) or 1
    done = 0
    patience = Patience.of(settings)
    with dagster_instance(prepare_home(settings)) as instance:
        runner = DayRunner(build_defs(any_day(settings), resource_overrides), instance)
        for batch in planned:
            run_id = new_run_id()
            run = partial(runner.run, batch, trigger=Trigger.COMMAND, client=client, force=force, run_id=run_id)
            try:
                with terminated_as_interrupted():
                    outcome = in_thread(run)
            except KeyboardInterrupt:
                _leave(databases.db, runner.close_dead, run_id)
                raise
            with databases.db.write() as connection:
                if outcome.success:
                    claims.give_back(connection, outcome.run_id)
                else:
                    claims.settle_failure(connection, outcome.run_id, outcome.error or "the run failed", patience)
            done += batch.lines
            on_progress(done / total, f"processed up to {batch.last}")


def _leave(db: Database, close_dead: Callable[[Sequence[str], str], None], run_id: str) -> None:
    """Give back the days of a run that goes on in its thread: what it still brings is dropped, as of one overtaken."""
    with db.write() as connection:
        claims.give_back(connection, run_id)
    close_dead([run_id], "It was stopped by whoever started it; its days were given back.")


def _collect(
    db: Database, report: BulkReport, chosen: Sequence[Work], span: tuple[date, date] | None, client: str | None
) -> None:
    """Sort the days by what came of them."""
    tried = {work.client_day for work in chosen}
    listed = [work.day for work in chosen]
    first, last = span or (min(listed, default=date.max), max(listed, default=date.min))
    with db.read() as connection:
        summaries = states.summaries(connection, first, last, client)
    for summary in reversed(summaries):
        mine = (summary.client, summary.day) in tried
        if summary.status == DayState.COMPLETED:
            if mine:
                report.processed.append(summary)
            elif span is not None:
                report.unchanged += 1
        elif summary.status == DayState.FAILED and mine:
            report.failed.append(summary)
        elif mine or summary.status == DayState.PROCESSING:
            report.elsewhere.append(summary)
