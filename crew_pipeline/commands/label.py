"""``crew label``: asks about the pairs of a day that the judge is least sure of, one key a pair."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Annotated

import typer

from crew_pipeline.commands import console
from crew_pipeline.commands.common import (
    ClientOption,
    CommandError,
    day_named,
    in_home,
    open_store,
)
from crew_pipeline.model import DEFAULT_CLIENT
from crew_pipeline.storage.evidence.verdicts import Verdict

if TYPE_CHECKING:
    from crew_pipeline.days.labelling import Question

_KEYS: dict[str, Verdict] = {"s": "same", "y": "same", "d": "different", "n": "different"}


@in_home
def label(
    day: Annotated[str, typer.Argument(help="YYYY-MM-DD, today, yesterday or latest.")],
    client: ClientOption = DEFAULT_CLIENT,
    most: Annotated[int, typer.Option("--most", help="How many pairs to ask about.", min=1, max=500)] = 20,
) -> None:
    """Ask about the pairs the judge is least sure of: s same, d different, space skips, u undoes, q ends."""
    from crew_pipeline.days import labelling, verdicts
    from crew_pipeline.model import ClientDay

    if not sys.stdin.isatty():
        raise CommandError("'crew label' asks at a terminal; elsewhere use 'crew feedback same' and 'different'.")
    with open_store() as (settings, databases):
        client_day = ClientDay(client, day_named(day, settings, databases, client))
        questions = labelling.questions(databases.db, settings, client_day, most)
        if not questions:
            raise CommandError(
                f"There is nothing to ask about {client_day.day}: it has no judged pairs left; "
                f"'crew process {client_day.day}' judges a day that was not processed yet."
            )
        said: list[tuple[int, int]] = []
        number = 0
        while number < len(questions):
            key = _ask(questions[number], number + 1, len(questions))
            if key in {"q", "\x03", "\x04", "\x1b"}:
                break
            if key == "u" and said:
                number, last = said.pop()
                verdicts.undo(databases.db, settings, client, last)
                continue
            if key in _KEYS:
                question = questions[number]
                lines = (question.left.line_id, question.right.line_id)
                try:
                    verdict = verdicts.say(databases.db, settings, client_day, _KEYS[key], lines)
                    said.append((number, verdict.id))
                except verdicts.UnknownLineError:
                    console.note("The day has changed meanwhile; this pair is passed over.")
            elif key != " ":
                continue
            number += 1
    console.say(f"\n{len(said)} pairs judged; 'crew feedback list' shows them, 'crew feedback export' writes them.")


def _ask(question: Question, number: int, total: int) -> str:
    console.say(f"\n{number} of {total} · {question.probability:.0%} sure it is the same ({question.reason})")
    for line in (question.left, question.right):
        console.say(f"  {line.speaker}: {line.text}")
    console.say("s same · d different · space skip · u undo · q end")
    try:
        return typer.getchar().lower()
    except (EOFError, KeyboardInterrupt):
        return "q"
