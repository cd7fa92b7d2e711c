"""``crew feedback``: what visitors say about pairs of lines, honoured at once and for ever."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

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
from crew_pipeline.model import DEFAULT_CLIENT
from crew_pipeline.storage.evidence import verdicts as stored

app = typer.Typer(help="What visitors say about pairs of lines.", no_args_is_help=True)

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


def _say(verdict: stored.Verdict, day: str, lines: tuple[str, str], client: str, as_json: bool) -> None:
    from crew_pipeline.days import verdicts
    from crew_pipeline.model import ClientDay

    with open_store() as (settings, databases):
        wanted = day_named(day, settings, databases, client)
        try:
            said = verdicts.say(databases.db, settings, ClientDay(client, wanted), verdict, lines)
        except (verdicts.UnknownLineError, verdicts.SameLineError, verdicts.TooShortError) as error:
            raise CommandError(str(error)) from None
    if as_json:
        console.print_json({"id": said.id, "verdict": verdict, "refolded": said.days.at_once, "later": said.days.later})
        return
    console.say(
        f"Verdict {said.id}: {verdict}. {len(said.days.at_once)} days folded again, {len(said.days.later)} follow."
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
