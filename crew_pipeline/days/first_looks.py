"""First looks: what a visitor who waits is shown while the day's texts are being embedded.

First what repeats word for word, then what can be told by words alone. Each look folds what the one before folded, and
more.
"""

from __future__ import annotations

from collections.abc import Callable

from crew_pipeline.days import folding, publishing
from crew_pipeline.days.run import DayRun
from crew_pipeline.dedup.comparing import Comparison, exact_repeats, first_comparison
from crew_pipeline.dedup.frames import Columns
from crew_pipeline.storage.days import documents, preliminary

MOST_LINES_AT_FIRST_SIGHT = 8_000
"""Comparing these by words takes some 3 s on two cores; the time grows faster than their number."""


def show_first_looks(run: DayRun, lines: Columns, warn: Callable[[str], object]) -> None:
    """Show the first looks of a day, where nothing is shown yet and embedding will take its time.

    Days too long for the second to be quick get only the first. Where a look fails, the day goes on without.

    Args:
        lines: columns ``frames.DISCOVERED`` of the client's day.
    """
    looks: tuple[tuple[Callable[[], Comparison], str], ...] = (
        (exact_repeats, "what repeats word for word is folded"),
        (lambda: first_comparison(lines, run.tools.config), "what can be told by words alone is folded"),
    )
    try:
        if not _to_be_shown(run, lines):
            return
        for compare, message in looks if len(lines["text"]) <= MOST_LINES_AT_FIRST_SIGHT else looks[:1]:
            if not _show(run, lines, compare(), message):
                return
    except Exception as error:
        warn(f"{run.client_day}: no preliminary result ({type(error).__name__})")


def _to_be_shown(run: DayRun, lines: Columns) -> bool:
    with run.tools.db.read() as connection:
        if preliminary.shown(connection, run.client_day, run.token) or documents.exists(connection, run.client_day):
            return False
    return bool(run.texts_without_vector(lines))


def _show(run: DayRun, lines: Columns, comparison: Comparison, message: str) -> bool:
    """Fold by a comparison and show it; returns whether the claim holds."""
    clusters = run.fold(lines, comparison, surer=True)
    built = folding.document_of(run.client_day, lines, folding.folds_in(clusters.rows), "preliminary")
    with run.tools.db.write() as connection:
        return publishing.show_first_look(connection, run.client_day, run.token, built.body, message)
