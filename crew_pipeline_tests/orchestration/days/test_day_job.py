"""A day through Dagster: conversations in, the document out, failures kept where they are."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from datetime import date
from typing import Any

import numpy as np
import orjson
import pytest
from dagster import (
    AssetCheckKey,
    AssetKey,
    DagsterEventType,
    DagsterExecutionInterruptedError,
    DagsterInstance,
)
from dagster._core.definitions.data_version import CachingStaleStatusResolver
from dagster._core.loader import LoadingContextForTest
from sqlalchemy.exc import OperationalError

from crew_pipeline.days import claims
from crew_pipeline.dedup.embedding import ModelNotFoundError
from crew_pipeline.dedup.pair_scorer import BundledScorer
from crew_pipeline.dedup.text_vectors import TextEncoder
from crew_pipeline.model import ClientDay
from crew_pipeline.orchestration.build import build_defs
from crew_pipeline.orchestration.days import day_work
from crew_pipeline.orchestration.partitions import day_partitions
from crew_pipeline.orchestration.resources import DatabaseResource
from crew_pipeline.orchestration.tags import Asset
from crew_pipeline.settings import Settings, load_settings
from crew_pipeline.storage.database import Database
from crew_pipeline.storage.days import documents
from crew_pipeline.storage.evidence import invariants
from crew_pipeline_tests.conftest import Run, bring, lines_at

Query = Callable[..., list[tuple[object, ...]]]

TALK = (
    ("Mara", "The release is blocked because the invoice export still times out."),
    ("Mara", "The release is blocked because invoice export still times out again."),
    ("Priya", "The release is not blocked any more."),
    ("Tom", "The release is blocked because the invoice export still times out."),
    ("Mara", "ok thanks"),
    ("Jonas", "ok thanks"),
)


def document_of(db: Database, day: str, client: str = "acme") -> list[dict[str, Any]]:
    with db.read() as connection:
        body = connection.exec_driver_sql(
            "SELECT body FROM day_documents WHERE client = %s AND day = %s AND is_current", (client, day)
        ).scalar()
    return orjson.loads(body)


def materialized(instance: DagsterInstance, run_id: str, asset: str) -> dict[str, dict[str, Any]]:
    """Metadata of the run's materializations of an asset, by partition."""
    found = instance.get_records_for_run(run_id, of_type=DagsterEventType.ASSET_MATERIALIZATION).records
    return {
        made.partition: {key: value.value for key, value in made.metadata.items()}
        for record in found
        if (made := record.event_log_entry.asset_materialization) and made.asset_key == AssetKey(asset)
    }


class FailingEncoder(TextEncoder):
    """Makes the real vectors, but raises what it is told to, so many times, where a text asks for it."""

    def __init__(self, error: Exception, times: int = 10**9, on: str = "") -> None:
        self.error, self.left, self.on, self.calls = error, times, on, 0

    def encode(self, texts: Sequence[str]) -> np.ndarray:
        self.calls += 1
        if self.left and any(self.on in text for text in texts):
            self.left -= 1
            raise self.error
        return super().encode(texts)


class RecordingScorer(BundledScorer):
    """Reads as the bundled one does, and keeps what it read."""

    def __init__(self) -> None:
        super().__init__()
        self.read: list[tuple[str, str]] = []

    def logits(self, pairs: Sequence[tuple[str, str]]) -> np.ndarray:
        self.read.extend(pairs)
        return super().logits(pairs)


def test_a_day_is_folded_with_its_evidence_and_nothing_lost(db: Database, run_days: Run) -> None:
    bring(db, lines_at("2025-01-15", "a", *TALK))
    outcome = run_days("2025-01-15")
    assert outcome.success, outcome.error
    (conversation,) = document_of(db, "2025-01-15")
    assert (conversation["line_count"], conversation["hidden_count"]) == (6, 2)
    shown = conversation["display_conversation"]
    assert [line["speaker"] for line in shown] == ["Mara", "Priya", "Mara", "Jonas"]
    again, tom = shown[0]["hidden_variations"]
    assert (tom["speaker"], tom["probability"], tom["reason"]) == ("Tom", 1, "same words")
    assert (again["speaker"], "both say" in again["reason"]) == ("Mara", True)
    assert 0 < again["similarity"] < 1
    assert 0.5 <= again["probability"] < 1


def test_a_second_run_of_an_unchanged_day_compares_nothing(
    db: Database, instance: DagsterInstance, run_days: Run, query: Query
) -> None:
    bring(db, lines_at("2025-01-15", "a", *TALK))
    first, second = run_days("2025-01-15"), run_days("2025-01-15")
    assert materialized(instance, first.run_id, "line_embeddings")["2025-01-15"]["distinct_texts"] == 3
    unchanged = {asset: materialized(instance, second.run_id, asset)["2025-01-15"] for asset in
                 ("discovered_conversations", "line_embeddings", "semantic_clusters", "day_document")}  # fmt: skip
    assert {asset: figures["unchanged"] for asset, figures in unchanged.items()} == dict.fromkeys(unchanged, True)
    assert "distinct_texts" not in unchanged["line_embeddings"]
    assert unchanged["day_document"]["documents_written"] == 0
    assert query("SELECT count(*) FROM day_claims") == [(1,)]
    assert query("SELECT token FROM day_documents") == [(first.run_id,)]


def test_what_is_told_of_a_day_is_of_the_whole_day_whatever_a_run_did_of_it(
    db: Database, instance: DagsterInstance, run_days: Run
) -> None:
    for client in ("acme", "rival"):
        bring(db, lines_at("2025-01-15", "a", *TALK), client=client)
    runs = [run_days("2025-01-15"), run_days("2025-01-15", client="acme", force=True), run_days("2025-01-15")]
    told = [materialized(instance, run.run_id, "day_document")["2025-01-15"] for run in runs]
    assert [figures["documents_written"] for figures in told] == [2, 1, 0]
    for name, right in {"documents": 2, "lines": 12, "hidden_lines": 4, "hidden_ratio": 0.3333}.items():
        assert [figures[name] for figures in told] == [right] * 3, name
    arrived = [materialized(instance, run.run_id, "discovered_conversations")["2025-01-15"] for run in runs]
    assert [(one["lines"], one["clients_taken"], one["lines_taken"]) for one in arrived] == [
        (12, 2, 12), (12, 1, 6), (12, 0, 0),
    ]  # fmt: skip
    folded = [materialized(instance, run.run_id, "semantic_clusters")["2025-01-15"] for run in runs]
    assert [(one["clusters"], one["hidden_lines"]) for one in folded] == [(2, 4)] * 3


def test_of_a_day_that_grew_only_what_is_new_is_read(db: Database, run_days: Run) -> None:
    bring(db, lines_at("2025-01-15", "a", *TALK))
    first, second = RecordingScorer(), RecordingScorer()
    run_days("2025-01-15", resources={"scorer": first})
    bring(db, lines_at("2025-01-15", "b", ("Lena", "Can I install it on Windows 10?"), TALK[0], hour=14))
    run_days("2025-01-15", resources={"scorer": second})
    assert first.read
    assert second.read == []
    assert sum(one["hidden_count"] for one in document_of(db, "2025-01-15")) == 3


def test_a_grown_day_ends_in_the_document_of_a_day_that_came_whole(db: Database, run_days: Run, query: Query) -> None:
    more = lines_at("2025-01-15", "b", ("Lena", "Can I install it on Windows 10?"), TALK[0], hour=14)
    bring(db, lines_at("2025-01-15", "a", *TALK))
    run_days("2025-01-15")
    bring(db, more)
    run_days("2025-01-15")
    grown = query("SELECT version, body FROM day_documents WHERE is_current")
    query("TRUNCATE data_items, lines, crews, line_embeddings, semantic_clusters, day_documents, day_claims CASCADE")
    bring(db, more[::-1] + lines_at("2025-01-15", "a", *TALK)[::-1])
    run_days("2025-01-15")
    assert query("SELECT version, body FROM day_documents WHERE is_current") == grown


def test_one_run_covers_several_days_each_with_its_own_metadata(
    db: Database, instance: DagsterInstance, run_days: Run, query: Query
) -> None:
    for day in ("2025-01-13", "2025-01-15"):
        bring(db, lines_at(day, f"s-{day}", *TALK))
    outcome = run_days("2025-01-13", "2025-01-15")
    assert outcome.success, outcome.error
    by_day = materialized(instance, outcome.run_id, "day_document")
    assert sorted(by_day) == ["2025-01-13", "2025-01-14", "2025-01-15"]
    assert [by_day[day]["hidden_lines"] for day in sorted(by_day)] == [2, 0, 2]
    assert query("SELECT day::text FROM day_documents ORDER BY 1") == [("2025-01-13",), ("2025-01-15",)]
    assert query("SELECT DISTINCT semantic_status FROM data_items") == [("completed",)]


class WatchingEncoder(FailingEncoder):
    """Keeps what is ready each time it is asked for vectors; raises ``error`` the ``at``-th time."""

    def __init__(self, query: Query, error: BaseException | None = None, at: int = 0) -> None:
        super().__init__(ValueError(), times=0)
        self.query, self.stop, self.at = query, error, at
        self.ready: list[list[str]] = []

    def encode(self, texts: Sequence[str]) -> np.ndarray:
        self.ready.append(
            [str(day) for (day,) in self.query("SELECT day::text FROM day_documents ORDER BY processed_at")]
        )
        if self.stop is not None and len(self.ready) == self.at:
            raise self.stop
        return super().encode(texts)


def test_days_of_a_run_are_finished_one_after_the_other_the_most_urgent_first(
    db: Database, instance: DagsterInstance, run_days: Run, query: Query
) -> None:
    for day in ("2025-01-12", "2025-01-13", "2025-01-15"):
        bring(db, lines_at(day, f"s-{day}", *TALK))
    query("UPDATE data_items SET processing_priority = CASE days_date WHEN '2025-01-13' THEN 3 ELSE 1 END")
    encoder = WatchingEncoder(query)
    outcome = run_days("2025-01-12", "2025-01-15", resources={"encoder": encoder})
    assert outcome.success, outcome.error
    assert encoder.ready == [[], ["2025-01-13"], ["2025-01-13", "2025-01-12"]]
    logged = [
        record.event_log_entry.user_message
        for record in instance.get_records_for_run(outcome.run_id).records
        if re.match(r"2025-01-1\d: ", record.event_log_entry.user_message)
    ]
    assert [line.partition(":")[0] for line in logged] == ["2025-01-13", "2025-01-12", "2025-01-15", "2025-01-14"]
    assert logged[0].startswith("2025-01-13: 1 of 1 clients ready, 6 lines, 2 folded away, ")
    assert logged[3] == "2025-01-14: nothing to do"


@pytest.mark.parametrize("interrupt", [KeyboardInterrupt, DagsterExecutionInterruptedError])
def test_a_run_that_is_told_to_stop_keeps_what_is_finished_and_gives_back_the_rest(
    db: Database, run_days: Run, query: Query, interrupt: type[BaseException]
) -> None:
    for day in ("2025-01-15", "2025-01-16", "2025-01-17"):
        bring(db, lines_at(day, f"s-{day}", *TALK))
    outcome = run_days("2025-01-15", "2025-01-17", resources={"encoder": WatchingEncoder(query, interrupt(), at=2)})
    assert (outcome.success, outcome.error) == (False, "The run was told to stop; its days were given back.")
    assert query("SELECT days_date::text, semantic_status FROM data_items ORDER BY 1") == [
        ("2025-01-15", "completed"), ("2025-01-16", "pending"), ("2025-01-17", "pending"),
    ]  # fmt: skip
    assert query("SELECT day::text, outcome FROM day_claims ORDER BY 1") == [
        ("2025-01-15", "completed"), ("2025-01-16", "released"),
    ]  # fmt: skip


def test_a_day_that_passing_trouble_broke_off_is_tried_again_and_those_before_it_are_not(
    db: Database, run_days: Run, query: Query
) -> None:
    for day in ("2025-01-15", "2025-01-16"):
        bring(db, lines_at(day, f"s-{day}", *TALK))
    trouble = OperationalError("SELECT 1", {}, Exception("server closed the connection"))
    encoder = WatchingEncoder(query, trouble, at=2)
    assert run_days("2025-01-15", "2025-01-16", resources={"encoder": encoder}).success
    assert encoder.ready == [[], ["2025-01-15"], ["2025-01-15"]]


def checked(instance: DagsterInstance, check: str, days: Sequence[str]) -> dict[str, str]:
    """How the check last went for each of the days, as the UI shows it at the partition."""
    partitions = day_partitions(load_settings())
    key = AssetCheckKey(AssetKey("day_document"), check)
    state = instance.event_log_storage.get_asset_check_state([(key, partitions)])[key]
    told = {
        day: status.value
        for status, subset in state.subsets.items()
        for day in subset.subset_value.get_partition_keys()
    }
    return {day: told.get(day, "never") for day in days}


@pytest.mark.parametrize("interrupt", [KeyboardInterrupt, DagsterExecutionInterruptedError])
def test_a_run_that_is_told_to_stop_while_a_day_is_checked_does_not_begin_again(
    db: Database, run_days: Run, query: Query, monkeypatch: pytest.MonkeyPatch, interrupt: type[BaseException]
) -> None:
    for day in ("2025-01-15", "2025-01-16"):
        bring(db, lines_at(day, f"s-{day}", *TALK))

    def stopped(*_: object) -> Any:
        raise interrupt

    monkeypatch.setattr(invariants, "broken_documents", stopped)
    outcome = run_days("2025-01-15", "2025-01-16")
    assert (outcome.success, outcome.error) == (False, "The run was told to stop; its days were given back.")
    assert query("SELECT days_date::text, semantic_status FROM data_items ORDER BY 1") == [
        ("2025-01-15", "completed"), ("2025-01-16", "pending"),
    ]  # fmt: skip
    assert query("SELECT count(*) FROM day_claims WHERE ended_at IS NULL") == [(0,)]


def test_a_check_that_failed_stays_failed_when_the_step_is_tried_again(
    db: Database, instance: DagsterInstance, run_days: Run
) -> None:
    days = ("2025-02-11", "2025-02-12")
    for day in days:
        bring(db, lines_at(day, f"s-{day}", *TALK), client="healthy", today=date(2025, 2, 12))
    bring(db, lines_at(days[0], "p", ("Ann", "this line is poison to it")), client="broken", today=date(2025, 2, 12))
    trouble = OperationalError("SELECT 1", {}, Exception("server closed the connection"))

    class Both(FailingEncoder):
        def encode(self, texts: Sequence[str]) -> np.ndarray:
            if self.calls == 2:
                self.calls += 1
                raise trouble
            return super().encode(texts)

    assert run_days(*days, resources={"encoder": Both(ValueError("cannot embed that"), on="poison")}).success
    assert checked(instance, "no_client_failed", days) == {days[0]: "FAILED", days[1]: "SUCCEEDED"}
    assert checked(instance, "documents_lose_nothing", days) == dict.fromkeys(days, "SUCCEEDED")


def test_a_client_whose_last_conversation_leaves_while_its_day_is_claimed_is_done(
    db: Database, run_days: Run, query: Query, monkeypatch: pytest.MonkeyPatch
) -> None:
    bring(db, lines_at("2025-01-15", "a", TALK[0], first=3, hour=0))
    lines_held = day_work.lines_held

    def meanwhile(*values: Any) -> Any:
        bring(db, lines_at("2025-01-14", "a", ("Zoe", "it began the evening before"), hour=23))
        return lines_held(*values)

    monkeypatch.setattr(day_work, "lines_held", meanwhile)
    assert run_days("2025-01-15").success
    assert query("SELECT count(*) FROM day_claims WHERE ended_at IS NULL") == [(0,)]
    assert query("SELECT count(*) FROM day_documents WHERE day = '2025-01-15' AND is_current") == [(0,)]


def test_every_day_of_a_run_has_its_own_checks(
    db: Database, instance: DagsterInstance, run_days: Run, query: Query
) -> None:
    days = ("2025-02-01", "2025-02-02", "2025-02-03")
    for day in days:
        bring(db, lines_at(day, f"s-{day}", *TALK), client="healthy", today=date(2025, 2, 3))
    bring(db, lines_at(days[1], "p", ("Ann", "this line is poison to it")), client="broken", today=date(2025, 2, 3))
    encoder = FailingEncoder(ValueError("cannot embed that"), on="poison")
    outcome = run_days(days[0], days[2], resources={"encoder": encoder})
    assert outcome.success, outcome.error
    assert checked(instance, "no_client_failed", days) == {
        days[0]: "SUCCEEDED", days[1]: "FAILED", days[2]: "SUCCEEDED",
    }  # fmt: skip
    assert checked(instance, "documents_lose_nothing", days) == dict.fromkeys(days, "SUCCEEDED")
    ((failed,),) = [
        [made]
        for record in instance.get_records_for_run(
            outcome.run_id, of_type=DagsterEventType.ASSET_CHECK_EVALUATION
        ).records
        if (made := record.event_log_entry.asset_check_evaluation) and not made.passed
    ]
    assert (failed.partition, "broken, 2025-02-02: ValueError" in failed.description) == (days[1], True)


def test_clients_are_never_compared_with_each_other(db: Database, run_days: Run) -> None:
    for client in ("acme", "rival"):
        bring(db, lines_at("2025-01-15", "a", TALK[0]), client=client)
    assert run_days("2025-01-15").success
    for client in ("acme", "rival"):
        (conversation,) = document_of(db, "2025-01-15", client)
        assert conversation["hidden_count"] == 0


def test_a_failure_of_one_client_does_not_lose_the_others(
    db: Database, instance: DagsterInstance, run_days: Run, query: Query
) -> None:
    bring(db, lines_at("2025-01-15", "a", ("Ann", "this line is poison to it")), client="broken")
    bring(db, lines_at("2025-01-15", "a", *TALK), client="healthy")
    encoder = FailingEncoder(ValueError("cannot embed that"), on="poison")
    outcome = run_days("2025-01-15", resources={"encoder": encoder})
    assert outcome.success
    assert query("SELECT client, semantic_status, semantic_error FROM data_items ORDER BY 1") == [
        ("broken", "failed", f"ValueError; the log of Dagster run {outcome.run_id} says more"),
        ("healthy", "completed", None),
    ]
    assert document_of(db, "2025-01-15", "healthy")[0]["hidden_count"] == 2
    checks = {
        record.event_log_entry.asset_check_evaluation.check_name: record.event_log_entry.asset_check_evaluation.passed
        for record in instance.get_records_for_run(
            outcome.run_id, of_type=DagsterEventType.ASSET_CHECK_EVALUATION
        ).records
    }
    assert checks == {
        "hidden_lines_are_explained": True,
        "clusters_keep_to_one_client": True,
        "documents_lose_nothing": True,
        "no_client_failed": False,
    }


def test_a_passing_trouble_is_tried_again(db: Database, run_days: Run, query: Query) -> None:
    bring(db, lines_at("2025-01-15", "a", *TALK))
    encoder = FailingEncoder(OperationalError("SELECT 1", {}, Exception("server closed the connection")), times=1)
    outcome = run_days("2025-01-15", resources={"encoder": encoder})
    assert outcome.success
    assert encoder.calls == 2
    assert query("SELECT semantic_status FROM data_items") == [("completed",)]


def test_a_missing_model_fails_the_run_at_once_with_a_remedy(db: Database, run_days: Run, query: Query) -> None:
    bring(db, lines_at("2025-01-15", "a", *TALK))
    encoder = FailingEncoder(ModelNotFoundError("The model is gone; set CREW_MODEL to 'bundled'."))
    outcome = run_days("2025-01-15", resources={"encoder": encoder})
    assert not outcome.success
    assert outcome.error == "The model is gone; set CREW_MODEL to 'bundled'."
    assert encoder.calls == 1
    with db.write() as connection:
        assert claims.give_back(connection, outcome.run_id) == [ClientDay("acme", date(2025, 1, 15))]
    assert query("SELECT semantic_status FROM data_items") == [("pending",)]


def test_a_broken_cluster_is_not_stored_and_fails_its_client_only(db: Database, run_days: Run, query: Query) -> None:
    query("""
        CREATE FUNCTION spoil() RETURNS trigger LANGUAGE plpgsql AS
        $$ BEGIN IF NEW.client = 'broken' THEN NEW.reason = ''; END IF; RETURN NEW; END $$
    """)
    query("CREATE TRIGGER spoil BEFORE INSERT ON line_cluster_mapping FOR EACH ROW EXECUTE FUNCTION spoil()")
    for client in ("broken", "healthy"):
        bring(db, lines_at("2025-01-15", "a", *TALK), client=client)
    assert run_days("2025-01-15").success
    assert query("SELECT client FROM day_documents") == [("healthy",)]
    assert query("SELECT DISTINCT client FROM semantic_clusters") == [("healthy",)]
    ((error,),) = query("SELECT semantic_error FROM data_items WHERE client = 'broken'")
    assert "not fully explained" in str(error)


class ArrivingEncoder(FailingEncoder):
    """Lets something happen while it embeds."""

    def __init__(self, meanwhile: Callable[[], object]) -> None:
        super().__init__(ValueError(), times=0)
        self.meanwhile = meanwhile

    def encode(self, texts: Sequence[str]) -> np.ndarray:
        self.meanwhile()
        return super().encode(texts)


def test_what_arrives_or_changes_during_a_run_waits_for_the_next(db: Database, run_days: Run, query: Query) -> None:
    bring(db, lines_at("2025-01-15", "a", *TALK))
    changed = [("Mara", "The release is NOT blocked by anything."), *TALK[1:]]

    def meanwhile() -> None:
        bring(db, lines_at("2025-01-15", "a", *changed))
        bring(db, lines_at("2025-01-15", "b", ("Lena", "something entirely new that has no vector"), hour=14))

    model = ArrivingEncoder(meanwhile)
    outcome = run_days("2025-01-15", resources={"encoder": model})
    assert outcome.success, outcome.error
    (conversation,) = document_of(db, "2025-01-15")
    assert conversation["display_conversation"][0]["text"] == TALK[0][1]
    assert query("SELECT session_id, semantic_status FROM data_items ORDER BY 1") == [
        ("a", "pending"),
        ("b", "pending"),
    ]
    assert run_days("2025-01-15").success
    shown = document_of(db, "2025-01-15")
    assert [one["session_id"] for one in shown] == ["a", "b"]
    assert "NOT blocked" in shown[0]["display_conversation"][0]["text"]
    assert query("SELECT DISTINCT semantic_status FROM data_items") == [("completed",)]


def test_a_conversation_that_leaves_during_a_run_does_no_harm(db: Database, run_days: Run, query: Query) -> None:
    bring(db, lines_at("2025-01-15", "a", *TALK) + lines_at("2025-01-15", "b", TALK[1], first=3, hour=0))

    def meanwhile() -> None:
        bring(db, lines_at("2025-01-14", "b", ("Zoe", "it began the evening before"), hour=23))

    model = ArrivingEncoder(meanwhile)
    assert run_days("2025-01-15", resources={"encoder": model}).success
    assert query("SELECT engine FROM day_documents WHERE day = '2025-01-15' AND is_current") == [("",)]
    assert run_days("2025-01-14", "2025-01-15").success
    assert [one["session_id"] for one in document_of(db, "2025-01-15")] == ["a"]
    assert query("SELECT DISTINCT semantic_status FROM data_items") == [("completed",)]


def test_a_day_that_lost_its_last_conversation_is_done(db: Database, run_days: Run, query: Query) -> None:
    bring(db, lines_at("2025-01-15", "a", TALK[0], first=3, hour=0))
    run_days("2025-01-15")
    bring(db, lines_at("2025-01-14", "a", TALK[1], hour=23))
    assert query("SELECT count(*) FROM day_documents WHERE day = '2025-01-15' AND is_current") == [(0,)]
    assert run_days("2025-01-14", "2025-01-15").success
    assert query("SELECT count(*) FROM day_documents WHERE day = '2025-01-15' AND is_current") == [(0,)]
    assert len(document_of(db, "2025-01-14")) == 1


def test_a_run_whose_days_were_given_back_while_it_went_on_is_no_success(
    db: Database, instance: DagsterInstance, run_days: Run, query: Query
) -> None:
    bring(db, lines_at("2025-01-15", "a", *TALK))

    def meanwhile() -> None:
        # As run monitoring does, once it has marked a run as cancelled whose process goes on.
        with db.write() as connection:
            claims.cancel(connection, str(query("SELECT token FROM day_claims WHERE ended_at IS NULL")[0][0]))

    outcome = run_days("2025-01-15", resources={"encoder": ArrivingEncoder(meanwhile)})
    assert not outcome.success
    assert "given back and are not ready" in str(outcome.error)
    assert checked(instance, "documents_lose_nothing", ["2025-01-15"]) == {"2025-01-15": "FAILED"}
    assert query("SELECT DISTINCT semantic_status FROM data_items") == [("pending",)]
    assert run_days("2025-01-15").success


def test_embeddings_alone_change_no_status(
    db: Database, settings: Settings, database_url: str, instance: DagsterInstance, query: Query
) -> None:
    bring(db, lines_at("2025-01-15", "a", *TALK))
    definitions = build_defs(settings, {"database": DatabaseResource(url=database_url)})
    result = definitions.resolve_job_def("materialize_days").execute_in_process(
        instance=instance, partition_key="2025-01-15", asset_selection=[AssetKey("line_embeddings")]
    )
    assert result.success
    assert query("SELECT count(*) FROM day_comparisons") == [(0,)]
    assert query("SELECT semantic_status FROM data_items") == [("pending",)]


def test_a_day_that_somebody_else_works_at_is_left_to_them(db: Database, run_days: Run, query: Query) -> None:
    bring(db, lines_at("2025-01-15", "a", *TALK))
    client_day = ClientDay("acme", date(2025, 1, 15))
    with db.write() as connection:
        assert claims.acquire(connection, client_day, "another run", 60)
    assert run_days("2025-01-15").success
    assert query("SELECT count(*) FROM day_documents") == [(0,)]


def test_only_the_client_that_is_asked_for_is_processed(db: Database, run_days: Run, query: Query) -> None:
    for client in ("acme", "rival"):
        bring(db, lines_at("2025-01-15", "a", *TALK), client=client)
    run_days("2025-01-15", client="acme")
    assert query("SELECT client FROM day_documents") == [("acme",)]
    assert query("SELECT semantic_status FROM data_items WHERE client = 'rival'") == [("pending",)]


def test_force_processes_a_day_that_is_ready_to_the_same_document(db: Database, run_days: Run, query: Query) -> None:
    bring(db, lines_at("2025-01-15", "a", *TALK))
    run_days("2025-01-15")
    before = query("SELECT version FROM day_documents")
    forced = run_days("2025-01-15", force=True)
    assert query("SELECT version FROM day_documents") == before
    assert query("SELECT token FROM day_documents") == [(forced.run_id,)]


def test_assets_chosen_in_the_ui_without_the_first_claim_the_day_themselves(
    db: Database, run_days: Run, settings: Settings, database_url: str, instance: DagsterInstance, query: Query
) -> None:
    bring(db, lines_at("2025-01-15", "a", *TALK))
    run_days("2025-01-15")
    query("UPDATE day_documents SET engine = 'old'")
    definitions = build_defs(settings, {"database": DatabaseResource(url=database_url)})
    result = definitions.resolve_job_def("materialize_days").execute_in_process(
        instance=instance,
        partition_key="2025-01-15",
        asset_selection=[AssetKey("semantic_clusters"), AssetKey("day_document")],
        raise_on_error=False,
    )
    assert result.success
    with db.read() as connection:
        token = connection.exec_driver_sql("SELECT token FROM day_documents WHERE is_current").scalar()
        assert token == result.run_id
        assert documents.current(connection, ClientDay("acme", date(2025, 1, 15)), "old").outdated


def test_a_conversation_that_leaves_its_day_leaves_its_document(db: Database, run_days: Run) -> None:
    bring(db, lines_at("2025-01-15", "a", TALK[0]) + lines_at("2025-01-15", "b", TALK[1], first=3, hour=0))
    run_days("2025-01-15")
    bring(db, lines_at("2025-01-14", "b", ("Zoe", "it all began the evening before"), hour=23))
    assert run_days("2025-01-14", "2025-01-15").success
    assert [one["session_id"] for one in document_of(db, "2025-01-15")] == ["a"]
    assert [one["session_id"] for one in document_of(db, "2025-01-14")] == ["b"]


@pytest.mark.parametrize("day", ["2025-01-15"])
def test_the_metadata_is_worth_reading(db: Database, instance: DagsterInstance, run_days: Run, day: str) -> None:
    bring(db, lines_at(day, "a", *TALK))
    run_id = run_days(day).run_id
    clusters = materialized(instance, run_id, "semantic_clusters")[day]
    assert (clusters["texts_compared"], clusters["clusters"], clusters["hidden_lines"]) == (3, 1, 2)
    (largest,) = clusters["largest_clusters"].records
    assert (largest.data["client"], largest.data["lines"]) == ("acme", 3)
    assert not any(words in str(clusters) for _, words in TALK)
    done = materialized(instance, run_id, "day_document")[day]
    assert (done["lines"], done["hidden_lines"], done["hidden_ratio"]) == (6, 2, pytest.approx(1 / 3, abs=1e-3))
    assert done["versions"].keys() == {"acme"}


def test_events_tell_the_course_of_a_day(db: Database, run_days: Run, query: Query) -> None:
    bring(db, lines_at("2025-01-15", "a", *TALK))
    run_days("2025-01-15")
    kinds = [kind for (kind,) in query("SELECT type FROM day_events ORDER BY seq")]
    assert kinds[0] == "processing_started"
    assert kinds[-1] == "processing_completed"
    assert "processing_progress" in kinds


def test_dagster_calls_a_day_unsynced_only_where_another_engine_has_made_it(
    db: Database, instance: DagsterInstance, settings: Settings, database_url: str, run_days: Run
) -> None:
    definitions = build_defs(settings, {"database": DatabaseResource(url=database_url)})
    graph = definitions.resolve_asset_graph()

    def causes(asset: Asset, day: str) -> list[str]:
        resolver = CachingStaleStatusResolver(instance, graph, LoadingContextForTest(instance))
        return [cause.reason for cause in resolver.get_stale_causes(AssetKey(asset.value), day)]

    days = ("2025-03-01", "2025-03-02")
    for day in days:
        bring(db, lines_at(day, f"s-{day}", *TALK), today=date(2025, 3, 2))
    assert run_days(*days).success
    assert definitions.resolve_job_def("discover_conversations").execute_in_process(instance=instance).success
    assert {reason for day in days for asset in Asset for reason in causes(asset, day)} == set()
    bring(db, lines_at(days[0], "more", ("Lena", "Can I install it on Windows 10?")), today=date(2025, 3, 2))
    assert run_days(days[0], days[0]).success
    assert {reason for day in days for asset in Asset for reason in causes(asset, day)} == set()
    graph = build_defs(settings.model_copy(update={"folding": "strict"}), {}).resolve_asset_graph()
    assert causes(Asset.DOCUMENT, days[0]) == ["has a new code version"]
