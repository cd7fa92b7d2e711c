"""What all commands share: their options, their errors, and how they open the store."""

from __future__ import annotations

import inspect
import logging
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import date, datetime, timedelta
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ParamSpec, TypeVar

import typer

from crew_pipeline.commands import console
from crew_pipeline.settings import Settings, load_settings

if TYPE_CHECKING:
    from crew_pipeline.storage.opening import Databases

P = ParamSpec("P")
T = TypeVar("T")

ClientOption = Annotated[str, typer.Option(help="Whose conversations.", metavar="NAME")]
AnyClientOption = Annotated[str | None, typer.Option("--client", help="Only this client's.", metavar="NAME")]
JsonOption = Annotated[bool, typer.Option("--json", help="Print one JSON document.")]
ColumnOption = Annotated[
    list[str] | None,
    typer.Option("--column", metavar="FIELD=NAME", help="Which column holds what, where it is not to be guessed."),
]


class CommandError(Exception):
    """A command cannot do what it was asked; the message is one sentence with a remedy."""


def columns_of(given: list[str] | None) -> dict[str, str]:
    """Column by field, from ``FIELD=NAME`` options."""
    columns: dict[str, str] = {}
    for option in given or []:
        field, equals, name = (part.strip() for part in option.partition("="))
        if not (field and equals and name):
            raise typer.BadParameter(f"{option!r} names no column; write it like --column text=Message")
        columns[field] = name
    return columns


_HOME = inspect.Parameter(
    "data_dir",
    inspect.Parameter.KEYWORD_ONLY,
    default=None,
    annotation=Annotated[Path | None, typer.Option("--data-dir", help="The data directory (CREW_HOME).")],
)


def in_home(command: Callable[P, T]) -> Callable[P, T]:
    """Give a command the option ``--data-dir``, as every command that opens the store has."""

    @wraps(command)
    def in_given_home(*values: P.args, **named: P.kwargs) -> T:
        data_dir = named.pop("data_dir", None)
        if data_dir is not None:
            os.environ["CREW_HOME"] = str(data_dir)
        return command(*values, **named)

    signature = inspect.signature(command, eval_str=True)
    given: Any = in_given_home
    given.__signature__ = signature.replace(parameters=[*signature.parameters.values(), _HOME])
    given.__annotations__ = {**command.__annotations__, "data_dir": _HOME.annotation}
    return in_given_home


@contextmanager
def open_store(*, prepare: bool = True) -> Iterator[tuple[Settings, Databases]]:
    """Settings and databases of a command; Dagster code that is loaded meanwhile uses the same."""
    from crew_pipeline.storage.opening import open_databases

    settings = load_settings()
    if settings.home is None and settings.database_url is None:
        console.note(f"Data directory: {settings.home_path}")
    with open_databases(settings, prepare=prepare) as databases:
        os.environ.update(databases.environment())
        yield settings, databases


def day_named(name: str, settings: Settings, databases: Databases, client: str | None) -> date:
    """A day by its date or by name, in the time zone of ``settings``."""
    if name in {"today", "yesterday"}:
        return datetime.now(settings.zone).date() - timedelta(days=name == "yesterday")
    if name == "latest":
        from crew_pipeline.storage.days.states import latest_day

        with databases.db.read() as connection:
            latest = latest_day(connection, client)
        if latest is None:
            raise CommandError("There are no conversations yet; 'crew import FILE' brings some.")
        return latest
    try:
        return datetime.strptime(name, "%Y-%m-%d").date()  # noqa: DTZ007 - a day has no zone
    except ValueError:
        raise typer.BadParameter(f"{name!r} is no day; write YYYY-MM-DD, today, yesterday or latest") from None


def log_to_stderr(settings: Settings, naming: logging.Filter | None = None) -> None:
    """Log to standard error what happens in this process.

    Args:
        naming: gives each line the ``request_id`` that it belongs to.
    """
    handler = logging.StreamHandler()
    named = " %(request_id)s" if naming is not None else ""
    line = f"%(asctime)s %(levelname)s %(name)s{named}: %(message)s"
    if naming is not None:
        handler.addFilter(naming)
    if settings.log_format == "json":
        from pythonjsonlogger.json import JsonFormatter

        handler.setFormatter(JsonFormatter(line, rename_fields={"asctime": "time", "levelname": "level"}))
    else:
        handler.setFormatter(logging.Formatter(line))
    logging.basicConfig(level=logging.WARNING, handlers=[handler])
    logging.getLogger("crew_pipeline").setLevel(settings.log_level.upper())
