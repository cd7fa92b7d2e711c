"""``crew search``: the whole history, by words and by meaning."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import typer

from crew_pipeline.commands import console
from crew_pipeline.commands.common import ClientOption, JsonOption, day_named, in_home, open_store
from crew_pipeline.model import DEFAULT_CLIENT

_LONGEST_SHOWN = 300


@in_home
def search(  # noqa: PLR0913, PLR0917  an option each
    words: Annotated[list[str], typer.Argument(help='What is looked for; "in quotes" stands together.')],
    client: ClientOption = DEFAULT_CLIENT,
    first: Annotated[str | None, typer.Option("--from", help="First day.", metavar="DAY")] = None,
    last: Annotated[str | None, typer.Option("--to", help="Last day.", metavar="DAY")] = None,
    crew: Annotated[str | None, typer.Option(help="Only this crew's.", metavar="CODE")] = None,
    speaker: Annotated[str | None, typer.Option(help="Only what this one said.", metavar="NAME")] = None,
    mode: Annotated[Literal["auto", "words", "meaning"], typer.Option(help="By words, by meaning, or both.")] = "auto",
    limit: Annotated[int, typer.Option(help="Texts that are shown.", min=1, max=100)] = 10,
    as_json: JsonOption = False,
) -> None:
    """Search everything that was said, by its words and by what it means."""
    from crew_pipeline.history.search.index import SEARCH_FOLDER, ClientIndex, OpenIndex
    from crew_pipeline.history.search.searching import Search, find, shown
    from crew_pipeline.history.search.words import Filter

    with open_store() as (settings, databases):
        days = [None if day is None else day_named(day, settings, databases, client) for day in (first, last)]
        asked = Search(" ".join(words), Filter(days[0], days[1], crew, speaker), mode)
        index = ClientIndex(settings.home_path / SEARCH_FOLDER, client, settings.max_words)
        db = databases.db.as_client(client)
        index.update(db, rest=_tell)
        opened = OpenIndex(index)
        opened.look_again()
        hits = find(db, opened, client, asked)
        results = shown(db, opened, client, asked, hits[:limit]) if hits else []
    if as_json:
        console.print_json({"query": asked.query, "mode": mode, "results": results, "total": len(hits)})
        return
    for result in results:
        _show(result)
    if not results:
        console.say("Nothing was found.")
    elif len(hits) > limit:
        console.note(f"{len(hits) - limit} more; --limit shows them.")


def _tell(left: int) -> None:
    if left:
        console.note(f"Taking {left:,} more days into the index…")


def _show(result: dict[str, Any]) -> None:
    place = result["places"][0]
    on = f"{result['days']:,} days" if result["days"] > 1 else "one day"
    often = f", {result['times']:,} times on {on}" if result["times"] > 1 else ""
    where = f"{console.name(place['crew'])}, {console.name(place['line_id'])}"
    console.styled(f"\n[bold]{place['day']}  {console.name(place['speaker'])}[/bold]{often}  [dim]{where}[/dim]")
    console.styled(_marked(result["text"], result["highlights"]))


def _marked(text: str, marks: list[list[int]]) -> str:
    """The beginning of a text, or what is around the first of its marks, with these made visible."""
    first = max(0, marks[0][0] - _LONGEST_SHOWN // 2) if marks and marks[0][1] > _LONGEST_SHOWN else 0
    last = min(len(text), first + _LONGEST_SHOWN)
    parts, at = ["…" if first else ""], first
    for start, end in marks:
        if at <= start and end <= last:
            parts += [console.name(text[at:start]), "[bold yellow]", console.name(text[start:end]), "[/bold yellow]"]
            at = end
    return "".join([*parts, console.name(text[at:last]), "…" if last < len(text) else ""])
