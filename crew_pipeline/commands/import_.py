"""``crew import``: an export, or a folder of several, into the store."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, NamedTuple

import typer

from crew_pipeline.commands import console, rendering
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
from crew_pipeline.discovery.moments import Times
from crew_pipeline.model import DEFAULT_CLIENT

if TYPE_CHECKING:
    from crew_pipeline.discovery.exports.several import Part
    from crew_pipeline.settings import Settings
    from crew_pipeline.storage.database import Database

FileFormat = Literal["auto", "jsonl", "limitless", "chatgpt", "claude", "slack", "csv", "parquet"]
DEFAULT_CREW = "import"


class CrewOf(NamedTuple):
    """Whose the conversations are: a client's crew, None where it is not named."""

    client: str
    crew: str | None


class How(NamedTuple):
    """How an export is to be read, as far as that is said."""

    format: str
    columns: dict[str, str]
    times: Times


@in_home
def import_(  # noqa: PLR0913, PLR0917 - its options are its parameters
    file: Annotated[
        Path | None,
        typer.Argument(help="The export: a file, a ZIP archive, or a folder of one or several.", show_default=False),
    ] = None,
    client: ClientOption = DEFAULT_CLIENT,
    crew: Annotated[
        str | None,
        typer.Option(
            help="Under which crew the conversations are kept; else 'import', or of several exports one for each.",
            show_default=False,
        ),
    ] = None,
    file_format: Annotated[FileFormat, typer.Option("--format", help="Format of the export.")] = "auto",
    column: ColumnOption = None,
    time_format: Annotated[
        str | None, typer.Option(metavar="FORMAT", help="How times are written, such as '%d.%m.%y %H:%M'.")
    ] = None,
    day_first: Annotated[
        bool | None, typer.Option("--day-first/--month-first", help="What 02/03/2025 is: else it is refused.")
    ] = None,
    undo: Annotated[
        int | None, typer.Option("--undo", metavar="ID", help="Take an import back; 'crew imports' lists them.")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Import an export, or every export of a folder. Importing it twice changes nothing."""
    if (file is None) == (undo is None):
        raise typer.BadParameter("Missing argument: the file of an export, or --undo with the id of an import")
    if undo is not None:
        _undo(undo, as_json)
    elif file is not None:
        how = How(file_format, columns_of(column), Times(time_format, day_first))
        _import_all(file, CrewOf(client, crew), how, as_json)


def _import_all(file: Path, owner: CrewOf, how: How, as_json: bool) -> None:
    from crew_pipeline.discovery.exports.files import ExportError
    from crew_pipeline.discovery.exports.several import open_exports

    found = open_exports(file, how.format, how.columns)
    several = len(found.parts) > 1
    imported, broken = [], []
    with open_store() as (settings, databases):
        for part in found.parts:
            under = owner.crew or (part.name if several else DEFAULT_CREW)
            try:
                report = _import(databases.db, settings, part, CrewOf(owner.client, under), how.times, as_json)
            except ExportError as error:
                if not several:
                    raise
                broken.append((part.export.path.name, str(error)))
                continue
            imported.append((part, report))
    left = [*found.left, *broken]
    if as_json:
        each = [{"file": str(part.export.path), **report} for part, report in imported]
        not_read = [{"file": name, "reason": reason} for name, reason in left]
        console.print_json({**({"imports": each} if several else each[0]), "not_read": not_read})
    else:
        for _, report in imported:
            rendering.print_import_report(report)
        rendering.print_not_read(left)
    for part, report in imported:
        _refuse_empty(part, report["lines"])
    if broken:
        raise CommandError(f"{len(broken)} of {len(found.parts)} exports could not be read to their end; see above.")


def _import(db: Database, settings: Settings, part: Part, owner: CrewOf, times: Times, as_json: bool) -> dict[str, Any]:
    from crew_pipeline.discovery.importing import import_export

    label = f"importing {part.export.path.name}"
    with console.progress(label, part.export.size, quiet=as_json) as advance:
        report = import_export(
            db,
            part.export,
            client=owner.client,
            crew=owner.crew or DEFAULT_CREW,
            settings=settings,
            now=datetime.now(UTC),
            times=times,
            on_progress=advance,
        )
    return report.as_dict()


def _undo(import_id: int, as_json: bool) -> None:
    from crew_pipeline.storage.conversations import imports
    from crew_pipeline.storage.conversations.parts import calendar_of

    with open_store() as (settings, databases):
        now = datetime.now(UTC)
        try:
            with databases.db.write() as connection:
                found, undone = imports.undo(
                    connection, import_id, lambda client: calendar_of(connection, settings, client, now)
                )
        except imports.UndoError as error:
            raise CommandError(str(error)) from None
    if as_json:
        console.print_json({"id": import_id, "client": found.client, "crew": found.crew, **undone._asdict()})
        return
    restored = f"; {undone.restored:,} are as they were before it" if undone.restored else ""
    console.say(
        f"Import {import_id} ({found.file}, {found.client} / {found.crew}) is taken back: {undone.taken_back:,} lines "
        f"are gone{restored}. {len(undone.days):,} days change."
    )


@in_home
def imports_(
    client: AnyClientOption = None,
    undone: Annotated[bool, typer.Option("--undone", help="Also those that were taken back.")] = False,
    as_json: JsonOption = False,
) -> None:
    """List what was imported, the latest first; 'crew import --undo ID' takes one back."""
    from crew_pipeline.storage.conversations import imports

    with open_store() as (_, databases), databases.db.read() as connection:
        listed = imports.list_all(connection, client, with_undone=undone)
    if as_json:
        console.print_json({"imports": [one._asdict() for one in listed]})
    else:
        rendering.print_imports(listed)


def _refuse_empty(part: Part, lines: dict[str, int]) -> None:
    name = part.export.path.name
    if not lines["read"]:
        raise CommandError(f"{name} holds no lines; nothing of it was imported.")
    if lines["read"] == lines["rejected"]:
        raise CommandError(
            f"Not one of the {lines['rejected']} lines of {name} could be imported; correct them and try again."
        )
