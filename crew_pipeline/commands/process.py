"""``crew process``: days are made ready now, through Dagster."""

from __future__ import annotations

import os
import sys
from datetime import date
from typing import TYPE_CHECKING, Annotated

import typer

from crew_pipeline.commands import console, rendering
from crew_pipeline.commands.common import AnyClientOption, CommandError, JsonOption, day_named, in_home, open_store
from crew_pipeline.settings import Settings

if TYPE_CHECKING:
    from crew_pipeline.storage.opening import Databases

_INTERRUPTED = 130


@in_home
def process(
    day: Annotated[str | None, typer.Argument(help="YYYY-MM-DD, today, yesterday or latest.")] = None,
    first: Annotated[str | None, typer.Option("--from", help="First day.", metavar="DAY")] = None,
    last: Annotated[str | None, typer.Option("--to", help="Last day.", metavar="DAY")] = None,
    pending: Annotated[bool, typer.Option(help="Every day that is not ready.")] = False,
    client: AnyClientOption = None,
    force: Annotated[bool, typer.Option(help="Also days that are ready.")] = False,
    max_days: Annotated[int | None, typer.Option(help="At most so many days, the newest.", min=1)] = None,
    as_json: JsonOption = False,
) -> None:
    """Materialize days now, through Dagster: one day, a range, or all that are not ready."""
    if (day is not None) + (first is not None or last is not None) + pending != 1:
        raise typer.BadParameter("give a DAY, or --from and --to, or --pending")
    if force and pending:
        raise typer.BadParameter("--force goes with a DAY or with --from and --to")
    from crew_pipeline.orchestration.bulk import process_days

    try:
        with open_store() as (settings, databases):
            span = None if pending else _span(databases, settings, day, first, last, client)
            with console.progress("processing", 1.0, quiet=as_json) as advance:
                report = process_days(
                    settings, databases, span, client=client, force=force, max_days=max_days, on_progress=advance
                )
    except KeyboardInterrupt:
        console.note("Stopped. What was ready is; the days that were in work wait again.")
        sys.stdout.flush()
        os._exit(_INTERRUPTED)  # a thread may still compute, and would have to be waited for
    if as_json:
        console.print_json(report.as_dict())
    else:
        rendering.print_processed(report.as_dict())
    if report.elsewhere:
        console.note(
            f"{len(report.elsewhere)} days are not ready: another run is at work on them, or they changed meanwhile; "
            "'crew status' shows them."
        )
    if report.failed:
        raise CommandError(
            f"{len(report.failed)} days failed; 'crew status DAY' says why, the Dagster UI has the logs."
        )


def _span(
    databases: Databases, settings: Settings, day: str | None, first: str | None, last: str | None, client: str | None
) -> tuple[date, date]:
    if day is not None:
        wanted = day_named(day, settings, databases, client)
        return wanted, wanted
    if first is None or last is None:
        raise typer.BadParameter("--from and --to go together")
    begin, end = (day_named(name, settings, databases, client) for name in (first, last))
    if begin > end:
        raise typer.BadParameter(f"--from {begin} is after --to {end}")
    return begin, end
