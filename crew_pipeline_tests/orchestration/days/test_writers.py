"""Runs write for several clients while others write for the same ones."""

from __future__ import annotations

from collections.abc import Callable
from datetime import date

from crew_pipeline.model import ClientDay
from crew_pipeline.storage.database import Database
from crew_pipeline.storage.days.events import EventType, emit
from crew_pipeline_tests.conftest import Run, bring, lines_at

Query = Callable[..., list[tuple[object, ...]]]
DAY = "2025-01-15"


def test_a_run_does_not_hold_up_a_writer_that_takes_the_clients_in_another_order(
    db: Database, run_days: Run, query: Query
) -> None:
    for client in ("first", "second"):
        bring(db, lines_at(DAY, "a", ("Mara", "The export still times out.")), client=client)
    run_days(DAY)
    # What is not ready comes before what is only made again, so a run takes the second client first.
    bring(db, lines_at(DAY, "b", ("Tom", "It is fast enough by now.")), client="second")
    with db.read() as other:
        emit(other, ClientDay("first", date.fromisoformat(DAY)), EventType.PROGRESS, {}, None)
        # Nobody waits for what another has not committed.
        assert run_days(DAY, force=True).success
        assert query("SELECT count(*) FROM day_events WHERE client = 'second' AND type = 'processing_started'") == [
            (2,)
        ]
        emit(other, ClientDay("second", date.fromisoformat(DAY)), EventType.PROGRESS, {}, None)
        other.commit()
