"""Indexes follow the database: incrementally as from nothing, after deaths, and without what was erased."""

from __future__ import annotations

import threading
from collections.abc import Callable
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sqlalchemy import text

from crew_pipeline.days import forgetting
from crew_pipeline.days.forgetting import Scope
from crew_pipeline.dedup.embedding import SentenceTransformerEncoder
from crew_pipeline.history.embedding import embed_day
from crew_pipeline.history.search.index import ClientIndex, Manifest, OpenIndex, _locked, drop_others
from crew_pipeline.history.search.related import related
from crew_pipeline.history.search.searching import Search, find, shown
from crew_pipeline.history.search.words import Filter, WordIndex
from crew_pipeline.model import ClientDay, EngineOptions
from crew_pipeline.settings import Settings
from crew_pipeline.storage.database import Database
from crew_pipeline_tests.conftest import Ready, bring, lines_at
from crew_pipeline_tests.histories import NOW

CLIENT = "acme"
PUMP = "the pump in the cellar does not start any more"
TALK = {
    "2025-01-13": (("Ann", PUMP), ("Ben", "then we need an electrician")),
    "2025-01-14": (("Cyd", "who feeds the cat over the holidays?"), ("Ann", PUMP)),
    "2025-01-15": (("Ben", "the invoice of the plumber has arrived"), ("Ann", "pay it, please")),
}
ENCODER = SentenceTransformerEncoder(precision="float32")


@pytest.fixture
def history(db: Database, make_ready: Ready) -> Callable[..., None]:
    """Days that are ready and embedded; by default all of them."""

    def add(*days: str, client: str = CLIENT, embedded: bool = True) -> None:
        for day in days or TALK:
            bring(db, lines_at(day, f"talk of {day}", *TALK[day]), client=client)
            make_ready(day, client)
            if embedded:
                embed(day, client)

    def embed(day: str, client: str) -> None:
        embed_day(db, ClientDay(client, date.fromisoformat(day)), ENCODER, EngineOptions(), lambda: None)

    return add


def results(db: Database, index: ClientIndex, query: str, **how: Any) -> list[dict[str, Any]]:
    opened = OpenIndex(index)
    opened.look_again()
    search = Search(query, **how)
    hits = find(db, opened, index.client, search)
    return shown(db, opened, index.client, search, hits) if hits else []


@pytest.fixture
def index(tmp_path: Path) -> ClientIndex:
    return ClientIndex(tmp_path / "search", CLIENT, 100)


def test_a_text_is_found_by_its_words_and_by_what_it_means(
    db: Database, index: ClientIndex, history: Callable[..., None]
) -> None:
    history()
    done = index.update(db)
    assert done is not None
    assert (done.days_indexed, done.days_with_meaning, done.documents, done.texts) == (3, 3, 6, 5)
    (first, *_) = results(db, index, "pump cellar")
    assert (first["text"], first["times"], first["days"]) == (PUMP, 2, 2)
    assert [PUMP[start:end] for start, end in first["highlights"]] == ["pump", "cellar"]
    assert [place["day"] for place in first["places"]] == ["2025-01-14", "2025-01-13"]
    newest, before = first["places"]
    assert (newest["before"]["text"], newest["after"]) == ("who feeds the cat over the holidays?", None)
    assert before["after"]["speaker"] == "Ben"
    by_meaning = results(db, index, "somebody must give food to our kitten at christmas")
    assert by_meaning[0]["text"] == "who feeds the cat over the holidays?"
    assert by_meaning[0]["found_by"] == ["meaning"]
    assert results(db, index, "quantum chromodynamics of gluons") == []
    assert results(db, index, "zzzzqqq") == []
    assert [one["text"] for one in results(db, index, "has the plumber's bill come", mode="meaning")][:1] == [
        "the invoice of the plumber has arrived"
    ]
    assert results(db, index, "bill", mode="words") == []


def test_filters_count_only_what_they_let_through(
    db: Database, index: ClientIndex, history: Callable[..., None]
) -> None:
    history()
    index.update(db)
    among = Filter(first=date(2025, 1, 14))
    (found,) = results(db, index, "pump", among=among, mode="words")
    assert (found["times"], [place["day"] for place in found["places"]]) == (1, ["2025-01-14"])
    assert results(db, index, "pump", among=Filter(speaker="Ben"), mode="words") == []
    texts = [
        one["text"]
        for one in results(
            db, index, "the water pump in the basement is out of order", among=Filter(last=date(2025, 1, 13))
        )
    ]
    assert texts[:1] == [PUMP]
    assert "who feeds the cat over the holidays?" not in texts


def test_one_day_after_the_other_makes_what_all_at_once_makes(
    db: Database, index: ClientIndex, history: Callable[..., None], tmp_path: Path
) -> None:
    for day in ("2025-01-15", "2025-01-13", "2025-01-14"):
        history(day, embedded=day != "2025-01-13")
        index.update(db)
    whole = ClientIndex(tmp_path / "whole", CLIENT, 100)
    whole.update(db)
    for query in ("pump", "cat", "plumber invoice", "who repairs the machine in the basement"):
        assert results(db, index, query) == results(db, whole, query)
    assert not index.is_behind(db)
    again = index.update(db)
    assert again is not None
    assert (again.days_indexed, again.days_with_meaning, again.days) == (0, 0, 3)


def test_vectors_that_come_later_are_taken_in(
    db: Database, index: ClientIndex, history: Callable[..., None], make_ready: Ready
) -> None:
    history("2025-01-14", embedded=False)
    index.update(db)
    query = "somebody must give food to our kitten at christmas"
    assert results(db, index, query) == []
    assert not index.is_behind(db)
    embed_day(db, ClientDay(CLIENT, date(2025, 1, 14)), ENCODER, EngineOptions(), lambda: None)
    assert index.is_behind(db)
    index.update(db)
    assert results(db, index, query)
    # Its document is made anew, and has no vectors yet.
    bring(db, lines_at("2025-01-14", "more", ("Ann", "nobody feeds the cat")), client=CLIENT)
    make_ready("2025-01-14", CLIENT)
    index.update(db)
    assert [one["found_by"] for one in results(db, index, "feeds the cat")] == [["words"], ["words"]]


def test_what_was_erased_is_shown_to_nobody_and_leaves_the_files(
    db: Database, settings: Settings, index: ClientIndex, history: Callable[..., None]
) -> None:
    history()
    index.update(db)
    forgetting.forget(db, settings, Scope(CLIENT, first=date(2025, 1, 15), last=date(2025, 1, 15)), NOW)
    # At once, before anything is indexed anew.
    assert results(db, index, "plumber") == []
    before = index.generation
    index.update(db)
    assert index.generation != before
    assert results(db, index, "plumber") == []
    assert results(db, index, "pump")
    assert before is not None
    assert not before.exists()
    opened = OpenIndex(index)
    opened.look_again()
    assert opened.words is not None
    assert [opened.words.is_said(word) for word in ("plumber", "electrician")] == [False, True]


def test_of_a_client_that_is_forgotten_no_file_tells(
    db: Database, settings: Settings, index: ClientIndex, history: Callable[..., None]
) -> None:
    history()
    index.update(db)
    before = index.generation
    forgetting.forget(db, settings, Scope(CLIENT), NOW)
    index.update(db)
    assert before is not None
    assert not before.exists()
    assert results(db, index, "pump") == []
    index.delete()
    assert not index.folder.exists()
    assert results(db, index, "pump") == []


@pytest.mark.parametrize("at", ["words are written", "meanings are written", "before it is put in force"])
def test_who_dies_in_between_leaves_what_can_be_gone_on_with(
    db: Database, index: ClientIndex, history: Callable[..., None], monkeypatch: pytest.MonkeyPatch, at: str
) -> None:
    history("2025-01-13", "2025-01-14")
    index.update(db)
    history("2025-01-15")
    write, manifest_write, save = WordIndex.write, Manifest.write, "crew_pipeline.history.search.meaning.save"
    with monkeypatch.context() as patched:
        if at == "words are written":
            patched.setattr(WordIndex, "write", lambda self, days: (write(self, days), die())[0])
        elif at == "meanings are written":
            patched.setattr(save, die)
        else:
            patched.setattr(Manifest, "write", lambda self, folder: (manifest_write(self, folder), die())[0])
        with pytest.raises(KeyboardInterrupt):
            index.update(db)
    assert results(db, index, "pump")
    index.update(db)
    assert results(db, index, "plumber")[0]["times"] == 1
    assert not index.is_behind(db)


def die(*_: object) -> None:
    raise KeyboardInterrupt


@pytest.mark.parametrize("damage", ["manifest", "current", "words", "meaning", "empty"])
def test_damaged_files_are_made_anew(
    db: Database, index: ClientIndex, history: Callable[..., None], damage: str
) -> None:
    history()
    index.update(db)
    generation = index.generation
    assert generation is not None
    if damage == "manifest":
        (generation / "manifest.json").write_text('{"words": ')
    elif damage == "current":
        (index.folder / "current").write_text("7")
    elif damage == "empty":
        (generation / "meaning.npz").write_bytes(b"")
    elif damage == "meaning":
        (generation / "meaning.npz").write_bytes(b"PK no such thing")
    else:
        for path in (generation / "words").iterdir():
            path.write_bytes(b"")
    index.update(db)
    assert results(db, index, "pump")[0]["times"] == 2
    assert results(db, index, "somebody must give food to our kitten at christmas")


def test_one_at_a_time_writes(db: Database, index: ClientIndex, history: Callable[..., None]) -> None:
    history()
    index.folder.mkdir(parents=True)
    with _locked(index.folder / "lock", wait=True):
        assert index.update(db, wait=False) is None
    done: list[object] = []
    threads = [threading.Thread(target=lambda: done.append(index.update(db))) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(one.days_indexed for one in done) == [0, 0, 0, 3]  # type: ignore[attr-defined]


def test_clients_have_indexes_of_their_own(
    db: Database, index: ClientIndex, history: Callable[..., None], tmp_path: Path
) -> None:
    history()
    history("2025-01-13", client="rival")
    index.update(db.as_client(CLIENT))
    other = ClientIndex(tmp_path / "search", "rival", 100)
    other.update(db.as_client("rival"))
    assert results(db.as_client(CLIENT), index, "pump")[0]["times"] == 2
    assert results(db.as_client("rival"), other, "pump")[0]["times"] == 1
    # With the other's files in hand nothing is shown that the database does not show.
    assert results(db.as_client("rival"), index, "plumber") == []


def test_conversations_that_speak_of_the_same_are_related(
    db: Database, index: ClientIndex, make_ready: Ready, history: Callable[..., None]
) -> None:
    said = {
        "2025-01-05": ("Ann", "the heating in the office is too cold again, please call the caretaker"),
        "2025-01-06": ("Ben", "lunch is at the italian restaurant around the corner today"),
        "2025-01-07": ("Cyd", "it is freezing in the office, the radiators do not get warm"),
    }
    for day, line in said.items():
        bring(db, lines_at(day, f"of {day}", line, ("Dan", "ok")), client=CLIENT)
        make_ready(day, CLIENT)
        embed_day(db, ClientDay(CLIENT, date.fromisoformat(day)), ENCODER, EngineOptions(), lambda: None)
    index.update(db)
    opened = OpenIndex(index)
    opened.look_again()
    with db.read() as connection:
        rows = connection.execute(text("SELECT session_id, id FROM data_items")).all()
    ids = {row.session_id: row.id for row in rows}
    found = related(db, opened, CLIENT, ids["of 2025-01-05"], 100, 5)
    assert found is not None
    assert [one["session_id"] for one in found] == ["of 2025-01-07"]
    (pair,) = found[0]["pairs"]
    assert pair["line_id"] == f"{ids['of 2025-01-05']}-0"
    assert (pair["other_text"], pair["other_speaker"]) == (said["2025-01-07"][1], "Cyd")
    assert related(db, opened, CLIENT, ids["of 2025-01-06"], 100, 5) == []
    assert related(db, opened, CLIENT, "nothing", 100, 5) is None
    assert related(db.as_client("rival"), opened, "rival", ids["of 2025-01-05"], 100, 5) is None


def test_a_first_build_that_breaks_off_is_searched_and_gone_on_with(
    db: Database, index: ClientIndex, history: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    history()
    monkeypatch.setattr("crew_pipeline.history.search.index._DAYS_AT_ONCE", 1)

    def end(left: int) -> None:
        if left == 1:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        index.update(db, rest=end)
    # The newest days are there.
    assert results(db, index, "plumber", mode="words")
    assert results(db, index, "electrician", mode="words") == []
    done = index.update(db)
    assert done is not None
    assert (done.days_indexed, done.days) == (1, 3)
    # So it is with one that is to take another's place.
    with pytest.raises(KeyboardInterrupt):
        index.update(db, anew=True, rest=end)
    assert results(db, index, "electrician", mode="words")


def test_vectors_of_another_model_are_none(
    db: Database, index: ClientIndex, history: Callable[..., None], make_ready: Ready
) -> None:
    class Other:
        model_id = "multilingual@0123"

        def encode(self, texts: list[str]) -> Any:
            return np.ones((len(texts), 768), np.float32)

    history("2025-01-13", embedded=False)
    embed_day(db, ClientDay(CLIENT, date(2025, 1, 13)), Other(), EngineOptions(), lambda: None)
    done = index.update(db)
    assert done is not None
    assert (done.days_indexed, done.texts) == (1, 0)
    assert results(db, index, "pump")[0]["found_by"] == ["words"]
    assert not index.is_behind(db)


def test_indexes_of_clients_that_are_no_more_are_deleted(
    db: Database, index: ClientIndex, history: Callable[..., None], tmp_path: Path
) -> None:
    history()
    index.update(db)
    gone = ClientIndex(tmp_path / "search", "gone", 100)
    gone.update(db)
    drop_others(tmp_path / "search", [CLIENT])
    assert (index.folder.exists(), gone.folder.exists()) == (True, False)
    drop_others(tmp_path / "nothing", [CLIENT])
