"""What is forgotten is gone from everywhere, the days go on without it, and no source brings it back."""

from __future__ import annotations

import threading
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
from crew_pipeline.storage.conversations import imports, tombstones
from crew_pipeline.storage.conversations.ingest import CrewKey, SourceLine, SourceTraits, ingest, withdraw
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
        with told.maintaining() as connection:
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


def said(session: str, position: int, when: str, words: str, *, inferred: bool = False) -> SourceLine:
    moment = datetime.fromisoformat(f"2025-01-{when}").replace(tzinfo=UTC)
    return SourceLine(session, position, moment, "Ann", words, position, inferred)


def words_left(query: Query) -> list[object]:
    return [row[0] for row in query("SELECT text FROM lines ORDER BY spoken_at, position, text")]


def ids(query: Query) -> dict[str, str]:
    return dict(query("SELECT days_date::text, id FROM data_items"))  # type: ignore[arg-type]


def bring_whole(db: Database, *lines: SourceLine) -> int:
    """An export of whole conversations, imported; its number."""
    with db.write() as connection:
        crew = CrewKey("acme", "desk", ensure_crew(connection, "acme", "desk"))
        number = imports.begin(connection, crew.id, "export.json", "claude")
        source = SourceTraits(whole_sessions=True, import_id=number)
        done = ingest(connection, crew=crew, lines=lines, calendar=CALENDAR, source=source)
        imports.finish(connection, number, done, {})
    return number


class TestPartsOfASession:
    def test_the_id_of_what_was_forgotten_names_nothing_else(
        self, db: Database, settings: Settings, query: Query
    ) -> None:
        lines = [said("s", n, f"{15 + n}T09:00", f"day {15 + n}") for n in range(3)]
        bring(db, lines)
        before = ids(query)
        scope = Scope("acme", conversation=before["2025-01-15"])
        forgetting.forget(db, settings, scope, NOW)
        with pytest.raises(NothingThereError):
            forgetting.forget(db, settings, scope, NOW)
        bring(db, [*lines, said("s", 9, "18T09:00", "later")])
        assert words_left(query) == ["day 16", "day 17", "later"]
        assert {day: before[day] for day in ("2025-01-16", "2025-01-17")}.items() <= ids(query).items()
        assert before["2025-01-15"] not in ids(query).values()

    def test_a_span_covers_what_was_said_in_it_and_nobody_else(
        self, db: Database, settings: Settings, query: Query
    ) -> None:
        night = [said("a", 0, "15T23:00", "before midnight"), said("a", 1, "16T01:00", "after it")]
        bring(db, night)
        forgetting.forget(db, settings, Scope("acme", first=date(2025, 1, 15), last=date(2025, 1, 15)), NOW)
        bring(db, [*night, said("b", 0, "16T00:30", "somebody else"), said("a", 2, "16T09:00", "the next morning")])
        assert words_left(query) == ["somebody else", "the next morning"]

    def test_what_stands_in_the_part_before_is_spared_whatever_its_date(
        self, db: Database, settings: Settings, query: Query
    ) -> None:
        bring(db, [said("s", 1, "14T23:30", "before"), said("s", 2, "15T00:30", "of the 14th")])
        bring(db, [said("t", 1, "15T10:00", "of the 15th")])
        wrong = bring_whole(db, said("s", 1, "14T23:30", "before"), said("s", 2, "15T00:30", "wrongly edited"))
        forgetting.forget(db, settings, Scope("acme", first=date(2025, 1, 15), last=date(2025, 1, 15)), NOW)
        with db.write() as connection:
            imports.undo(connection, wrong, lambda _: CALENDAR)
        assert words_left(query) == ["before", "of the 14th"]


class TestWhatItStoodInBefore:
    @pytest.mark.parametrize("another", [False, True])
    def test_documents_of_days_that_it_has_left(
        self, db: Database, settings: Settings, run_days: Run, query: Query, *, another: bool
    ) -> None:
        bring(db, [said("s", 5, "16T02:00", SECRET)])
        if another:
            bring(db, [said("t", 0, "16T12:00", "another conversation of the day")])
        assert run_days(NEXT).success
        bring(db, [said("s", 4, "15T23:00", "an earlier line comes late")])
        forgetting.forget(db, settings, Scope("acme", conversation=ids(query)[DAY]), NOW)
        assert traces.in_database(db, SECRET) == []

    def test_of_a_client_nothing_is_left_of_days_that_hold_nothing_any_more(
        self, db: Database, settings: Settings, run_days: Run
    ) -> None:
        bring(db, [said("s", 5, "16T02:00", SECRET)])
        assert run_days(NEXT).success
        with db.write() as connection:
            crew = CrewKey("acme", "desk", ensure_crew(connection, "acme", "desk"))
            withdraw(connection, crew=crew, session_id="s", keep=[], calendar=CALENDAR)
        forgetting.forget(db, settings, Scope("acme"), NOW)
        assert traces.in_database(db, SECRET) == []
        assert traces.in_database(db, "acme") == []

    def test_verdicts_about_what_was_edited_since(
        self, db: Database, settings: Settings, run_days: Run, query: Query
    ) -> None:
        bring(db, [said("s", 0, "15T09:00", SECRET), said("t", 0, "14T09:00", "Ann says more than that")])
        assert run_days(DAY).success
        (line_id,) = line_ids(db, DAY)
        verdicts.show(db, settings, ClientDay("acme", date.fromisoformat(DAY)), line_id, 0, None)
        bring(db, [said("s", 0, "15T09:00", "edited away")])
        forgetting.forget(db, settings, Scope("acme", conversation=ids(query)[DAY]), NOW)
        assert traces.in_database(db, SECRET) == []


class TestWhatWasKeptAside:
    def test_a_shift_of_positions_brings_nothing_back_and_takes_nothing_else(
        self, db: Database, settings: Settings, query: Query
    ) -> None:
        texts = ("first of them all", SECRET, "third of them all")
        bring_whole(db, *(said("s", n, f"15T09:0{n}", words) for n, words in enumerate(texts)))
        forgetting.forget(db, settings, Scope("acme", line=(ids(query)[DAY], 1)), NOW)
        bring_whole(db, *(said("s", n, f"15T09:0{n + 1}", words) for n, words in enumerate(texts[1:])))
        assert words_left(query) == ["third of them all"]
        assert traces.in_database(db, SECRET) == []

    def test_words_go_wherever_they_were_moved_and_other_words_stay(
        self, db: Database, settings: Settings, query: Query
    ) -> None:
        texts = ("first of them all", SECRET, "third of them all")
        bring_whole(db, *(said("s", n, f"15T09:0{n}", words) for n, words in enumerate(texts)))
        bring_whole(db, *(said("s", n, f"15T09:0{n + 1}", words) for n, words in enumerate(texts[1:])))
        assert words_left(query) == [SECRET, "third of them all"]
        forgetting.forget(db, settings, Scope("acme", line=(ids(query)[DAY], 0)), NOW)
        assert traces.in_database(db, SECRET) == []
        assert ("first of them all",) in query("SELECT text FROM withdrawn_lines")

    @pytest.mark.parametrize("inferred", [False, True])
    def test_an_import_that_is_taken_back_does_not_restore_it(
        self, db: Database, settings: Settings, query: Query, *, inferred: bool
    ) -> None:
        texts = ("first of them all", SECRET, "third of them all")
        bring_whole(db, *(said("s", n, f"15T09:0{n}", words, inferred=inferred) for n, words in enumerate(texts)))
        second = bring_whole(
            db, *(said("s", n, f"15T09:0{n + 1}", words, inferred=inferred) for n, words in enumerate(texts[1:]))
        )
        forgetting.forget(db, settings, Scope("acme", line=(ids(query)[DAY], 0)), NOW)
        with db.write() as connection:
            _, undone = imports.undo(connection, second, lambda _: CALENDAR)
        assert traces.in_database(db, SECRET) == []
        assert undone.restored == (1 if inferred else 2)
        assert words_left(query) == [texts[0], texts[2]]

    def test_old_versions_and_withdrawn_lines_stay_out_too(
        self, db: Database, settings: Settings, query: Query
    ) -> None:
        bring(db, [said("s", 1, "15T09:00", SECRET), said("s", 2, "15T09:01", "x"), said("s", 3, "15T09:05", "y")])
        bring(db, [said("s", 1, "15T09:00", "edited away")])
        with db.write() as connection:
            crew = CrewKey("acme", "desk", ensure_crew(connection, "acme", "desk"))
            withdraw(connection, crew=crew, session_id="s", keep=[1, 2], calendar=CALENDAR)
        forgetting.forget(db, settings, Scope("acme", conversation=ids(query)[DAY]), NOW)
        bring(db, [said("s", 1, "15T09:00", SECRET), said("s", 2, "15T09:01", "x"), said("s", 3, "15T09:05", "y")])
        assert words_left(query) == []
        assert query("SELECT count(*) FROM withdrawn_lines") == [(0,)]

    def test_only_of_the_crew_that_is_meant(self, db: Database, settings: Settings, query: Query) -> None:
        for crew in ("desk", "ops"):
            bring(db, [said("s", 1, "15T09:00", f"one {crew}"), said("s", 2, "15T09:01", f"two {crew}")], crew=crew)
            with db.write() as connection:
                key = CrewKey("acme", crew, ensure_crew(connection, "acme", crew))
                withdraw(connection, crew=key, session_id="s", keep=[1], calendar=CALENDAR)
                connection.exec_driver_sql(
                    "INSERT INTO refused_rows (crew_id, row, reason) VALUES (%s, '1', 'why')", (key.id,)
                )
        ((conversation,),) = query("SELECT conversation_id FROM lines WHERE text = 'one desk'")
        assert isinstance(conversation, str)
        forgetting.forget(db, settings, Scope("acme", conversation=conversation), NOW)
        assert query("SELECT text FROM withdrawn_lines") == [("two ops",)]
        assert query("SELECT code FROM refused_rows JOIN crews ON crews.id = crew_id") == [("ops",)]

    @pytest.mark.parametrize("how", ["conversation", "line", "span"])
    def test_what_is_only_kept_aside_can_be_forgotten(
        self, db: Database, settings: Settings, query: Query, how: str
    ) -> None:
        bring(db, [said("s", 1, "15T09:00", SECRET)])
        conversation = ids(query)[DAY]
        with db.write() as connection:
            crew = CrewKey("acme", "desk", ensure_crew(connection, "acme", "desk"))
            withdraw(connection, crew=crew, session_id="s", keep=[], calendar=CALENDAR)
        day = date.fromisoformat(DAY)
        scope = {
            "conversation": Scope("acme", conversation=conversation),
            "line": Scope("acme", line=(conversation, 1)),
            "span": Scope("acme", first=day, last=day),
        }[how]
        forgetting.forget(db, settings, scope, NOW)
        assert traces.in_database(db, SECRET) == []


def test_a_line_that_moves_while_it_is_forgotten_is_gone_all_the_same(
    db: Database, settings: Settings, query: Query
) -> None:
    bring(db, [said("s", 2, "15T09:00", SECRET), said("s", 3, "16T09:00", "other")])
    line = (ids(query)[DAY], 2)
    outcome: list[object] = []

    def forget() -> None:
        try:
            outcome.append(forgetting.forget(db, settings, Scope("acme", line=line), NOW))
        except NothingThereError as error:
            outcome.append(error)

    with db.write() as connection:
        crew = CrewKey("acme", "desk", ensure_crew(connection, "acme", "desk"))
        ingest(connection, crew=crew, lines=[said("s", 1, "10T09:00", "earlier")], calendar=CALENDAR)
        thread = threading.Thread(target=forget)
        thread.start()
        thread.join(timeout=0.5)
        assert thread.is_alive()
    thread.join(timeout=30)
    # By the time that it is done the line has another id: it is gone, or the id is said to name nothing.
    assert outcome
    assert isinstance(outcome[0], NothingThereError) or SECRET not in words_left(query)


def test_nothing_is_left_in_the_files_of_the_embedded_server(tmp_path: Path) -> None:
    words = "an-unmistakable-word-of-a-secret"
    with embedded_postgres(tmp_path) as server:
        db = Database(server.url("postgres"))
        migrate(db)
        own = Settings(home=tmp_path, database_url=server.url("postgres"))
        bring(db, lines_at(DAY, "a", *(("Ann", f"{words} {n}") for n in range(50)), ("Bo", "what stays")))
        with db.maintaining() as connection:
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
