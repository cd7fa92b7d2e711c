"""``crew summary``: what a day, a week, a conversation or a theme comes to."""

from __future__ import annotations

from datetime import date, timedelta
from typing import Annotated, Any

import typer

from crew_pipeline.commands import console
from crew_pipeline.commands.common import ClientOption, JsonOption, day_named, in_home, open_store
from crew_pipeline.model import DEFAULT_CLIENT

_PARTS = (
    ("Key points", "key_points"),
    ("Decided", "decisions"),
    ("To do", "tasks"),
    ("Open questions", "questions"),
)


@in_home
def summary(
    day: Annotated[str | None, typer.Argument(help="YYYY-MM-DD, today, yesterday or latest.")] = None,
    client: ClientOption = DEFAULT_CLIENT,
    week: Annotated[bool, typer.Option("--week", help="Of the week that the day lies in.")] = False,
    conversation: Annotated[str | None, typer.Option(help="Of a conversation instead.", metavar="ID")] = None,
    theme: Annotated[int | None, typer.Option(help="Of a theme instead.", metavar="ID", min=1)] = None,
    as_json: JsonOption = False,
) -> None:
    """Show what was said in short: key points, decisions, tasks and open questions, as they were said."""
    from crew_pipeline.history.summaries import reading
    from crew_pipeline.storage.conversations import clients
    from crew_pipeline.storage.history.points import Within

    if [day, conversation, theme].count(None) != len("ab"):
        raise typer.BadParameter("name a day, or --conversation, or --theme; one of them")
    if week and day is None:
        raise typer.BadParameter("--week is of a day; name one")
    with open_store() as (settings, databases):
        size = reading.CONVERSATION if conversation is not None else reading.SPAN
        within = Within(conversation_id=conversation, theme=theme)
        if day is not None:
            first, last = _span(day_named(day, settings, databases, client), week=week)
            within, size = Within(first, last), reading.SPAN if week else reading.DAY
        with databases.db.as_client(client).read() as connection:
            zone = clients.timezone_of(connection, client) or settings.timezone
            content = reading.summary(connection, client, within, size, zone)
    if as_json:
        console.print_json(content)
        return
    _show(content)


def _span(day: date, *, week: bool) -> tuple[date, date]:
    if not week:
        return day, day
    first = day - timedelta(days=day.weekday())
    return first, first + timedelta(days=6)


def _show(content: dict[str, Any]) -> None:
    console.say(f"{content['conversations']:,} conversations, {content['lines']:,} lines")
    if content["missing_days"]:
        console.note(f"Of {content['missing_days']:,} of {content['days']:,} days nothing is in it yet.")
    shown = [(title, content[part]) for title, part in _PARTS if content[part]]
    for title, points in shown:
        console.styled(f"\n[bold]{title}[/bold]")
        for point in points:
            console.say(f"  {point['speaker']}: {' '.join(point['text'].split())}")
            console.styled(f"    [dim]{_where(point)}[/dim]")
    if not shown:
        console.say("Nothing to tell yet: days are summarised within minutes of being ready.")


def _where(point: dict[str, Any]) -> str:
    who = f"{console.name(point['who'])}, " if point.get("who") else ""
    due = f"{console.name(point['due'])}, " if point.get("due") else ""
    often = f", {point['times']:,} times" if point["times"] > 1 else ""
    return f"{who}{due}{point['day']}, {console.name(point['line_id'])}{often}"
