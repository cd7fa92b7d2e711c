"""``crew crews``: the history tables that discovery reads."""

from __future__ import annotations

from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

import typer

from crew_pipeline.commands import console
from crew_pipeline.commands.common import (
    AnyClientOption,
    ClientOption,
    ColumnOption,
    CommandError,
    JsonOption,
    columns_of,
    in_home,
    open_store,
)
from crew_pipeline.model import DEFAULT_CLIENT
from crew_pipeline.storage.sources import crews

app = typer.Typer(help="Crews: the history tables that discovery reads.", no_args_is_help=True)


@app.command("add")
@in_home
def crews_add(
    code: Annotated[str, typer.Argument(help="The crew's name.")],
    table: Annotated[str, typer.Option(help="The history table.")],
    client: ClientOption = DEFAULT_CLIENT,
    source_env: Annotated[
        str | None,
        typer.Option(help="Environment variable with the address of its database; unset: the application's own."),
    ] = None,
    column: ColumnOption = None,
) -> None:
    """Let discovery read a history table: id, session_id, message and more; --column maps other names."""
    with open_store() as (_, databases), databases.db.write() as connection:
        crews.set_history(connection, client, code, source_env, table, columns_of(column))
    place = f"{table} in ${source_env}" if source_env else table
    console.say(f"{client}/{code} is read from {place}; 'crew discover' reads it now, 'crew crews check' looks at it.")


@app.command("remove")
@in_home
def crews_remove(
    code: Annotated[str, typer.Argument(help="The crew's name.")],
    client: ClientOption = DEFAULT_CLIENT,
) -> None:
    """Stop reading a crew's history table; its conversations stay."""
    with open_store() as (_, databases), databases.db.write() as connection:
        if not crews.deactivate(connection, client, code):
            raise CommandError(
                f"There is no crew {code} of {client} with a history table; 'crew crews list' shows them."
            )
    console.say(f"{client}/{code} is not read any more; its conversations stay.")


@app.command("list")
@in_home
def crews_list(as_json: JsonOption = False) -> None:
    """List the crews that have a history table."""
    with open_store() as (_, databases), databases.db.read() as connection:
        sources = sorted(crews.history_sources(connection), key=lambda source: (source.client, source.code))
    if as_json:
        console.print_json({"crews": [asdict(source) for source in sources]})
        return
    console.table(
        "",
        ["client", "crew", "table", "source", "columns"],
        [
            [
                source.client,
                source.code,
                source.history_table,
                source.source_env or "own database",
                ", ".join(f"{field}={name}" for field, name in sorted(source.columns.items())),
            ]
            for source in sources
        ],
    )


@app.command("check")
@in_home
def crews_check(
    code: Annotated[str | None, typer.Argument(help="Only this crew.")] = None,
    client: AnyClientOption = None,
    as_json: JsonOption = False,
) -> None:
    """Open each source, look at its table, and say how it is read and what could be better. Changes nothing."""
    from crew_pipeline.discovery.check import check_source

    with open_store() as (settings, databases):
        with databases.db.read() as connection:
            sources = crews.history_sources(connection, client, code)
        checks = [check_source(databases.db, settings, source) for source in sources]
    if as_json:
        console.print_json({"crews": checks})
    elif not checks:
        console.say("No crew has a history table; add one with 'crew crews add'.")
    for check in checks if not as_json else []:
        _print_check(check)
    if any(check["error"] for check in checks):
        raise CommandError("A history table cannot be read; the reasons are above.")


@app.command("apply")
@in_home
def crews_apply(
    file: Annotated[Path, typer.Argument(help="YAML: clients: NAME: crews: NAME: {table, source_env, columns}.")],
    prune: Annotated[bool, typer.Option(help="Crews that the file does not list are read no more.")] = False,
) -> None:
    """Set up the clients and crews that a YAML file lists. Applying it twice changes nothing."""
    from crew_pipeline.discovery.registry import apply_registry, read_registry

    registry = read_registry(file)
    with open_store() as (settings, databases), databases.db.write() as connection:
        applied = apply_registry(connection, registry, settings, datetime.now(UTC), prune=prune)
    console.say(f"{len(applied.read)} crews are read: {', '.join(applied.read) or 'none'}.")
    if applied.stopped:
        console.say(f"{len(applied.stopped)} are not read: {', '.join(applied.stopped)}.")


def _print_check(check: dict[str, Any]) -> None:
    mark = "[red]FAIL[/]" if check["error"] else "[yellow]note[/]" if check["warnings"] else "[green]ok[/]  "
    name = f"{check['client']}/{check['crew']}"
    if check["error"]:
        console.styled(f"{mark}  {console.shown(name)}  {console.shown(check['error'])}")
        return
    read = ", ".join(f"{field} from {column}" for field, column in check["columns"].items())
    console.styled(f"{mark}  {console.shown(name)}  {console.shown(check['table'])}: {console.shown(read)}")
    for warning in check["warnings"]:
        console.say(f"        {warning}")
    for reason in check["first_rows"]["refused"]:
        console.say(f"        {reason}")
    for refusal in check["refused"]:
        console.say(f"        refused in the past: row {refusal['row']}: {refusal['reason']}")
