"""``crew discover``: one discovery over the history tables, compared with the whole tables if asked."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Any

import typer

from crew_pipeline.commands import console, rendering
from crew_pipeline.commands.common import AnyClientOption, CommandError, JsonOption, in_home, open_store

if TYPE_CHECKING:
    from crew_pipeline.discovery.report import CrewReport

_SAID_EVERY_S = 5.0


@in_home
def discover(
    client: AnyClientOption = None,
    full: Annotated[bool, typer.Option(help="Read every table from its beginning.")] = False,
    compare: Annotated[
        bool, typer.Option(help="Afterwards read the whole tables as well and tell what the store lacks.")
    ] = False,
    once: Annotated[
        bool, typer.Option(help="Stop after CREW_DISCOVERY_TIMEOUT_S a crew; the next discovery goes on.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Read what is new in the configured history tables (see ``crew crews add``)."""
    from crew_pipeline.discovery.compare import compare_all
    from crew_pipeline.discovery.discover import RoundPlan, apply_crews_file
    from crew_pipeline.discovery.discover import discover as run
    from crew_pipeline.upkeep.alerts import watch_discovery

    with open_store() as (settings, databases):
        db = databases.db
        if problem := apply_crews_file(db, settings, datetime.now(UTC)):
            raise CommandError(problem)
        now = datetime.now(UTC)
        reports = run(
            db,
            settings,
            now,
            client,
            plan=RoundPlan(full=full or None, round_s=None if once else math.inf),
            on_batch=None if as_json else _saying(),
        )
        watch_discovery(db, settings, datetime.now(UTC))
        comparisons = compare_all(db, settings, client, datetime.now(UTC)) if compare else None
    _print(reports, comparisons, as_json=as_json)
    if any(report.error for report in reports):
        raise CommandError("A history table could not be read; the reasons are above.")
    if comparisons and any(comparison.get("error") or not comparison["agrees"] for comparison in comparisons):
        raise CommandError("The store lacks messages of a source; 'crew discover --full' brings them in.")


def _saying() -> Callable[[CrewReport], None]:
    """Tells now and then how far discovery has come."""
    said = time.monotonic()

    def say(report: CrewReport) -> None:
        nonlocal said
        if time.monotonic() - said > _SAID_EVERY_S:
            said = time.monotonic()
            console.note(
                f"{report.client}/{report.crew}: {report.reading.lines_read:,} rows of "
                f"{report.scanned + len(report.sessions):,} sessions read"
            )

    return say


def _print(reports: list[CrewReport], comparisons: list[dict[str, Any]] | None, *, as_json: bool) -> None:
    if as_json:
        content: dict[str, Any] = {"crews": [report.as_dict() for report in reports]}
        console.print_json(content if comparisons is None else {**content, "comparison": comparisons})
        return
    if not reports:
        console.say("No crew has a history table; add one with 'crew crews add'.")
    for report in reports:
        if report.reading.lines_read or report.error:
            rendering.print_import_report(report.as_dict(), row="row")
        for warning in report.warnings:
            console.note(f"{report.client}/{report.crew}: {warning}")
        rest = "" if report.finished else "; there is more, the next discovery goes on"
        console.say(f"{report.client}/{report.crew}: {report.summary}{rest}")
    for comparison in comparisons or []:
        name = f"{comparison['client']}/{comparison['crew']}"
        if comparison.get("error"):
            console.note(f"{name}: {comparison['error']}")
            continue
        console.say(
            f"{name}: {comparison['rows']:,} messages in the source, {comparison['missing_count']:,} of them "
            f"not in the store, {comparison['only_stored_count']:,} lines in the store that the source has no more."
        )
        for session, row in comparison["missing"]:
            console.note(f"missing: row {row} of session {session}")
