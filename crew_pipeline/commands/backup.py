"""``crew backup`` and ``crew restore``: all of a store in one file, and back."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from crew_pipeline.commands import console
from crew_pipeline.commands.common import CommandError, in_home, open_store


@in_home
def backup(
    file: Annotated[Path, typer.Argument(help="Where to write it.")],
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Also where the file is there already.")] = False,
) -> None:
    """Write all of the store into one file: conversations, days, verdicts, settings of clients, Dagster's records."""
    from crew_pipeline.storage.backup import BackupError, save

    if file.exists() and not overwrite:
        raise CommandError(f"{file} is there already; give another name, or --overwrite.")
    with open_store() as (_, databases):
        try:
            save(databases, file)
        except BackupError as error:
            raise CommandError(str(error)) from None
    console.say(f"All of the store is in {file} ({file.stat().st_size / 1e6:,.1f} MB).")
    console.note("It holds every word that was said: keep it as you keep the store itself.")


@in_home
def restore(file: Annotated[Path, typer.Argument(help="A file that 'crew backup' wrote.")]) -> None:
    """Fill an empty store from a backup, and bring it to this version."""
    from crew_pipeline.processes.everything import alone_in
    from crew_pipeline.processes.supervisor import StartError
    from crew_pipeline.storage.backup import BackupError
    from crew_pipeline.storage.backup import restore as fill

    if not file.is_file():
        raise CommandError(f"There is no file {file}.")
    with open_store() as (settings, databases):
        try:
            with alone_in(settings.home_path):
                fill(databases, file)
        except (BackupError, StartError) as error:
            raise CommandError(str(error)) from None
        with databases.db.read() as connection:
            from crew_pipeline.storage.conversations import clients

            held = clients.list_all(connection)
    conversations, days = sum(one.conversations for one in held), sum(one.days for one in held)
    console.say(f"Restored: {len(held)} clients, {conversations:,} conversations on {days:,} days.")
