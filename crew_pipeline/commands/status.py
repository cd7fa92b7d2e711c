"""``crew status`` and ``crew retry``: where days stand, and those that were set aside."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from crew_pipeline.commands import console, rendering
from crew_pipeline.commands.common import AnyClientOption, HomeOption, JsonOption, day_named, open_store

DayArgument = Annotated[str | None, typer.Argument(help="YYYY-MM-DD, today, yesterday or latest.")]


def status(
    day: DayArgument = None,
    failed: Annotated[bool, typer.Option("--failed", help="The days that have failed, with their errors.")] = False,
    as_json: JsonOption = False,
    data_dir: HomeOption = None,
) -> None:
    """Show the queue, the days by status and the last runs; with a DAY, that day of every client."""
    from crew_pipeline.upkeep.overview import day_overview, failed_days, overview

    if failed and day is not None:
        raise typer.BadParameter("give a DAY or --failed")
    with open_store(data_dir) as (settings, databases):
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


def retry(
    day: DayArgument = None,
    every: Annotated[bool, typer.Option("--all", help="Every day that has failed.")] = False,
    client: AnyClientOption = None,
    as_json: JsonOption = False,
    data_dir: HomeOption = None,
) -> None:
    """Have days made again that have failed or were set aside."""
    from crew_pipeline.upkeep.overview import release_failed

    if every == (day is not None):
        raise typer.BadParameter("give a DAY, or --all")
    with open_store(data_dir) as (settings, databases):
        wanted = None if day is None else day_named(day, settings, databases, client)
        released = release_failed(databases.db, wanted, client)
    if as_json:
        console.print_json({"released": released})
    elif released:
        rendering.print_days(released, "")
        console.say(
            f"{len(released)} days wait again; "
            + ("a worker makes them." if day else "the sensor, the next sweep or 'crew process --pending' makes them.")
        )
    else:
        console.say("No day that has failed was found; 'crew status --failed' lists them.")
