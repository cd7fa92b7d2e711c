"""``crew import``: an export into the store."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Literal

import typer

from crew_pipeline.commands import console, rendering
from crew_pipeline.commands.common import (
    ClientOption,
    ColumnOption,
    CommandError,
    JsonOption,
    columns_of,
    in_home,
    open_store,
)
from crew_pipeline.model import DEFAULT_CLIENT

FileFormat = Literal["auto", "jsonl", "limitless", "chatgpt", "claude", "slack", "csv", "parquet"]


@in_home
def import_(
    file: Annotated[Path, typer.Argument(help="The export: a file, a ZIP archive or a folder.")],
    client: ClientOption = DEFAULT_CLIENT,
    crew: Annotated[str, typer.Option(help="Under which crew the conversations are kept.")] = "import",
    file_format: Annotated[FileFormat, typer.Option("--format", help="Format of the export.")] = "auto",
    column: ColumnOption = None,
    as_json: JsonOption = False,
) -> None:
    """Import an export. Importing it twice changes nothing."""
    from crew_pipeline.discovery.exports.export import open_export
    from crew_pipeline.discovery.importing import import_export

    export = open_export(file, file_format, columns_of(column))
    with open_store() as (settings, databases):
        with console.progress(f"importing {file.name}", export.size, quiet=as_json) as advance:
            report = import_export(
                databases.db,
                export,
                client=client,
                crew=crew,
                settings=settings,
                now=datetime.now(UTC),
                on_progress=advance,
            )
        if as_json:
            console.print_json({"file": str(file), **report.as_dict()})
        else:
            rendering.print_import_report(report.as_dict())
        if not report.reading.lines_read:
            raise CommandError(f"{file.name} holds no lines; nothing was imported.")
        if report.reading.lines_read == report.rejected:
            raise CommandError(
                f"Not one of the {report.rejected} lines of {file.name} could be imported; correct them and try again."
            )
