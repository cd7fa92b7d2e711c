"""``crew forget``: erase lines and all that was made of them; search for what is left of them."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated

import typer

from crew_pipeline.commands import console
from crew_pipeline.commands.common import ClientOption, CommandError, JsonOption, day_named, in_home, open_store
from crew_pipeline.model import DEFAULT_CLIENT, line_key

if TYPE_CHECKING:
    from crew_pipeline.days.forgetting import Forgotten, Scope
    from crew_pipeline.settings import Settings
    from crew_pipeline.storage.opening import Databases

app = typer.Typer(
    help="Erase a line, a conversation, a span of days, a crew or a client, with all that was made of it.",
    no_args_is_help=True,
)

DryRunOption = Annotated[bool, typer.Option("--dry-run", help="Only say what would be erased.")]
YesOption = Annotated[bool, typer.Option("--yes", help="Do not ask.")]
CrewOption = Annotated[str | None, typer.Option("--crew", help="Only this crew's.")]

REMAINS = (
    "What may remain: backups that were made before; the source itself (it cannot bring this back, see 'crew forget "
    "list'); names of clients in Dagster's records of runs until CREW_KEEP_RUNS_D; on a server of your own what its "
    "log of changes and its backups keep. 'crew forget search WORDS' looks through every table."
)


@app.command("line")
@in_home
def line(
    line_id: Annotated[str, typer.Argument(help="A line_id, as 'crew day --json' and the API show it.")],
    client: ClientOption = DEFAULT_CLIENT,
    dry_run: DryRunOption = False,
    yes: YesOption = False,
    as_json: JsonOption = False,
) -> None:
    """Erase one line."""
    from crew_pipeline.days.forgetting import Scope

    key = line_key(line_id)
    if key is None:
        raise typer.BadParameter(f"{line_id!r} is no line_id; 'crew day DAY --json' shows them")
    _forget(Scope(client, line=key), dry_run=dry_run, yes=yes, as_json=as_json)


@app.command("conversation")
@in_home
def conversation(
    conversation_id: Annotated[str, typer.Argument(help="Its id, as 'crew day --json' and the API show it.")],
    client: ClientOption = DEFAULT_CLIENT,
    dry_run: DryRunOption = False,
    yes: YesOption = False,
    as_json: JsonOption = False,
) -> None:
    """Erase a conversation; of one that goes on for days, this day's part."""
    from crew_pipeline.days.forgetting import Scope

    _forget(Scope(client, conversation=conversation_id), dry_run=dry_run, yes=yes, as_json=as_json)


@app.command("span")
@in_home
def span(
    first: Annotated[str, typer.Argument(help="First day, YYYY-MM-DD.")],
    last: Annotated[str, typer.Argument(help="Last day, YYYY-MM-DD.")],
    client: ClientOption = DEFAULT_CLIENT,
    crew: CrewOption = None,
    dry_run: DryRunOption = False,
    yes: YesOption = False,
    as_json: JsonOption = False,
) -> None:
    """Erase the conversations of some days."""
    from crew_pipeline.days.forgetting import Scope

    with open_store() as (settings, databases):
        begin, end = (day_named(name, settings, databases, client) for name in (first, last))
        if begin > end:
            raise typer.BadParameter(f"{begin} is after {end}")
        scope = Scope(client, crew, first=begin, last=end)
        _forget_in(settings, databases, scope, dry_run=dry_run, yes=yes, as_json=as_json)


@app.command("crew")
@in_home
def crew_(
    code: Annotated[str, typer.Argument(help="The crew.")],
    client: ClientOption = DEFAULT_CLIENT,
    dry_run: DryRunOption = False,
    yes: YesOption = False,
    as_json: JsonOption = False,
) -> None:
    """Erase a crew: its conversations and its setting up."""
    from crew_pipeline.days.forgetting import Scope

    _forget(Scope(client, code), dry_run=dry_run, yes=yes, as_json=as_json)


@app.command("client")
@in_home
def client_(
    client: Annotated[str, typer.Argument(help="The client.")],
    dry_run: DryRunOption = False,
    yes: YesOption = False,
    as_json: JsonOption = False,
) -> None:
    """Erase a client: all its conversations, crews, verdicts and tokens."""
    from crew_pipeline.days.forgetting import Scope

    _forget(Scope(client), dry_run=dry_run, yes=yes, as_json=as_json)


def _forget(scope: Scope, *, dry_run: bool, yes: bool, as_json: bool) -> None:
    with open_store() as (settings, databases):
        _forget_in(settings, databases, scope, dry_run=dry_run, yes=yes, as_json=as_json)


def _forget_in(
    settings: Settings, databases: Databases, scope: Scope, *, dry_run: bool, yes: bool, as_json: bool
) -> None:
    from crew_pipeline.days import forgetting

    now = datetime.now(UTC)
    try:
        would = forgetting.forget(databases.db, settings, scope, now, dry_run=True)
        if dry_run:
            _tell(would, as_json=as_json, done=False)
            return
        if not yes and not _agreed(scope, would):
            raise CommandError("Nothing was erased; --yes does it without asking.")
        done = forgetting.forget(databases.db, settings, scope, now)
    except (forgetting.NothingThereError, forgetting.BusyError) as error:
        raise CommandError(str(error)) from None
    _clean_up(settings, databases, scope, done, quiet=as_json)
    _tell(done, as_json=as_json, done=True)


def _agreed(scope: Scope, would: Forgotten) -> bool:
    import sys

    if not sys.stdin.isatty():
        return False
    return typer.confirm(f"Erase {would.lines:,} lines ({scope.kind}) of {scope.client} for ever?", err=True)


def _clean_up(settings: Settings, databases: Databases, scope: Scope, done: Forgotten, *, quiet: bool) -> None:
    """Make the days again, and leave nothing in the files of the embedded server."""
    from crew_pipeline.storage import traces

    if done.days and scope.kind != "client":
        from crew_pipeline.orchestration.bulk import process_days

        span = min(done.days), max(done.days)
        with console.progress("making the days again", 1.0, quiet=quiet) as advance:
            process_days(settings, databases, span, client=scope.client, on_progress=advance)
    _clean_index(settings, databases, scope)
    if databases.embedded is not None:
        traces.scour(databases.owners_db)


def _clean_index(settings: Settings, databases: Databases, scope: Scope) -> None:
    """Leave nothing in the index of this data directory, where there is one."""
    from crew_pipeline.history.search.index import SEARCH_FOLDER, ClientIndex

    index = ClientIndex(settings.home_path / SEARCH_FOLDER, scope.client, settings.max_words)
    if scope.kind == "client":
        index.delete()
    elif index.generation is not None:
        index.update(databases.db)


def _tell(forgotten: Forgotten, *, as_json: bool, done: bool) -> None:
    if as_json:
        console.print_json({"erased": done, "rows": forgotten.rows, "days": forgotten.days, "remains": REMAINS})
        return
    console.table(
        "erased" if done else "would be erased",
        ["table", "rows#"],
        [[table, count] for table, count in sorted(forgotten.rows.items())],
    )
    console.say(f"{forgotten.lines:,} lines; {len(forgotten.days):,} days {'are' if done else 'would be'} made again.")
    if done:
        console.note(REMAINS)


@app.command("list")
@in_home
def list_(as_json: JsonOption = False) -> None:
    """List what was forgotten and is kept out, by kind and time; what it was is not known any more."""
    from crew_pipeline.storage.conversations import tombstones

    with open_store() as (_, databases), databases.db.read() as connection:
        listed = tombstones.listed(connection)
    if as_json:
        console.print_json({"forgotten": [stone._asdict() for stone in listed]})
        return
    console.table("", ["id#", "kind", "lines#", "forgotten"], [[s.id, s.kind, s.lines, s.forgotten_at] for s in listed])


@app.command("lift")
@in_home
def lift(number: Annotated[int, typer.Argument(help="Its id in 'crew forget list'.")]) -> None:
    """Let sources bring again what was forgotten, where they still have it."""
    from crew_pipeline.storage.conversations import tombstones

    with open_store() as (_, databases), databases.db.write() as connection:
        if not tombstones.lift(connection, number):
            raise CommandError(f"There is no {number}; 'crew forget list' shows what is kept out.")
    console.say(
        f"What {number} kept out comes back when its source is read from the beginning ('crew discover --full')."
    )


@app.command("search")
@in_home
def search(
    words: Annotated[str, typer.Argument(help="Words to look for, as they were said.")],
    as_json: JsonOption = False,
) -> None:
    """Look for words in every table of both databases and in the files of the data directory."""
    from crew_pipeline.storage import traces
    from crew_pipeline.storage.database import database_at

    if not words.strip():
        raise typer.BadParameter("give the words to look for")
    with open_store() as (settings, databases):
        found = {
            "application": traces.in_database(databases.owners_db, words),
            "dagster": traces.in_database(database_at(databases.dagster), words),
        }
        if databases.embedded is not None:
            found["files"] = traces.in_files(settings.home_path, words)
    if as_json:
        console.print_json({where: [trace._asdict() for trace in traces_] for where, traces_ in found.items()})
        return
    rows = [[where, trace.place, trace.found] for where, traces_ in found.items() for trace in traces_]
    if not rows:
        console.say("Nothing: no table and no file holds these words.")
        return
    console.table("", ["where", "place", "found#"], rows)
