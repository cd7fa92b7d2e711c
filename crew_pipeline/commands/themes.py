"""``crew themes``: what the days are about, and when; and what somebody makes of it."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated, Any

import typer

from crew_pipeline.commands import console
from crew_pipeline.commands.common import ClientOption, CommandError, JsonOption, in_home, open_store
from crew_pipeline.model import DEFAULT_CLIENT, line_key

if TYPE_CHECKING:
    from crew_pipeline.storage.database import Database

_SHOWN = 60
_LINES = 8
_LONGEST_SHOWN = 160


@in_home
def themes(  # noqa: PLR0913, PLR0917  an option each
    theme: Annotated[int | None, typer.Argument(help="Show this one.", min=1)] = None,
    client: ClientOption = DEFAULT_CLIENT,
    name: Annotated[str | None, typer.Option(help="Give it this name; '' for its own words.")] = None,
    into: Annotated[int | None, typer.Option(help="Put it into another theme.", metavar="ID", min=1)] = None,
    split: Annotated[bool, typer.Option("--split", help="Divide it where it comes apart.")] = False,
    line: Annotated[str | None, typer.Option(help="Put a line into it.", metavar="LINE_ID")] = None,
    drop: Annotated[bool, typer.Option("--drop", help="Take one back that somebody has made.")] = False,
    forbid: Annotated[str | None, typer.Option(help="Let no theme be named by a word.", metavar="WORD")] = None,
    allow: Annotated[str | None, typer.Option(help="Let themes be named by a word again.", metavar="WORD")] = None,
    as_json: JsonOption = False,
) -> None:
    """Show what the days are about; of one theme when, with which others, and what was said last. Or correct it: kept
    for ever."""
    asked = {"name": name, "into": into, "split": split or None, "line": line, "drop": drop or None}
    wanted = {what: value for what, value in asked.items() if value is not None}
    words = {what: word for what, word in (("forbid", forbid), ("allow", allow)) if word is not None}
    if len(wanted) + len(words) > 1:
        raise typer.BadParameter("one correction at a time")
    if wanted and theme is None:
        raise typer.BadParameter(f"--{next(iter(wanted))} is of a theme; name one")
    with open_store() as (settings, databases):
        db = databases.db.as_client(client)
        if wanted or words:
            theme = _correct(db, client, theme, wanted | words)
        content = _read(db, client, theme, settings.timezone)
    if content is None:
        raise typer.BadParameter(f"There is no theme {theme}; 'crew themes' lists them.")
    if as_json:
        console.print_json(content)
    elif theme is None:
        _list(content["themes"])
    else:
        _show(content)


def _correct(db: Database, client: str, theme: int | None, wanted: dict[str, Any]) -> int | None:
    """Make a correction; returns the theme to be shown then."""
    from crew_pipeline.history.themes import corrections

    ((what, value),) = wanted.items()
    key = line_key(value) if what == "line" else None
    if what == "line" and key is None:
        raise typer.BadParameter(f"{value!r} is no line_id; 'crew day DAY --json' shows them")
    own = theme or 0
    ways: dict[str, Callable[[], int | None]] = {
        "name": lambda: corrections.rename(db, client, own, value.strip() or None),
        "into": lambda: corrections.merge(db, client, own, value),
        "split": lambda: corrections.split(db, client, own),
        "line": lambda: corrections.move(db, client, *(key or ("", 0)), own),
        "drop": lambda: corrections.drop(db, client, own),
        "forbid": lambda: corrections.forbid(db, client, value),
        "allow": lambda: corrections.allow(db, client, value),
    }
    try:
        made = ways[what]()
    except (corrections.NoThemeError, corrections.NotPossibleError) as error:
        raise CommandError(str(error)) from None
    return None if what == "drop" else value if what == "into" else made or theme


def _read(db: Database, client: str, theme: int | None, zone: str) -> dict[str, Any] | None:
    """All themes, or one of them with where it is spoken of; None where there is no such."""
    from crew_pipeline.history.themes import reading
    from crew_pipeline.storage.conversations import clients

    with db.read() as connection:
        if theme is None:
            return reading.overview(connection, client)
        zone = clients.timezone_of(connection, client) or zone
        content = reading.detail(connection, client, theme, "month", zone)
        if content is not None:
            content |= reading.segments(connection, client, content["theme"]["id"], None, _LINES) or {}
        return content


def _list(found: list[dict[str, Any]]) -> None:
    if not found:
        console.say("No themes yet: they are found within minutes once there is enough talk that is ready.")
        return
    rows = [
        (one["id"], one["name"], one["conversations"], one["last_day"], "; ".join(_said(one))) for one in found[:_SHOWN]
    ]
    console.table("Themes", ("id", "theme", "conversations", "last", "when"), rows)
    if len(found) > _SHOWN:
        console.note(f"{len(found) - _SHOWN} more; --json shows all.")


def _said(theme: dict[str, Any]) -> list[str]:
    return [pattern["said"] for pattern in theme["patterns"]]


def _show(content: dict[str, Any]) -> None:
    theme = content["theme"]
    console.styled(
        f"\n[bold]{console.name(theme['name'])}[/bold]  [dim]{console.name(', '.join(theme['words']))}[/dim]"
    )
    console.say(
        f"{theme['conversations']:,} conversations on {theme['days']:,} days, "
        f"from {theme['first_day']} to {theme['last_day']}"
    )
    for said in _said(theme):
        console.say(f"  {said}")
    rows = [(one["from"], one["conversations"], one["of"]) for one in content["timeline"] if one["conversations"]]
    console.table("By month", ("from", "conversations", "of"), rows)
    for segment in content["segments"]:
        console.styled(f"\n[dim]{segment['day']}  {console.name(segment['crew'])}[/dim]")
        for line in segment["lines"]:
            text = line["text"] if len(line["text"]) <= _LONGEST_SHOWN else f"{line['text'][:_LONGEST_SHOWN]}…"
            console.say(f"  {line['speaker']}: {text}")
