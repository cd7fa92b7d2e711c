"""``crew retry``: days that failed are made again."""

from __future__ import annotations

from typing import Annotated

import typer

from crew_pipeline.commands import console, rendering
from crew_pipeline.commands.common import AnyClientOption, JsonOption, day_named, in_home, open_store
from crew_pipeline.commands.status import DayArgument


@in_home
def retry(
    day: DayArgument = None,
    every: Annotated[bool, typer.Option("--all", help="Every day that has failed.")] = False,
    client: AnyClientOption = None,
    as_json: JsonOption = False,
) -> None:
    """Have days that failed or were set aside made again."""
    from crew_pipeline.upkeep.overview import release_failed

    if every == (day is not None):
        raise typer.BadParameter("give a DAY, or --all")
    with open_store() as (settings, databases):
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
