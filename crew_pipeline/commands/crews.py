"""``crew crews``: the history tables that discovery reads."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated

import typer

from crew_pipeline import console
from crew_pipeline.commands.common import DEFAULT_CLIENT, ClientOption, CommandError, HomeOption, JsonOption, open_store
from crew_pipeline.storage import crews

app = typer.Typer(help="Crews: the history tables that discovery reads.", no_args_is_help=True)


@app.command("add")
def crews_add(
    code: Annotated[str, typer.Argument(help="The crew's name.")],
    table: Annotated[str, typer.Option(help="The history table: id, session_id, message, created_at.")],
    client: ClientOption = DEFAULT_CLIENT,
    source_env: Annotated[
        str | None,
        typer.Option(help="Environment variable with the address of its database; unset: the application's own."),
    ] = None,
    data_dir: HomeOption = None,
) -> None:
    """Let discovery read a history table."""
    with open_store(data_dir) as (_, databases), databases.engine.begin() as connection:
        crews.set_history(connection, client, code, source_env, table)
    place = f"{table} in ${source_env}" if source_env else table
    console.say(f"{client}/{code} is read from {place}; 'crew discover' reads it now.")


@app.command("remove")
def crews_remove(
    code: Annotated[str, typer.Argument(help="The crew's name.")],
    client: ClientOption = DEFAULT_CLIENT,
    data_dir: HomeOption = None,
) -> None:
    """Stop reading a crew's history table; its conversations stay."""
    with open_store(data_dir) as (_, databases), databases.engine.begin() as connection:
        if not crews.deactivate(connection, client, code):
            raise CommandError(
                f"There is no crew {code} of {client} with a history table; 'crew crews list' shows them."
            )
    console.say(f"{client}/{code} is not read any more; its conversations stay.")


@app.command("list")
def crews_list(as_json: JsonOption = False, data_dir: HomeOption = None) -> None:
    """List the crews that have a history table."""
    with open_store(data_dir) as (_, databases), databases.engine.connect() as connection:
        found = crews.history_sources(connection)
    if as_json:
        console.print_json({"crews": [asdict(one) for one in found]})
        return
    console.table(
        "",
        ["client", "crew", "table", "source"],
        [[one.client, one.code, one.history_table, one.source_env or "own database"] for one in found],
    )
