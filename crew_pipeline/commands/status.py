"""``crew status``: where days stand, and which have failed or were set aside."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from crew_pipeline.commands import console, rendering
from crew_pipeline.commands.common import JsonOption, day_named, in_home, open_store

DayArgument = Annotated[str | None, typer.Argument(help="YYYY-MM-DD, today, yesterday or latest.")]


@in_home
def status(
    day: DayArgument = None,
    failed: Annotated[bool, typer.Option("--failed", help="The days that have failed, with their errors.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Show the queue, the days by status and the last runs; with a DAY, that day of every client."""
    from crew_pipeline.upkeep.overview import day_overview, failed_days, overview

    if failed and day is not None:
        raise typer.BadParameter("give a DAY or --failed")
    with open_store() as (settings, databases):
        if failed:
            content = failed_days(databases.db)
        elif day is not None:
            content = day_overview(databases.db, day_named(day, settings, databases, None))
        else:
            content = overview(databases.db, settings)
    if as_json:
        console.print_json(content)
    elif failed or day is not None:
        _print_days(content, settings.dagster_ui, failed=failed)
    else:
        rendering.print_overview(content)


def _print_days(content: dict[str, Any], dagster_ui: str, *, failed: bool) -> None:
    rendering.print_days(content["days"], "No day has failed." if failed else f"{content['day']}: no conversations.")
    for day in content["days"]:
        if day["error"]:
            console.note(f"{day['client']}, {day['day']}: {day['error']}{_outlook(day) if failed else ''}")
        if failed and day["run_id"]:
            console.note(f"  its run: {dagster_ui}/runs/{day['run_id']}")
    if failed and content["days"]:
        console.say("'crew retry DAY' or 'crew retry --all' has them made again.")


def _outlook(day: dict[str, Any]) -> str:
    return f"; tried again at {day['retry_at']:%Y-%m-%d %H:%M %Z}" if day["retry_at"] else "; set aside"
