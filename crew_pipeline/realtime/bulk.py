"""Many days now, from the command line: planned from the queue, run through Dagster in this process."""

import os
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import date
from typing import Any

from sqlalchemy import Engine

from crew_pipeline import console
from crew_pipeline.dedup.config import fingerprint_of
from crew_pipeline.settings import Settings
from crew_pipeline.storage import claims, days
from crew_pipeline.storage.access import Databases
from crew_pipeline.storage.days import Summary, Work

# A sweep's batch is small so that on-demand runs get their turn; a command has the machine to itself.
_CONVERSATIONS_PER_RUN = 1_000
# Dagster stores the events of a materialization over many days together instead of one by one.
_DAGSTER_EVENT_BATCH = "64"


@dataclass
class BulkReport:
    """What came of it.

    Attributes:
        unchanged: clients' days that were ready already.
        runs: Dagster runs made.
    """

    processed: list[Summary] = field(default_factory=list)
    failed: list[Summary] = field(default_factory=list)
    unchanged: int = 0
    runs: int = 0
    seconds: float = 0.0

    def as_dict(self) -> dict[str, Any]:
        """The report as ``--json`` prints it."""
        return {
            "processed": [_row(one) for one in self.processed],
            "failed": [_row(one) for one in self.failed],
            "unchanged": self.unchanged,
            "runs": self.runs,
            "seconds": round(self.seconds, 3),
        }


def _row(one: Summary) -> dict[str, Any]:
    return {**one._asdict(), "day": one.day.isoformat()}


def process_days(
    settings: Settings,
    databases: Databases,
    span: tuple[date, date] | None,
    *,
    client: str | None = None,
    force: bool = False,
    max_days: int | None = None,
    quiet: bool = False,
) -> BulkReport:
    """Process what is not ready in ``span`` (first and last day), or all of it.

    Days that are ready cost one query together; neither Dagster nor the model is loaded for them.
    """
    started = time.monotonic()
    engine = databases.engine
    report = BulkReport()
    work = _work(engine, settings, span, client, force=force)
    if max_days is not None:
        kept = set(sorted({one.day for one in work}, reverse=True)[:max_days])
        work = [one for one in work if one.day in kept]
    if span is not None:
        with engine.connect() as connection:
            asked = days.summaries(connection, *span, client)
        report.unchanged = len({(one.client, one.day) for one in asked} - {one.unit for one in work})
    if work:
        report.runs = _run(settings, databases, work, client=client, force=force, quiet=quiet)
        _collect(engine, report, work)
    report.seconds = time.monotonic() - started
    return report


def _work(
    engine: Engine, settings: Settings, span: tuple[date, date] | None, client: str | None, *, force: bool
) -> list[Work]:
    with engine.connect() as connection:
        wanted = None if span is None else days.days_between(connection, *span, client)
        return days.work(connection, fingerprint_of(settings), days=wanted, client=client, force=force)


def _run(
    settings: Settings, databases: Databases, work: Sequence[Work], *, client: str | None, force: bool, quiet: bool
) -> int:
    os.environ.setdefault("DAGSTER_EVENT_BATCH_SIZE", _DAGSTER_EVENT_BATCH)
    from crew_pipeline.orchestration.assets import MAX_DAYS_PER_RUN
    from crew_pipeline.orchestration.build import build_defs
    from crew_pipeline.orchestration.instance import dagster_instance, prepare_home
    from crew_pipeline.orchestration.planning import batches
    from crew_pipeline.orchestration.runs import DayRunner

    planned = batches(work, max_conversations=_CONVERSATIONS_PER_RUN, max_days=MAX_DAYS_PER_RUN)
    total = sum(batch.lines for batch in planned) or 1
    done = 0
    with (
        dagster_instance(prepare_home(settings)) as instance,
        console.progress("processing", total, quiet=quiet) as advance,
    ):
        runner = DayRunner(build_defs(settings), instance)
        for batch in planned:
            outcome = runner.run(batch, trigger="command", client=client or "", force=force)
            with databases.engine.begin() as connection:
                if outcome.success:
                    claims.give_back(connection, outcome.run_id)
                else:
                    for unit in claims.held(connection, outcome.run_id):
                        claims.fail(connection, unit, outcome.run_id, outcome.error or "the run failed")
            done += batch.lines
            advance(done, f"processed up to {batch.last}")
    return len(planned)


def _collect(engine: Engine, report: BulkReport, work: Sequence[Work]) -> None:
    units = {one.unit for one in work}
    with engine.connect() as connection:
        found = days.summaries(connection, min(one.day for one in work), max(one.day for one in work))
    for one in reversed(found):
        if (one.client, one.day) in units:
            (report.failed if one.status == "failed" else report.processed).append(one)
