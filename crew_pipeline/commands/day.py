"""``crew day``: a deduplicated day on the terminal."""

from __future__ import annotations

from typing import Annotated

import typer

from crew_pipeline.commands import console
from crew_pipeline.commands.common import ClientOption, JsonOption, day_named, in_home, open_store
from crew_pipeline.commands.day_view import DayView
from crew_pipeline.model import DEFAULT_CLIENT, ClientDay


@in_home
def day_(
    day: Annotated[str, typer.Argument(help="YYYY-MM-DD, today, yesterday or latest.")],
    client: ClientOption = DEFAULT_CLIENT,
    full: Annotated[bool, typer.Option("--full", help="Every line in its place, hidden ones marked.")] = False,
    only_folds: Annotated[bool, typer.Option("--folds", help="Only lines that stand for others.")] = False,
    whole: Annotated[
        bool, typer.Option("--whole", help="Every message to its end, with what is folded in it.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Show a deduplicated day: what is visible, what is folded under it, and why."""
    from crew_pipeline.days import standing_texts
    from crew_pipeline.days.reading import View, read_day
    from crew_pipeline.dedup.config import fingerprint_of
    from crew_pipeline.storage.conversations import clients, parts

    with open_store() as (general, databases):
        with databases.db.read() as connection:
            settings = clients.settings_of(connection, general, client)
        wanted = day_named(day, settings, databases, client)
        view = View("full" if full else "condensed")
        with databases.db.read() as connection:
            answer = read_day(connection, ClientDay(client, wanted), fingerprint_of(settings), view)
            since = standing_texts.of_day(connection, ClientDay(client, wanted))
            linked = parts.linked_on(connection, ClientDay(client, wanted))
    if as_json:
        console.print_json(answer)
    else:
        DayView(answer, since, linked, settings.zone, only_folds=only_folds, whole=whole).show(wanted, client)
