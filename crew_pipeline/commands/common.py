"""What all commands share: their options, their errors, and how they open the store."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from crew_pipeline.settings import Settings, load_settings

if TYPE_CHECKING:
    from crew_pipeline.storage.opening import Databases

DEFAULT_CLIENT = "default"
ClientOption = Annotated[str, typer.Option(help="Whose conversations.", metavar="NAME")]
AnyClientOption = Annotated[str | None, typer.Option("--client", help="Only this client's.", metavar="NAME")]
JsonOption = Annotated[bool, typer.Option("--json", help="Print one JSON document.")]
ColumnOption = Annotated[
    list[str] | None,
    typer.Option("--column", metavar="FIELD=NAME", help="Which column holds what, where it is not to be guessed."),
]
HomeOption = Annotated[Path | None, typer.Option("--data-dir", help="The data directory (CREW_HOME).")]


class CommandError(Exception):
    """A command cannot do what it was asked; the message is one sentence with a remedy."""


def columns_of(given: list[str] | None) -> dict[str, str]:
    """Column by field, from ``FIELD=NAME`` options."""
    columns: dict[str, str] = {}
    for one in given or []:
        field, equals, name = (part.strip() for part in one.partition("="))
        if not (field and equals and name):
            raise typer.BadParameter(f"{one!r} names no column; write it like --column text=Message")
        columns[field] = name
    return columns


@contextmanager
def open_store(data_dir: Path | None = None, *, prepare: bool = True) -> Iterator[tuple[Settings, Databases]]:
    """Settings and databases of a command; Dagster code that is loaded meanwhile finds the same ones."""
    from crew_pipeline.storage.opening import open_databases

    if data_dir is not None:
        os.environ["CREW_HOME"] = str(data_dir)
    settings = load_settings()
    with open_databases(settings, prepare=prepare) as databases:
        os.environ.update(databases.environment())
        yield settings, databases


def day_named(name: str, settings: Settings, databases: Databases, client: str | None) -> date:
    """A day by its date or by name, in the configured time zone."""
    today = datetime.now(settings.zone).date()
    if name in {"today", "yesterday"}:
        return today - timedelta(days=name == "yesterday")
    if name == "latest":
        from crew_pipeline.storage.days.states import latest_day

        with databases.db.read() as connection:
            found = latest_day(connection, client)
        if found is None:
            raise CommandError("There are no conversations yet; 'crew import FILE' brings some.")
        return found
    try:
        return datetime.strptime(name, "%Y-%m-%d").date()  # noqa: DTZ007 - a day has no zone
    except ValueError:
        raise typer.BadParameter(f"{name!r} is no day; write YYYY-MM-DD, today, yesterday or latest") from None
