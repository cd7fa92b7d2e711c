"""Housekeeping: removes what is no longer needed, in small batches, for a bounded time."""

from __future__ import annotations

import contextlib
import shutil
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from pathlib import Path
from typing import NamedTuple

from sqlalchemy import Connection

from crew_pipeline.settings import Settings
from crew_pipeline.storage.database import Database
from crew_pipeline.storage.upkeep import retention as housekeeping

BATCH = 1_000
"""Rows that one transaction deletes."""


class Removed(NamedTuple):
    """What one step did: how much it removed, and whether there may be more to remove."""

    removed: int
    more: bool


Step = Callable[[], Removed]


@dataclass(frozen=True)
class Report:
    """What housekeeping did.

    Attributes:
        removed: by name of the step.
        errors: of the steps that broke, by name; the others went on.
        finished: false where time ran out; the next time goes on.
    """

    removed: dict[str, int]
    errors: dict[str, Exception]
    finished: bool


def table_steps(db: Database, settings: Settings, batch: int = BATCH) -> dict[str, Step]:
    """A step for every table that grows, each call of it a transaction of at most ``batch`` rows."""
    events, results, claims, records = (
        timedelta(days=kept)
        for kept in (settings.keep_events_d, settings.keep_results_d, settings.keep_claims_d, settings.keep_records_d)
    )
    removals: dict[str, Callable[[Connection], int]] = {
        "events": partial(housekeeping.drop_old_events, kept=events, most=batch),
        "superseded_documents": partial(housekeeping.drop_superseded_documents, kept=results, most=batch),
        "claims": partial(housekeeping.drop_old_claims, kept=claims, most=batch),
        "discovery_rounds": partial(housekeeping.drop_old_rounds, kept=records, most=batch),
        "resolved_alerts": partial(housekeeping.drop_resolved_alerts, kept=records, most=batch),
        "health_samples": partial(housekeeping.drop_old_samples, kept=records, most=batch),
        "deliveries": partial(housekeeping.drop_old_deliveries, kept=records, most=batch),
        "answers": partial(housekeeping.drop_old_answers, most=batch),
        "talks_under_way": partial(housekeeping.drop_old_talks, most=batch),
        "told_prose": partial(housekeeping.drop_old_prose, kept=results, most=batch),
        "askings": partial(housekeeping.drop_old_askings, most=batch),
        "preliminary_documents": partial(housekeeping.drop_lost_preliminaries, most=batch),
    }
    return {name: partial(_in_transaction, db, remove, batch) for name, remove in removals.items()}


def drop_old_outputs(folder: Path, kept: timedelta, now: datetime, most: int = BATCH) -> Removed:
    """Remove what runs have printed (``RUN/compute_logs`` in the folder of Dagster's storage) longer ago than ``kept``.

    Anything else there is left alone.
    """
    removed = 0
    for printed in sorted(folder.glob("*/compute_logs")):
        if removed == most:
            return Removed(removed, more=True)
        last = max((file.stat().st_mtime for file in (printed, *printed.iterdir())), default=0.0)
        if now.timestamp() - last > kept.total_seconds():
            shutil.rmtree(printed)
            with contextlib.suppress(OSError):
                printed.parent.rmdir()
            removed += 1
    return Removed(removed, more=False)


def _in_transaction(db: Database, remove: Callable[[Connection], int], batch: int) -> Removed:
    with db.write() as connection:
        removed = remove(connection)
    return Removed(removed, more=removed >= batch)


def keep_house(steps: Mapping[str, Step], within_s: float) -> Report:
    """Take the steps in turn, a batch each, until nothing is left to remove or the time is over.

    In turn, so that one table with much to remove does not keep the others from being cleaned night after night. A step
    that breaks is left until the next time.
    """
    until = time.monotonic() + within_s
    removed = dict.fromkeys(steps, 0)
    errors: dict[str, Exception] = {}
    unfinished = list(steps)
    while unfinished:
        for name in tuple(unfinished):
            if time.monotonic() >= until:
                return Report(removed, errors, finished=False)
            try:
                batch = steps[name]()
            except Exception as error:
                errors[name] = error
                unfinished.remove(name)
                continue
            removed[name] += batch.removed
            if not batch.more:
                unfinished.remove(name)
    return Report(removed, errors, finished=True)
