"""``crew migrate``: the tables of this version."""

from __future__ import annotations

from crew_pipeline.commands import console
from crew_pipeline.commands.common import JsonOption, in_home, open_store


@in_home
def migrate(as_json: JsonOption = False) -> None:
    """Bring the tables to this version, and exit: for deployments, where the other processes may not change them."""
    from crew_pipeline.storage.migrate import state_of
    from crew_pipeline.storage.roles import grant

    # Whatever opens the store brings it up to date.
    with open_store() as (_, databases):
        grant(databases.owners_db)
        state = state_of(databases.owners_db)
    if as_json:
        console.print_json({"schema": state})
        return
    console.say("The tables are up to date." if state == "current" else "The tables are of a newer version than this.")
