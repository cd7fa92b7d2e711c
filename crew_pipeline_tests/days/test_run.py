"""A day is made without being in the way of others."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import date
from typing import Any

import pytest
from sqlalchemy import text

from crew_pipeline.days import claims, folding
from crew_pipeline.days.run import DayRun
from crew_pipeline.days.snapshots import Snapshots
from crew_pipeline.dedup.pair_scorer import BundledScorer
from crew_pipeline.model import ClientDay
from crew_pipeline.storage.database import Database
from crew_pipeline_tests.conftest import Run, bring, lines_at
from crew_pipeline_tests.disturbed import said

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


def test_nothing_that_was_read_for_one_client_hastens_the_day_of_another(
    db: Database, run_days: Run, query: Query, monkeypatch: pytest.MonkeyPatch
) -> None:
    """How long a day takes would tell a client whether somebody else has said the same."""
    read: list[int] = []
    logits = BundledScorer.logits

    def counted(self: BundledScorer, pairs: Sequence[tuple[str, str]]) -> Any:
        read.append(len(pairs))
        return logits(self, pairs)

    monkeypatch.setattr(BundledScorer, "logits", counted)
    talk = said(1, 120)
    counts = []
    for client in ("acme", "rival", "acme"):
        read.clear()
        bring(db, lines_at("2025-01-15", f"session {len(counts)}", *talk, hour=9 + len(counts)), client=client)
        assert run_days("2025-01-15").success
        counts.append(sum(read))
    assert counts[0] == counts[1] > 0
    assert counts[2] == 0
    assert query("SELECT client, count(*) FROM pair_readings GROUP BY 1 ORDER BY 1") == [
        ("acme", counts[0]),
        ("rival", counts[1]),
    ]


def test_what_makes_a_day_sees_the_rows_of_its_client_alone(
    db: Database, run_days: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    for client in ("acme", "rival"):
        bring(db, lines_at(DAY, "a", *TALK), client=client)
    seen: dict[str, list[str]] = {}
    document = DayRun.document

    def looked(self: DayRun, *values: Any) -> Any:
        with self.tools.db.read() as connection:
            rows = connection.scalars(text("SELECT DISTINCT client FROM data_items ORDER BY 1"))
            seen[self.client_day.client] = list(rows)
        return document(self, *values)

    monkeypatch.setattr(DayRun, "document", looked)
    assert run_days(DAY).success
    assert seen == {"acme": ["acme"], "rival": ["rival"]}
