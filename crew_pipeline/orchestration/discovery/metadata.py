"""What an operator reads of a round of discovery, whoever has made it: the schedule or the sensor."""

from collections.abc import Sequence
from typing import Any

from dagster import MetadataValue, TableRecord

from crew_pipeline.discovery.report import CrewReport
from crew_pipeline.storage.sources.rounds import Totals


def of_round(reports: Sequence[CrewReport], sums: Sequence[Totals]) -> dict[str, Any]:
    """The figures of the round as an operator reads them; the same that ``crew status`` and ``/metrics`` show."""
    scanned = sum(report.scanned for report in reports)
    failed = sum(report.failed for report in reports)
    ever = {(total.client, total.crew): total for total in sums}
    records = []
    for report in reports:
        before = ever.get((report.client, report.crew))
        records.append(
            TableRecord(
                {
                    "crew": f"{report.client}/{report.crew}",
                    "new": report.ingested.conversations_new,
                    "changed": report.ingested.conversations_changed,
                    "skipped": report.ingested.conversations_unchanged,
                    "errors": report.rejected,
                    "seconds": round(report.seconds, 3),
                    "finished": report.finished,
                    "failures_in_a_row": before.consecutive_failures if before else 0,
                    "new_ever": before.created if before else 0,
                    "error": report.error or "",
                }
            )
        )
    return {
        "crews": len(reports),
        "sessions_scanned": scanned,
        "conversations_new": sum(report.ingested.conversations_new for report in reports),
        "conversations_changed": sum(report.ingested.conversations_changed for report in reports),
        "sessions_skipped": sum(report.ingested.conversations_unchanged for report in reports),
        "rows_refused": sum(report.rejected for report in reports),
        "error_rate": round(failed / scanned, 4) if scanned else 0.0,
        "sessions_deleted": sum(len(report.deleted) for report in reports),
        "seconds": round(sum(report.seconds for report in reports), 3),
        "by_crew": MetadataValue.table(records) if records else MetadataValue.text("none is due"),
    }
