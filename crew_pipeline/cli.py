"""The ``crew`` command: registers its commands, each a file of its own in ``commands``, and shows their errors.

Everything heavy is imported by the command that needs it.
"""

from __future__ import annotations

import os
import sys
from typing import Annotated

import typer

from crew_pipeline import __version__
from crew_pipeline.commands import (
    api,
    backup,
    clients,
    console,
    crews,
    day,
    discover,
    doctor,
    env,
    evaluate,
    feedback,
    forget,
    import_,
    label,
    migrate,
    process,
    retry,
    rezone,
    search,
    status,
    summary,
    themes,
    tokens,
    up,
    webhooks,
    worker,
)
from crew_pipeline.commands.common import CommandError
from crew_pipeline.settings import SettingsError

app = typer.Typer(
    help="Clean Up Crew: days of conversation with the repeats folded away; nothing lost, every fold explained.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)


def _show_version(*, asked: bool) -> None:
    if asked:
        console.say(f"crew {__version__}")
        raise typer.Exit


@app.callback()
def _crew(
    *,
    version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Show the version and exit.")
    ] = False,
) -> None:
    """Days of conversation with the repeats folded away; nothing lost, every fold explained."""


app.command("up")(up.up)
app.command("import")(import_.import_)
app.command("imports")(import_.imports_)
app.command("discover")(discover.discover)
app.command("process")(process.process)
app.command("day")(day.day_)
app.command("search")(search.search)
app.command("themes")(themes.themes)
app.command("summary")(summary.summary)
app.command("status")(status.status)
app.command("retry")(retry.retry)
app.command("label")(label.label)
app.command("evaluate")(evaluate.evaluate)
app.command("doctor")(doctor.doctor)
app.command("env")(env.env)
app.command("backup")(backup.backup)
app.command("restore")(backup.restore)
app.command("migrate")(migrate.migrate)
app.command("rezone")(rezone.rezone)
app.command("worker")(worker.worker)
app.command("worker-process", hidden=True)(worker.worker_process)
app.command("api")(api.api)
app.add_typer(crews.app, name="crews")
app.add_typer(clients.app, name="clients")
app.add_typer(feedback.app, name="feedback")
app.add_typer(forget.app, name="forget")
app.add_typer(tokens.app, name="token")
app.add_typer(webhooks.app, name="webhooks")


def _known_errors() -> tuple[type[Exception], ...]:
    """Errors whose message is a sentence for the user."""
    from crew_pipeline.api.access import ExposedError
    from crew_pipeline.dedup.embedding import ModelNotFoundError
    from crew_pipeline.dedup.labelled_pairs import LabelledPairsError
    from crew_pipeline.discovery.exports.files import ExportError
    from crew_pipeline.processes.supervisor import StartError
    from crew_pipeline.storage.database import DatabaseUnavailableError
    from crew_pipeline.storage.embedded import EmbeddedPostgresError
    from crew_pipeline.storage.sources.crews import CrewError

    return (
        CommandError,
        SettingsError,
        ExposedError,
        ModelNotFoundError,
        ExportError,
        LabelledPairsError,
        StartError,
        CrewError,
        DatabaseUnavailableError,
        EmbeddedPostgresError,
    )


def main() -> None:
    """Entry point: errors are one sentence on standard error, a traceback only with ``--debug``."""
    # What is written holds other people's words: for its owner alone.
    os.umask(os.umask(0o077) | 0o077)
    debug = "--debug" in sys.argv
    arguments = [argument for argument in sys.argv[1:] if argument != "--debug"]
    try:
        app(arguments, prog_name="crew")
    except Exception as error:
        if debug:
            raise
        if isinstance(error, _known_errors()):
            console.note(str(error))
        else:
            console.note(f"Something went wrong ({type(error).__name__}); run again with --debug to see where.")
        sys.exit(1)


if __name__ == "__main__":
    main()
