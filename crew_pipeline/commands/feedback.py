"""``crew feedback``: what visitors say about pairs of lines and about what stands in messages, honoured for ever."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from crew_pipeline.commands import console
from crew_pipeline.commands.common import (
    ClientOption,
    CommandError,
    JsonOption,
    day_named,
    in_home,
    open_store,
)
from crew_pipeline.model import DEFAULT_CLIENT, ClientDay
from crew_pipeline.storage.evidence import verdicts as stored

if TYPE_CHECKING:
    from crew_pipeline.days.verdicts import Given
    from crew_pipeline.settings import Settings
    from crew_pipeline.storage.database import Database

app = typer.Typer(help="What visitors say about lines, and about what stands in them.", no_args_is_help=True)

DayArgument = Annotated[str, typer.Argument(help="YYYY-MM-DD, today, yesterday or latest.")]
LineArgument = Annotated[str, typer.Argument(help="A line_id, as 'crew day --json' and the API show it.")]


@app.command("same")
@in_home
def same(
    day: DayArgument,
    line: LineArgument,
    other: LineArgument,
    client: ClientOption = DEFAULT_CLIENT,
    as_json: JsonOption = False,
) -> None:
    """Say that two lines say the same: they are folded together from now on."""
    _say("same", day, (line, other), client, as_json)


@app.command("different")
@in_home
def different(
    day: DayArgument,
    line: LineArgument,
    other: LineArgument,
    client: ClientOption = DEFAULT_CLIENT,
    as_json: JsonOption = False,
) -> None:
    """Say that two lines are no duplicates: they are never folded together again."""
    _say("different", day, (line, other), client, as_json)


@app.command("show")
@in_home
def show(
    day: DayArgument,
    line: LineArgument,
    start: Annotated[int, typer.Option(min=0, help="Where it begins in the text, in characters.")] = 0,
    end: Annotated[int | None, typer.Option(min=1, help="Where it ends; the end of the text unless told.")] = None,
    client: ClientOption = DEFAULT_CLIENT,
    as_json: JsonOption = False,
) -> None:
    """Say that what stands in a line is always shown, however often it repeats."""
    from crew_pipeline.days import verdicts

    _store(day, client, as_json, lambda db, settings, of: verdicts.show(db, settings, of, line, start, end))


@app.command("hide")
@in_home
def hide(
    day: DayArgument,
    line: LineArgument,
    client: ClientOption = DEFAULT_CLIENT,
    as_json: JsonOption = False,
) -> None:
    """Say that the standing text of a line's speaker is left out, also where it stands first."""
    from crew_pipeline.days import verdicts

    _store(day, client, as_json, lambda db, settings, of: verdicts.hide(db, settings, of, line))


def _say(verdict: Literal["same", "different"], day: str, lines: tuple[str, str], client: str, as_json: bool) -> None:
    from crew_pipeline.days import verdicts

    _store(day, client, as_json, lambda db, settings, of: verdicts.say(db, settings, of, verdict, lines))


def _store(day: str, client: str, as_json: bool, say: Callable[[Database, Settings, ClientDay], Given]) -> None:
    from crew_pipeline.days import verdicts

    with open_store() as (settings, databases):
        wanted = day_named(day, settings, databases, client)
        try:
            said = say(databases.db, settings, ClientDay(client, wanted))
        except (
            verdicts.UnknownLineError,
            verdicts.SameLineError,
            verdicts.TooShortError,
            verdicts.NoPassageError,
        ) as error:
            raise CommandError(str(error)) from None
    if as_json:
        days = {"refolded": said.days.at_once, "later": said.days.later}
        console.print_json({"id": said.id, "verdict": said.verdict, **days})
        return
    console.say(
        f"Verdict {said.id}: {said.verdict}. {len(said.days.at_once)} days folded again, {len(said.days.later)} follow."
    )
    console.note(f"'crew feedback undo {said.id}' takes it back.")


@app.command("list")
@in_home
def list_(
    client: ClientOption = DEFAULT_CLIENT,
    undone: Annotated[bool, typer.Option("--undone", help="Also those taken back.")] = False,
    as_json: JsonOption = False,
) -> None:
    """List what visitors have said."""
    with open_store() as (_, databases), databases.db.read() as connection:
        listed = stored.list_all(connection, client, with_undone=undone)
    if as_json:
        console.print_json({"feedback": [said._asdict() for said in listed]})
        return
    console.table(
        "",
        ["id#", "verdict", "day", "line", "other line"],
        [
            [said.id, said.verdict + (" (undone)" if said.undone_at else ""), said.day, said.left_text, said.right_text]
            for said in listed
        ],
    )


@app.command("undo")
@in_home
def undo(
    feedback_id: Annotated[int, typer.Argument(help="The verdict's id.")],
    client: ClientOption = DEFAULT_CLIENT,
) -> None:
    """Take a verdict back; its lines fold as the engine judges them."""
    from crew_pipeline.days import verdicts

    with open_store() as (settings, databases):
        done = verdicts.undo(databases.db, settings, client, feedback_id)
    if done is None:
        raise CommandError(f"{client} has no verdict {feedback_id} in force; 'crew feedback list' shows them.")
    console.say(
        f"Verdict {feedback_id} is taken back: {len(done.at_once)} days folded again, {len(done.later)} follow."
    )


@app.command("export")
@in_home
def export(
    file: Annotated[Path, typer.Argument(help="Where to write them; '-' for standard output.")],
    client: ClientOption = DEFAULT_CLIENT,
) -> None:
    """Write the verdicts in force as labelled pairs (JSONL), as 'crew evaluate' and the training read them."""
    from crew_pipeline.dedup import labelled_pairs

    with open_store() as (_, databases), databases.db.read() as connection:
        pairs = stored.labelled_pairs(connection, client)
    content = labelled_pairs.written(pairs)
    if str(file) == "-":
        typer.echo(content.decode(), nl=False)
        return
    try:
        file.write_bytes(content)
    except OSError as error:
        raise CommandError(f"{file} cannot be written ({error.strerror}); give another path.") from None
    console.say(f"{len(pairs)} labelled pairs in {file}")
