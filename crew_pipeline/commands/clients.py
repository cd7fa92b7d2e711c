"""``crew clients``: the settings that a client has of its own."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from crew_pipeline.commands import console
from crew_pipeline.commands.common import CommandError, JsonOption, in_home, open_store
from crew_pipeline.settings import Settings, known_zone

if TYPE_CHECKING:
    from crew_pipeline.storage.opening import Databases

app = typer.Typer(help="Clients: whose conversations, and how they fold.", no_args_is_help=True)

Folding = Literal["strict", "balanced", "loose", "default"]


@app.command("list")
@in_home
def clients_list(as_json: JsonOption = False) -> None:
    """List clients with their conversations and operating point."""
    from crew_pipeline.storage.conversations import clients

    with open_store() as (settings, databases), databases.db.read() as connection:
        listed = clients.list_all(connection)
    if as_json:
        console.print_json({"clients": [entry._asdict() for entry in listed], "default_folding": settings.folding})
        return
    console.table(
        "",
        ["client", "conversations#", "days#", "folding", "time zone", "discovered"],
        [
            [
                entry.client,
                entry.conversations,
                entry.days,
                entry.folding or f"{settings.folding} (default)",
                entry.timezone or f"{settings.timezone} (default)",
                "yes" if entry.active else "no",
            ]
            for entry in listed
        ],
    )


@app.command("set")
@in_home
def clients_set(
    client: Annotated[str, typer.Argument(help="The client.")],
    folding: Annotated[
        Folding | None, typer.Option(help="How sure the judge must be; 'default' follows CREW_FOLDING.")
    ] = None,
    active: Annotated[
        bool | None, typer.Option("--active/--inactive", help="Whether discovery reads the client's crews.")
    ] = None,
    timezone: Annotated[
        str | None,
        typer.Option(metavar="ZONE", help="IANA time zone of its days; 'default' follows CREW_TIMEZONE."),
    ] = None,
    create: Annotated[bool, typer.Option("--create", help="Make the client where there is none of this name.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Set a client's operating point and fold its days again; its time zone; switch its discovery on or off."""
    from crew_pipeline.days.refolding import set_folding
    from crew_pipeline.storage.conversations import clients

    if folding is None and active is None and timezone is None:
        raise typer.BadParameter("give --folding, --timezone, --active or --inactive")
    zone = _zone(timezone)
    with open_store() as (settings, databases):
        with databases.db.read() as connection:
            if not create and not clients.exists(connection, client):
                raise CommandError(
                    f"There is no client {client}; 'crew clients list' shows those there are, --create makes one."
                )
        if active is not None:
            with databases.db.write() as connection:
                clients.set_active(connection, client, active=active)
            console.note(f"{client} is {'discovered' if active else 'not discovered any more; what it has stays'}.")
        if timezone is not None:
            _set_timezone(settings, databases, client, zone)
        if folding is None:
            return
        done = set_folding(databases.db, settings, client, None if folding == "default" else folding)
    if as_json:
        console.print_json({"client": client, "folding": folding, "refolded": done.at_once, "later": done.later})
        return
    console.say(f"{client} folds at {folding}: {len(done.at_once)} days folded again, {len(done.later)} follow.")


def _zone(given: str | None) -> str | None:
    """The zone that was asked for; None for the system's."""
    if given in (None, "default"):
        return None
    try:
        return known_zone(given)
    except ValueError as error:
        raise typer.BadParameter(f"{given!r} is no time zone; give {error}, or default") from None


def _set_timezone(settings: Settings, databases: Databases, client: str, zone: str | None) -> None:
    from crew_pipeline.storage.conversations import rezoning

    with databases.db.write() as connection:
        done = rezoning.set_timezone(connection, settings, client, zone, datetime.now(UTC))
    days = sum(len(changed) for changed in done.days.values())
    console.note(
        f"{client}'s days begin in {zone or settings.timezone}: {done.conversations:,} conversations moved, "
        f"{days:,} days change."
    )
