"""Dagster's own history: old finished runs go, except those that the state of assets rests on.

Deleting a run deletes its events, materializations among them. A partition without its newest materialization would
count as never materialized (its status cache hides that until it is built anew), so the run of that one stays. So does
the run of a newest attempt that materialized nothing: the Dagster UI shows such a partition as failed.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from itertools import islice

from dagster import (
    AssetKey,
    AssetRecordsFilter,
    DagsterEventType,
    DagsterInstance,
    DagsterRun,
    DagsterRunStatus,
    RunsFilter,
)

from crew_pipeline.orchestration.dagster_internals import BACKFILL_ID_TAG, unfinished_backfills
from crew_pipeline.upkeep.retention import Removed

FINISHED = [DagsterRunStatus.SUCCESS, DagsterRunStatus.FAILURE, DagsterRunStatus.CANCELED]
_EVENTS_AT_ONCE = 500


class OldRuns:
    """A step of housekeeping: each call deletes some finished runs, the oldest first."""

    def __init__(self, instance: DagsterInstance, before: datetime, batch: int = 100) -> None:
        """Args:
        before: runs that ended since then stay.
        batch: runs that one call looks at.
        """
        self._instance = instance
        self._filter = RunsFilter(statuses=FINISHED, updated_before=before)
        self._before = before
        self._batch = batch
        self._needed: set[str] | None = None
        self._backfills: set[str] = set()
        self._passed: str | None = None

    def __call__(self) -> Removed:
        """Delete those next runs that may go."""
        if self._needed is None:
            self._needed = runs_behind_assets(self._instance, self._before)
            self._backfills = unfinished_backfills(self._instance)
        records = self._instance.get_run_records(self._filter, limit=self._batch, ascending=True, cursor=self._passed)
        removed = 0
        for record in records:
            run = record.dagster_run
            if self._is_needed(run, self._needed):
                self._passed = run.run_id
                continue
            # In this order: a process that dies in between leaves a run without events, which is found the next time,
            # and not events without a run, which nothing would ever find.
            self._instance.event_log_storage.delete_events(run.run_id)
            self._instance.delete_run(run.run_id)
            removed += 1
        return Removed(removed, more=len(records) == self._batch)

    def _is_needed(self, run: DagsterRun, behind_assets: set[str]) -> bool:
        return run.run_id in behind_assets or run.tags.get(BACKFILL_ID_TAG) in self._backfills


def runs_behind_assets(instance: DagsterInstance, before: datetime) -> set[str]:
    """Runs from before a moment that the state of assets and their partitions rests on."""
    needed: set[str] = set()
    for record in instance.get_asset_records():
        entry = record.asset_entry
        last = entry.last_materialization_record
        needed.update(run_id for run_id in (entry.last_run_id, last.run_id if last else None) if run_id)
        needed |= _of_newest_materializations(instance, entry.asset_key, before)
        attempts = (
            instance.event_log_storage.get_latest_asset_partition_materialization_attempts_without_materializations(
                entry.asset_key
            )
        )
        needed.update(run_id for run_id, _ in attempts.values())
    return needed


def _of_newest_materializations(instance: DagsterInstance, asset: AssetKey, before: datetime) -> set[str]:
    newest = iter(instance.get_latest_storage_id_by_partition(asset, DagsterEventType.ASSET_MATERIALIZATION).values())
    needed: set[str] = set()
    while some := list(islice(newest, _EVENTS_AT_ONCE)):
        needed |= _runs_of(instance, asset, some, before)
    return needed


def _runs_of(instance: DagsterInstance, asset: AssetKey, storage_ids: Sequence[int], before: datetime) -> set[str]:
    wanted = AssetRecordsFilter(asset, storage_ids=storage_ids, before_timestamp=before.timestamp())
    return {record.run_id for record in instance.fetch_materializations(wanted, limit=len(storage_ids)).records}
