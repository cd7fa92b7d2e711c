"""``crew rezone``: conversations into the days of the time zone that is set now."""

from __future__ import annotations

from datetime import UTC, datetime

from crew_pipeline.commands import console
from crew_pipeline.commands.common import CommandError, JsonOption, in_home, open_store


@in_home
def rezone(as_json: JsonOption = False) -> None:
    """Move conversations to the days that they have in CREW_TIMEZONE, or their client's own, after it was changed."""
    from crew_pipeline.processes.everything import alone_in
    from crew_pipeline.processes.supervisor import StartError
    from crew_pipeline.storage.conversations import rezoning
    from crew_pipeline.storage.conversations.parts import calendar_of

    with open_store() as (settings, databases):
        try:
            with alone_in(settings.home_path), databases.db.write() as connection:
                done = rezoning.rezone(
                    connection, lambda client: calendar_of(connection, settings, client, datetime.now(UTC))
                )
        except StartError as error:
            raise CommandError(str(error)) from None
    days = sum(len(changed) for changed in done.days.values())
    if as_json:
        console.print_json({"timezone": settings.timezone, "conversations": done.conversations, "days": done.days})
        return
    console.say(f"{settings.timezone}: {done.conversations:,} conversations moved, {days:,} days change.")
    if days:
        console.note("'crew process --pending' makes them again now; 'crew up' does it in the background.")
