"""Asset checks: the invariants of the design, held against what was really stored."""

from datetime import date

from dagster import (
    AssetCheckExecutionContext,
    AssetCheckResult,
    AssetChecksDefinition,
    AssetCheckSeverity,
    PartitionsDefinition,
    asset_check,
)
from sqlalchemy import Connection

from crew_pipeline.days import claims
from crew_pipeline.model import ClientDay
from crew_pipeline.orchestration.partitions import days_of
from crew_pipeline.orchestration.resources import DatabaseResource
from crew_pipeline.storage.evidence import invariants


def build_checks(partitions: PartitionsDefinition[str]) -> list[AssetChecksDefinition]:
    """The checks; those on the clusters block the document, so that a broken result is never served."""

    @asset_check(
        asset="semantic_clusters",
        blocking=True,
        partitions_def=partitions,
        description="Every hidden line has a measured link to its canonical line.",
    )
    def hidden_lines_are_explained(context: AssetCheckExecutionContext, database: DatabaseResource) -> AssetCheckResult:
        with database.db.read() as connection:
            return _result(invariants.unexplained_clusters(connection, _held(connection, context)))

    @asset_check(
        asset="semantic_clusters",
        blocking=True,
        partitions_def=partitions,
        description="No cluster holds lines of two clients.",
    )
    def clusters_keep_to_one_client(
        context: AssetCheckExecutionContext, database: DatabaseResource
    ) -> AssetCheckResult:
        with database.db.read() as connection:
            return _result(invariants.strayed_lines(connection, _held(connection, context)))

    @asset_check(
        asset="day_document",
        partitions_def=partitions,
        description="Every line stands once in its document, with its own speaker, time and words.",
    )
    def documents_lose_nothing(context: AssetCheckExecutionContext, database: DatabaseResource) -> AssetCheckResult:
        with database.db.read() as connection:
            return _result(invariants.broken_documents(connection, _days(context), context.run.run_id))

    @asset_check(
        asset="day_document",
        partitions_def=partitions,
        description="No client's day failed in this run.",
    )
    def no_client_failed(context: AssetCheckExecutionContext, database: DatabaseResource) -> AssetCheckResult:
        with database.db.read() as connection:
            return _result(invariants.failed_client_days(connection, _days(context), context.run.run_id))

    return [hidden_lines_are_explained, clusters_keep_to_one_client, documents_lose_nothing, no_client_failed]


def _days(context: AssetCheckExecutionContext) -> list[date]:
    return days_of(context.partition_keys)


def _held(connection: Connection, context: AssetCheckExecutionContext) -> list[ClientDay]:
    """What the run works at: other clients' days are not its business."""
    return claims.held(connection, context.run.run_id, _days(context))


def _result(violations: list[str]) -> AssetCheckResult:
    return AssetCheckResult(
        passed=not violations,
        severity=AssetCheckSeverity.ERROR,
        description="; ".join(violations[:3]) or None,
        metadata={"violations": len(violations), **({"first": violations[:20]} if violations else {})},
    )
