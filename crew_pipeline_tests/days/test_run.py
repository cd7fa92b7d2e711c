"""A day is made without being in the way of others."""

from __future__ import annotations

from collections.abc import Callable
from datetime import date
from typing import Any

import pytest
from sqlalchemy import text

from crew_pipeline.days import claims, folding
from crew_pipeline.days.snapshots import Snapshots
from crew_pipeline.model import ClientDay
from crew_pipeline.storage.database import Database
from crew_pipeline_tests.conftest import Run, bring, lines_at

Query = Callable[..., list[tuple[object, ...]]]
DAY = "2025-01-15"
CLIENT_DAY = ClientDay("acme", date.fromisoformat(DAY))
TALK = (("Mara", "the invoice export times out again"), ("Tom", "the invoice export times out again"))


def test_while_lines_are_folded_the_claim_is_prolonged_and_visitors_make_themselves_heard(
    db: Database, run_days: Run, query: Query, monkeypatch: pytest.MonkeyPatch
) -> None:
    bring(db, lines_at(DAY, "a", *TALK))
    fold_lines = folding.fold_lines
    prolonged: list[int] = []

    def watched(*values: Any) -> Any:
        with db.write() as connection:
            connection.execute(text("SET LOCAL lock_timeout = '2s'"))
            token = connection.scalar(text("SELECT token FROM day_claims WHERE ended_at IS NULL"))
            assert token is not None
            claims.prolong(connection, token, 60)
            claims.want(connection, CLIENT_DAY)
            prolonged.append(1)
        return fold_lines(*values)

    monkeypatch.setattr(folding, "fold_lines", watched)
    assert run_days(DAY).success
    assert prolonged
    assert query("SELECT hidden_count FROM day_documents WHERE is_current") == [(1,)]


def test_the_lines_of_a_day_that_fails_are_not_kept(
    db: Database, run_days: Run, query: Query, monkeypatch: pytest.MonkeyPatch
) -> None:
    bring(db, lines_at(DAY, "a", *TALK))
    snapshots = Snapshots()

    def broken(*_: Any) -> Any:
        raise ValueError("a bug")

    monkeypatch.setattr(folding, "fold_lines", broken)
    run_days(DAY, resources={"snapshots": snapshots})
    assert query("SELECT semantic_status FROM data_items") == [("failed",)]
    assert snapshots._token
    assert snapshots._frames == {}
