"""Asset checks: the invariants of the design, held against what was really stored, with each day that a run has made.

Clusters are held against theirs in the transaction that stores them as well, so that a broken one is never served.
"""

from collections.abc import Callable, Collection, Iterator, Sequence
from typing import NamedTuple

from dagster import (
    AssetCheckEvaluation,
    AssetCheckKey,
    AssetCheckSeverity,
    AssetCheckSpec,
    AssetKey,
    DagsterInstance,
    Output,
    PartitionsDefinition,
)
from sqlalchemy import Connection

from crew_pipeline.model import ClientDay
from crew_pipeline.orchestration.dagster_internals import checked
from crew_pipeline.orchestration.days.day_work import DayMade
from crew_pipeline.orchestration.tags import Asset
from crew_pipeline.storage.database import Database
from crew_pipeline.storage.evidence import invariants

Violations = Callable[[Connection, Sequence[ClientDay], str], list[str]]

_MOST_SHOWN = 20


class Check(NamedTuple):
    """An invariant.

    Attributes:
        violations: what breaks it, in words: of clients' days, as the run with a token has made them.
    """

    name: str
    asset: Asset
    description: str
    violations: Violations


CHECKS = (
    Check(
        "hidden_lines_are_explained",
        Asset.CLUSTERS,
        "Every hidden line has a measured link to its canonical line.",
        lambda connection, made, _: invariants.unexplained_clusters(connection, made),
    ),
    Check(
        "clusters_keep_to_one_client",
        Asset.CLUSTERS,
        "No cluster holds lines of two clients.",
        lambda connection, made, _: invariants.strayed_lines(connection, made),
    ),
    Check(
        "documents_lose_nothing",
        Asset.DOCUMENT,
        "Every day that was taken is there, and every line stands once in it, with its own speaker, time and words.",
        lambda connection, made, token: [
            *invariants.left_unmade(connection, made, token),
            *invariants.broken_documents(connection, made, token),
        ],
    ),
    Check("no_client_failed", Asset.DOCUMENT, "No client's day failed in this run.", invariants.failed_client_days),
)


def specs(partitions: PartitionsDefinition[str]) -> list[AssetCheckSpec]:
    """The checks as Dagster knows them, over ``partitions``."""
    return [
        AssetCheckSpec(check.name, asset=check.asset.value, description=check.description, partitions_def=partitions)
        for check in CHECKS
    ]


def evaluations(
    instance: DagsterInstance,
    db: Database,
    selected: Collection[AssetCheckKey],
    made: DayMade,
    token: str,
) -> Iterator[AssetCheckEvaluation]:
    """How the selected checks go for one day, told with its partition.

    Args:
        instance: that knows the day's materializations.
        made: what the run has made of that day.
        token: id of the run.
    """
    partition = made.day.isoformat()
    chosen = [check for check in CHECKS if _key(check) in selected]
    targets = {asset: checked(instance, asset.value, partition) for asset in {check.asset for check in chosen}}
    for check in chosen:
        with db.read() as connection:
            violations = check.violations(connection, made.clients, token)
        yield AssetCheckEvaluation(
            asset_key=AssetKey(check.asset.value),
            check_name=check.name,
            passed=not violations,
            severity=AssetCheckSeverity.ERROR,
            description="; ".join(violations[:3]) or None,
            metadata={"violations": len(violations), **({"first": violations[:_MOST_SHOWN]} if violations else {})},
            partition=partition,
            target_materialization_data=targets[check.asset],
        )


def outputs(selected: Collection[AssetCheckKey]) -> Iterator[Output[None]]:
    """What a step must return for each check; a result would be one of no partition, where each day has its own."""
    for check in CHECKS:
        if _key(check) in selected:
            yield Output(None, output_name=f"{AssetKey(check.asset.value).to_python_identifier()}_{check.name}")


def _key(check: Check) -> AssetCheckKey:
    return AssetCheckKey(AssetKey(check.asset.value), check.name)
