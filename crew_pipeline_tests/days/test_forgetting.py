"""What is forgotten is gone from everywhere, the days go on without it, and no source brings it back."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import pytest

from crew_pipeline.days import claims, forgetting, verdicts
from crew_pipeline.days.forgetting import BusyError, NothingThereError, Scope
from crew_pipeline.discovery.exports.export import open_export
from crew_pipeline.discovery.importing import import_export
from crew_pipeline.model import ClientDay
from crew_pipeline.settings import Settings
from crew_pipeline.storage import traces
from crew_pipeline.storage.conversations import tombstones
from crew_pipeline.storage.conversations.ingest import CrewKey, SourceLine, ingest, withdraw
from crew_pipeline.storage.conversations.parts import Calendar
from crew_pipeline.storage.database import Database, database_at
from crew_pipeline.storage.days import content
from crew_pipeline.storage.embedded import EmbeddedPostgres, embedded_postgres
from crew_pipeline.storage.migrate import migrate
from crew_pipeline.storage.sources.crews import ensure_crew
from crew_pipeline_tests.conftest import TODAY, Run, bring, lines_at

Query = Callable[..., list[tuple[object, ...]]]
DAY, NEXT = "2025-01-15", "2025-01-16"
NOW = datetime(2025, 1, 20, 12, tzinfo=UTC)
CALENDAR = Calendar("UTC", timedelta(hours=4), TODAY)
SECRET = "my password is xyzzy-plugh and nobody may know"
AGAIN = "nobody answers the phone this morning"


@pytest.fixture
def told(db: Database, settings: Settings, run_days: Run) -> Database:
    """Two days that are ready, with a secret in both, in words that fold; a verdict; a line that was withdrawn."""
    for day in (DAY, NEXT):
        said = (("Mara", SECRET), ("Mara", SECRET), ("Tom", AGAIN), ("Tom", AGAIN), ("Jo", "hello to all of you here"))
        bring(db, lines_at(day, f"s {day}", *said))
        bring(db, lines_at(day, f"other {day}", ("Priya", "the office printer is on fire")), crew="ops")
        assert run_days(day).success
    first, second, third, *_ = line_ids(db, DAY)
    verdicts.say(db, settings, ClientDay("acme", date.fromisoformat(DAY)), "different", (first, third))
    verdicts.show(db, settings, ClientDay("acme", date.fromisoformat(DAY)), second, 0, None)
    with db.write() as connection:
        crew = CrewKey("acme", "desk", ensure_crew(connection, "acme", "desk"))
        extra = [SourceLine("gone", 0, datetime(2025, 1, 15, 20, tzinfo=UTC), "Mara", f"again, {SECRET}", 1)]
        ingest(connection, crew=crew, lines=extra, calendar=CALENDAR)
        withdraw(connection, crew=crew, session_id="gone", keep=[], calendar=CALENDAR)
    for day in (DAY, NEXT):
        assert run_days(day).success
    return db


def line_ids(db: Database, day: str) -> list[str]:
    with db.read() as connection:
        lines = content.lines_of(connection, ClientDay("acme", date.fromisoformat(day)))
    return [f"{line.conversation_id}-{line.position}" for line in lines if line.text != "the office printer is on fire"]


def conversation_of(db: Database, day: str, session: str) -> str:
    with db.read() as connection:
        listed = content.conversations_of(connection, ClientDay("acme", date.fromisoformat(day)))
    return next(one.id for one in listed if one.session_id == session)


def test_a_conversation_that_is_forgotten_is_found_nowhere_and_what_others_said_stays(
    told: Database, settings: Settings, run_days: Run, instance: object, server: EmbeddedPostgres
) -> None:
    assert traces.in_database(told, SECRET)
    for day in (DAY, NEXT):
        scope = Scope("acme", conversation=conversation_of(told, day, f"s {day}"))
        would = forgetting.forget(told, settings, scope, NOW, dry_run=True)
        assert traces.in_database(told, SECRET)
        done = forgetting.forget(told, settings, scope, NOW)
        assert done == would
        assert (done.lines, done.days) == (5, [date.fromisoformat(day)])
    # What was taken back before, in a conversation that is not there any more, has a crew and a time.
    forgetting.forget(told, settings, Scope("acme", crew="desk"), NOW)
    for words in (SECRET, "xyzzy-plugh", "Mara"):
        with told.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
            connection.exec_driver_sql("ANALYZE")
        assert traces.in_database(told, words) == []
        assert traces.in_database(database_at(server.url("dagster_tests")), words) == []
    assert traces.in_database(told, "the office printer is on fire")
    assert run_days(DAY).success
    with told.read() as connection:
        (left,) = content.lines_of(connection, ClientDay("acme", date.fromisoformat(DAY)))
    assert left.speaker == "Priya"


def test_one_line_goes_and_the_day_is_made_of_what_is_left(
    told: Database, settings: Settings, run_days: Run, query: Query
) -> None:
    first, second, *_ = line_ids(told, DAY)
    forgetting.forget(told, settings, Scope("acme", line=_place(first)), NOW)
    assert query(f"SELECT count(*) FROM day_documents WHERE day = '{DAY}'") == [(0,)]
    assert query(f"SELECT count(*) FROM day_documents WHERE day = '{NEXT}' AND is_current") == [(1,)]
    assert set(query(f"SELECT semantic_status FROM data_items WHERE days_date = '{DAY}'")) == {("queued",)}
    assert run_days(DAY).success
    assert line_ids(told, DAY)[0] == second
    # The other line says the same: its vector and what was said of it stay.
    assert query("SELECT count(*) FROM pair_feedback") == [(2,)]


def _place(line_id: str) -> tuple[str, int]:
    conversation, _, position = line_id.rpartition("-")
    return conversation, int(position)


def test_a_source_that_still_has_it_does_not_bring_it_back_until_that_is_lifted(
    db: Database, settings: Settings, tmp_path: Path, query: Query
) -> None:
    file = tmp_path / "talk.csv"
    file.write_text(
        "channel,timestamp,author,text\n"
        + "".join(
            f"{session},2025-01-{day}T09:0{minute}:00Z,Ann,words {session} {day} {minute}\n"
            for session in ("a", "b")
            for day in (15, 16)
            for minute in (1, 2)
        )
    )

    def again() -> int:
        export = open_export(file, "auto")
        report = import_export(db, export, client="acme", crew="desk", settings=settings, now=NOW)
        assert report.ingested.lines_withdrawn == 0
        return report.ingested.lines_forgotten

    def lines() -> int:
        ((count,),) = query("SELECT count(*) FROM lines")
        assert isinstance(count, int)
        return count

    assert (again(), lines()) == (0, 8)
    line_id = line_ids(db, DAY)[0]
    forgetting.forget(db, settings, Scope("acme", line=_place(line_id)), NOW)
    assert (again(), lines()) == (1, 7)
    forgetting.forget(db, settings, Scope("acme", conversation=conversation_of(db, NEXT, "b")), NOW)
    assert (again(), lines()) == (3, 5)
    forgetting.forget(db, settings, Scope("acme", first=date(2025, 1, 16), last=date(2025, 1, 16)), NOW)
    assert (again(), lines()) == (5, 3)
    file.write_text(file.read_text() + "b,2025-01-17T09:00:00Z,Ann,words b 17\n")
    assert (again(), lines()) == (5, 4)
    forgetting.forget(db, settings, Scope("acme", crew="desk"), NOW)
    assert query("SELECT count(*) FROM crews") == [(0,)]
    assert (again(), lines()) == (9, 0)
    with db.write() as connection:
        listed = tombstones.listed(connection)
        assert [(stone.kind, stone.lines) for stone in listed] == [
            ("line", 1), ("conversation", 2), ("span", 2), ("crew", 4),
        ]  # fmt: skip
        assert all(tombstones.lift(connection, stone.id) for stone in listed)
    assert (again(), lines()) == (0, 9)


def test_lines_without_a_time_of_their_own_stay_out_too(db: Database, settings: Settings, query: Query) -> None:
    def brought(at: int) -> None:
        moment = datetime(2025, 1, at, 9, tzinfo=UTC)
        bring(db, [SourceLine("a", n, moment, "Ann", f"line {n}", n, time_inferred=True) for n in range(3)])

    brought(15)
    forgetting.forget(db, settings, Scope("acme", conversation=conversation_of(db, DAY, "a")), NOW)
    brought(18)
    assert query("SELECT count(*) FROM lines") == [(0,)]


def test_a_client_goes_with_all_that_bears_its_name_and_no_other_is_touched(told: Database, settings: Settings) -> None:
    bring(told, lines_at(DAY, "theirs", ("Mara", "of another client")), client="rival")
    done = forgetting.forget(told, settings, Scope("acme"), NOW)
    assert done.lines == 12
    assert traces.in_database(told, "acme") == []
    assert traces.in_database(told, "of another client")
    with pytest.raises(NothingThereError, match="acme has nothing of it"):
        forgetting.forget(told, settings, Scope("acme"), NOW)


def test_what_is_not_there_is_said_and_nothing_changes(told: Database, settings: Settings, query: Query) -> None:
    for scope in (
        Scope("acme", line=("nobody", 1)),
        Scope("acme", conversation="nobody"),
        Scope("acme", crew="nobody"),
        Scope("acme", first=date(2020, 1, 1), last=date(2020, 1, 2)),
        Scope("nobody"),
        Scope("rival", conversation=conversation_of(told, DAY, f"s {DAY}")),
    ):
        with pytest.raises(NothingThereError):
            forgetting.forget(told, settings, scope, NOW)
    assert query("SELECT count(*) FROM lines") == [(12,)]
    assert query("SELECT count(*) FROM tombstones") == [(0,)]


def test_a_run_that_is_at_work_for_a_visitor_is_waited_for_and_one_in_the_background_yields(
    told: Database, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    client_day = ClientDay("acme", date.fromisoformat(DAY))
    monkeypatch.setattr(forgetting, "LONGEST_WAIT_S", 0.0)
    with told.write() as connection:
        assert claims.take(connection, client_day, "a visitor's", 60)
    line = line_ids(told, DAY)[0]
    with pytest.raises(BusyError, match="acme, 2025-01-15"):
        forgetting.forget(told, settings, Scope("acme", line=_place(line)), NOW)
    with told.write() as connection:
        claims.give_back(connection, "a visitor's")
        assert claims.take(connection, client_day, "a sweep", 60, background=True)
    assert forgetting.forget(told, settings, Scope("acme", line=_place(line)), NOW).lines == 1
    with told.read() as connection:
        assert claims.held(connection, "a sweep") == []


def test_nothing_is_left_in_the_files_of_the_embedded_server(tmp_path: Path) -> None:
    words = "an-unmistakable-word-of-a-secret"
    with embedded_postgres(tmp_path) as server:
        db = Database(server.url("postgres"))
        migrate(db)
        own = Settings(home=tmp_path, database_url=server.url("postgres"))
        bring(db, lines_at(DAY, "a", *(("Ann", f"{words} {n}") for n in range(50)), ("Bo", "what stays")))
        with db.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
            connection.exec_driver_sql("CHECKPOINT")
        assert traces.in_files(tmp_path, words)
        with db.read() as connection:
            conversation = content.conversations_of(connection, ClientDay("acme", date.fromisoformat(DAY)))[0].id
        for position in range(50):
            forgetting.forget(db, own, Scope("acme", line=(conversation, position)), NOW)
        traces.scour(db)
        assert traces.in_files(tmp_path, words) == []
        assert traces.in_files(tmp_path, "what stays")
        db.close()
