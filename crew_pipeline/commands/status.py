"""``crew status`` and ``crew retry``: where days stand, and those that were set aside."""

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
            found = failed_days(databases.db)
        elif day is not None:
            found = day_overview(databases.db, day_named(day, settings, databases, None))
        else:
            found = overview(databases.db, settings)
    if as_json:
        console.print_json(found)
    elif failed or day is not None:
        _print_days(found, failed=failed)
    else:
        rendering.print_overview(found)


def _print_days(found: dict[str, Any], *, failed: bool) -> None:
    rendering.print_days(found["days"], "No day has failed." if failed else f"{found['day']}: no conversations.")
    for one in found["days"]:
        if one["error"]:
            console.note(f"{one['client']}, {one['day']}: {one['error']}{_outlook(one) if failed else ''}")
    if failed and found["days"]:
        console.say("'crew retry DAY' or 'crew retry --all' has them made again.")


def _outlook(one: dict[str, Any]) -> str:
    return f"; tried again at {one['retry_at']:%Y-%m-%d %H:%M %Z}" if one["retry_at"] else "; set aside"
