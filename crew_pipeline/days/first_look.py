"""The first look: what a visitor who waits is shown while the day's lines are compared: word for word, what repeats.

The document folds what the first look folded, and more.
"""

from __future__ import annotations

from collections.abc import Callable

from crew_pipeline.days import folding, publishing
from crew_pipeline.days.run import DayRun
from crew_pipeline.dedup.comparing import exact_repeats
from crew_pipeline.dedup.frames import Columns
from crew_pipeline.storage.days import documents, preliminary

MESSAGE = "what repeats word for word is folded"


def show_first_look(run: DayRun, lines: Columns, warn: Callable[[str], object]) -> None:
    """Show the first look of a day, where nothing is shown yet. Where it fails, the day goes on without.

    Args:
        lines: columns ``frames.DISCOVERED`` of the client's day.
    """
    try:
        if not _to_be_shown(run):
            return
        clusters = run.fold(lines, exact_repeats(), silent=True)
        folds, said = folding.folds_in(clusters.rows), run.wishes().verdicts
        built = folding.document_of(run.client_day, lines, folds, "preliminary", said)
        with run.tools.db.write() as connection:
            publishing.show_first_look(connection, run.client_day, run.token, built.body, MESSAGE)
    except Exception as error:
        warn(f"{run.client_day}: no preliminary result ({type(error).__name__})")


def _to_be_shown(run: DayRun) -> bool:
    with run.tools.db.read() as connection:
        shown = preliminary.shown(connection, run.client_day, run.token)
        return not shown and not documents.exists(connection, run.client_day)
