"""``crew themes``: what the days are about, and when."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from crew_pipeline.commands import console
from crew_pipeline.commands.common import ClientOption, JsonOption, in_home, open_store
from crew_pipeline.model import DEFAULT_CLIENT

_SHOWN = 60
_LINES = 8
_LONGEST_SHOWN = 160


@in_home
def themes(
    theme: Annotated[int | None, typer.Argument(help="Show this one.", min=1)] = None,
    client: ClientOption = DEFAULT_CLIENT,
    as_json: JsonOption = False,
) -> None:
    """Show what the days are about; of one theme when, with which others, and what was said last."""
    from crew_pipeline.history.themes import reading
    from crew_pipeline.storage.conversations import clients

    with open_store() as (settings, databases), databases.db.as_client(client).read() as connection:
        if theme is None:
            content: dict[str, Any] | None = reading.overview(connection, client)
        else:
            zone = clients.timezone_of(connection, client) or settings.timezone
            content = reading.detail(connection, client, theme, "month", zone)
            if content is not None:
                content |= reading.segments(connection, client, content["theme"]["id"], None, _LINES) or {}
    if content is None:
        raise typer.BadParameter(f"There is no theme {theme}; 'crew themes' lists them.")
    if as_json:
        console.print_json(content)
    elif theme is None:
        _list(content["themes"])
    else:
        _show(content)


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
