"""Themes follow the days: found, joined, fitted again under the same ids, corrected for ever, and erased."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import numpy as np
import pytest
from sqlalchemy import text

from crew_pipeline.days import forgetting
from crew_pipeline.days.forgetting import Scope
from crew_pipeline.history.themes import corrections, fitting, reading, update
from crew_pipeline.history.themes.corrections import NoThemeError, NotPossibleError
from crew_pipeline.history.themes.update import Updated
from crew_pipeline.settings import Settings, load_settings
from crew_pipeline.storage.conversations.clients import ensure_client
from crew_pipeline.storage.database import Database
from crew_pipeline.storage.history import themes as store
from crew_pipeline_tests.conftest import Ready, bring, lines_at
from crew_pipeline_tests.histories import NOW
from crew_pipeline_tests.history.themes.talk import CLIENT, FIRST, OPTIONS, SUBJECTS, History, vector_of


@pytest.fixture
def history(db: Database, make_ready: Ready) -> History:
    return History(db, make_ready)


def bring_up(db: Database, *, anew: bool = False, client: str = CLIENT) -> Updated:
    done = update.update(db, client, OPTIONS, "Europe/Berlin", anew=anew)
    assert done is not None
    return done


def shown(db: Database, client: str = CLIENT) -> list[dict[str, Any]]:
    with db.read() as connection:
        themes: list[dict[str, Any]] = reading.overview(connection, client)["themes"]
    return themes


def theme_of(db: Database, client: str = CLIENT) -> dict[tuple[str, int], int]:
    """The theme of each segment."""
    with db.read() as connection:
        rows = connection.execute(
            text(
                "SELECT conversation_id, first_position, theme_id FROM theme_segments JOIN topics USING (client) "
                "WHERE topics.id = topic_id AND client = :client"
            ),
            {"client": client},
        )
        return {(row[0], row[1]): row[2] for row in rows}


def by_subject(db: Database, client: str = CLIENT) -> dict[str, Counter[int]]:
    """For each subject the themes of its segments."""
    with db.read() as connection:
        rows = connection.execute(text("SELECT id, session_id FROM data_items")).all()
    sessions = {row.id: row.session_id for row in rows}
    found: dict[str, Counter[int]] = defaultdict(Counter)
    for (conversation, _), theme in theme_of(db, client).items():
        found[sessions[conversation].split()[0]][theme] += 1
    return found


def named(db: Database, subject: str) -> int:
    """The theme that most of a subject's segments are of."""
    return by_subject(db)[subject].most_common(1)[0][0]


def kept(db: Database, table: str) -> list[Any]:
    with db.read() as connection:
        # When a theme began is the only thing that two runs may differ in.
        rows = connection.execute(text(f"SELECT to_jsonb(kept) - 'created_at' - 'fitted_at' FROM {table} AS kept"))
        return sorted(map(repr, rows))


def test_themes_are_what_is_spoken_of_and_are_named_by_the_words_that_tell_them_apart(
    db: Database, history: History
) -> None:
    history.weeks(3)
    done = bring_up(db)
    assert (done.days, done.fitted, done.segments) == (15, True, 90)
    themes = {theme["id"]: theme for theme in shown(db)}
    for subject, found in by_subject(db).items():
        theme, segments = found.most_common(1)[0]
        assert segments / found.total() > 0.9
        words = {word for one in themes[theme]["words"] for word in one.split()}
        assert words & {subject, *SUBJECTS[subject]}
        assert words.isdisjoint({other for other in SUBJECTS if other != subject})
        assert subject in themes[theme]["line"]["text"]
    assert sum(theme["conversations"] for theme in themes.values()) >= 45
    assert not update.is_behind(db, CLIENT)


def test_a_fit_is_the_same_twice(db: Database, history: History) -> None:
    history.weeks(2)
    bring_up(db)
    tables = ("themes", "topics", "theme_segments", "theme_days", "theme_states")
    before = {table: kept(db, table) for table in tables}
    assert all(before.values())
    with db.write() as connection:
        for table in tables:
            connection.execute(text(f"DELETE FROM {table}"))
    bring_up(db)
    assert {table: kept(db, table) for table in tables} == before
    bring_up(db, anew=True)
    assert kept(db, "topics") == before["topics"]


def test_new_days_join_and_a_fit_from_nothing_keeps_the_ids(db: Database, history: History) -> None:
    history.weeks(4)
    bring_up(db)
    before = theme_of(db)
    for step in range(5):
        history.add(FIRST + timedelta(weeks=4, days=step), [*SUBJECTS])
    assert update.is_behind(db, CLIENT)
    done = bring_up(db)
    assert (done.days, done.fitted) == (5, False)
    assert {key: theme for key, theme in theme_of(db).items() if key in before} == before
    done = bring_up(db, anew=True)
    assert done.fitted
    stays = sum(theme_of(db)[key] == theme for key, theme in before.items())
    assert stays / len(before) >= 0.95


def test_topics_are_fitted_again_once_there_is_half_as_much_again(db: Database, history: History) -> None:
    history.weeks(1)
    assert bring_up(db).fitted
    history.add(FIRST + timedelta(weeks=1), ["cellar"])
    assert not bring_up(db).fitted
    for step in range(5):
        history.add(FIRST + timedelta(weeks=2, days=step), [*SUBJECTS])
    assert bring_up(db).fitted


def test_too_little_talk_has_no_themes_yet(db: Database, history: History) -> None:
    assert update.update(db, CLIENT, OPTIONS, "UTC") is None
    history.add(FIRST, ["cellar"])
    done = bring_up(db)
    assert (done.fitted, done.themes, shown(db)) == (False, 0, [])
    assert not update.is_behind(db, CLIENT)


def test_an_update_that_was_broken_off_goes_on(db: Database, history: History) -> None:
    history.weeks(2)
    days: list[int] = []

    def rest() -> None:
        days.append(1)
        if len(days) == 4:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        update.update(db, CLIENT, OPTIONS, "UTC", rest=rest)
    assert update.is_behind(db, CLIENT)
    assert bring_up(db).days == 6
    assert len(theme_of(db)) == 60


def test_a_day_that_grew_or_lost_its_talk_is_taken_in_again(db: Database, history: History) -> None:
    history.weeks(2)
    bring_up(db)
    count = len(theme_of(db))
    history.add(FIRST, ["football"])
    assert bring_up(db).days == 1
    assert len(theme_of(db)) == count + 2


def test_every_correction_survives_a_fit_from_nothing(db: Database, history: History) -> None:
    history.weeks(4)
    bring_up(db)
    cellar, kitten, invoice, football = (named(db, subject) for subject in SUBJECTS)
    assert len({cellar, kitten, invoice, football}) == 4
    corrections.rename(db, CLIENT, cellar, "Wet feet")
    corrections.merge(db, CLIENT, kitten, football)
    word = next(theme for theme in shown(db) if theme["id"] == invoice)["words"][0].split()[0]
    corrections.forbid(db, CLIENT, word.upper())
    part = corrections.split(db, CLIENT, cellar)
    split_off = {key for key, theme in theme_of(db).items() if theme == part}
    assert split_off
    moved = next(key for key, theme in theme_of(db).items() if theme == invoice)
    corrections.move(db, CLIENT, *moved, football)
    assert theme_of(db)[moved] == football

    history.add(FIRST + timedelta(weeks=5), [*SUBJECTS])
    bring_up(db, anew=True)
    themes = {theme["id"]: theme for theme in shown(db)}
    assert themes[cellar]["name"] == "Wet feet"
    assert kitten not in themes
    assert by_subject(db)["kitten"].most_common(1)[0][0] == named(db, "football") == football
    assert not any(word in theme["words"] for theme in themes.values())
    assert theme_of(db)[moved] == football
    now = {key for key, theme in theme_of(db).items() if theme == part}
    assert len(now & split_off) / len(split_off) >= 0.95
    with db.read() as connection:
        detail = reading.detail(connection, CLIENT, kitten, "week", "UTC")
    assert detail is not None
    assert detail["theme"]["id"] == football


def test_a_seed_finds_its_lines_at_once_and_those_of_days_to_come(db: Database, history: History) -> None:
    history.weeks(4)
    bring_up(db)
    examples = np.stack([vector_of("the kitten again"), vector_of("a kitten and its milk")])
    seed = corrections.seed(db, CLIENT, "Our cat", examples)
    found = by_subject(db)
    assert found["kitten"][seed] / found["kitten"].total() >= 0.9
    assert sum(found[other][seed] for other in found if other != "kitten") == 0
    history.add(FIRST + timedelta(weeks=6), ["kitten"])
    bring_up(db, anew=True)
    assert named(db, "kitten") == seed
    (theme,) = [theme for theme in shown(db) if theme["id"] == seed]
    assert (theme["name"], theme["kind"]) == ("Our cat", "seed")
    corrections.drop(db, CLIENT, seed)
    assert seed not in {theme["id"] for theme in shown(db)}
    assert all(theme != seed for theme in theme_of(db).values())


def test_a_correction_that_is_made_during_a_fit_is_honoured(
    db: Database, history: History, monkeypatch: pytest.MonkeyPatch
) -> None:
    history.weeks(3)
    bring_up(db)
    kitten, football = named(db, "kitten"), named(db, "football")
    fit: Callable[..., fitting.Fitted] = fitting.fit
    fits: list[int] = []

    def slow(*args: Any, **kwargs: Any) -> fitting.Fitted:
        if not fits:
            corrections.merge(db, CLIENT, kitten, football)
        fits.append(1)
        return fit(*args, **kwargs)

    monkeypatch.setattr(fitting, "fit", slow)
    bring_up(db, anew=True)
    assert len(fits) == 2
    assert named(db, "kitten") == named(db, "football") == football


def test_a_day_that_is_taken_in_during_a_fit_has_its_themes(
    db: Database, history: History, monkeypatch: pytest.MonkeyPatch
) -> None:
    history.weeks(3)
    bring_up(db)
    fit: Callable[..., fitting.Fitted] = fitting.fit
    fits: list[int] = []

    def slow(*args: Any, **kwargs: Any) -> fitting.Fitted:
        fits.append(1)
        if len(fits) == 1:
            history.add(FIRST + timedelta(weeks=5), ["football"])
            bring_up(db)
        return fit(*args, **kwargs)

    monkeypatch.setattr(fitting, "fit", slow)
    bring_up(db, anew=True)
    assert len(theme_of(db)) == 92
    assert len(by_subject(db)["football"]) == 1


def test_two_fits_at_once_give_no_id_twice(db: Database, history: History, monkeypatch: pytest.MonkeyPatch) -> None:
    history.weeks(3)
    fit: Callable[..., fitting.Fitted] = fitting.fit
    fits: list[int] = []

    def slow(*args: Any, **kwargs: Any) -> fitting.Fitted:
        fits.append(1)
        if len(fits) == 1:
            bring_up(db)
        return fit(*args, **kwargs)

    monkeypatch.setattr(fitting, "fit", slow)
    bring_up(db)
    # One within the other, and once more after it.
    assert len(fits) == 3
    assert len(theme_of(db)) == 90


def test_a_seed_that_was_there_before_any_theme_is_one_of_them(db: Database, history: History) -> None:
    with db.write() as connection:
        ensure_client(connection, CLIENT)
    seed = corrections.seed(db, CLIENT, "Our cat", np.stack([vector_of("the kitten again")]))
    other = corrections.seed(db, CLIENT, "Money", np.stack([vector_of("an invoice")]))
    assert seed != other
    history.weeks(3)
    bring_up(db)
    found = by_subject(db)
    assert len({theme for themes in found.values() for theme in themes}) >= 4
    assert named(db, "cellar") not in {seed, other}
    assert named(db, "football") not in {seed, other, named(db, "cellar")}


def test_a_line_can_be_moved_again(db: Database, history: History) -> None:
    history.weeks(3)
    bring_up(db)
    kitten, cellar, football = (named(db, subject) for subject in ("kitten", "cellar", "football"))
    moved = next(key for key, theme in theme_of(db).items() if theme == kitten)
    for theme in (cellar, football, kitten):
        corrections.move(db, CLIENT, *moved, theme)
        assert theme_of(db)[moved] == theme
    seed = corrections.seed(db, CLIENT, "Our cat", np.stack([vector_of("the kitten again")]))
    for theme in (football, seed):
        corrections.move(db, CLIENT, *moved, theme)
        assert theme_of(db)[moved] == theme
    with db.read() as connection:
        assert sum(topic.moved_from == moved[0] for topic in store.topics(connection, CLIENT)) == 1
    forgetting.forget(db, load_settings(), Scope(CLIENT, conversation=moved[0]), NOW)
    with db.read() as connection:
        assert all(topic.moved_from is None for topic in store.topics(connection, CLIENT))


def test_a_theme_that_bears_a_name_and_one_that_holds_others_are_not_lost(db: Database, history: History) -> None:
    history.weeks(3)
    bring_up(db)
    kitten, cellar = named(db, "kitten"), named(db, "cellar")
    corrections.rename(db, CLIENT, kitten, "Our cat")
    seed = corrections.seed(db, CLIENT, "Money", np.stack([vector_of("an invoice")]))
    corrections.merge(db, CLIENT, cellar, seed)
    with pytest.raises(NotPossibleError, match="lost with it"):
        corrections.drop(db, CLIENT, seed)
    with db.write() as connection:
        connection.execute(text("UPDATE day_documents SET embedded_by = embedded_by || '+other'"))
        connection.execute(text("UPDATE line_embeddings SET model = model || '+other'"))
    assert update.is_behind(db, CLIENT)
    assert bring_up(db, anew=True).days == 15
    names = {theme["id"]: theme["name"] for theme in shown(db)}
    assert (names[kitten], names[seed]) == ("Our cat", "Money")
    assert named(db, "kitten") == kitten
    assert named(db, "cellar") == seed


def test_what_was_corrected_is_named_by_the_next_update(db: Database, history: History) -> None:
    history.weeks(3)
    bring_up(db)
    part = corrections.split(db, CLIENT, named(db, "kitten"))
    assert {theme["id"]: theme["name"] for theme in shown(db)}[part] == f"Theme {part}"
    assert update.is_behind(db, CLIENT)
    bring_up(db)
    (theme,) = [theme for theme in shown(db) if theme["id"] == part]
    assert theme["words"]
    assert theme["line"]
    assert not update.is_behind(db, CLIENT)
    # By these no segment has another theme, so nothing is read again.
    corrections.rename(db, CLIENT, part, "Half a cat")
    corrections.forbid(db, CLIENT, "toy")
    corrections.allow(db, CLIENT, "toy")
    assert not update.is_behind(db, CLIENT)


def test_what_is_erased_while_themes_are_named_does_not_come_back(
    db: Database, history: History, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    history.weeks(3)
    names = update.naming.names
    done: list[int] = []

    def slow(counted: Any) -> Any:
        if not done:
            done.append(1)
            with db.read() as connection:
                kittens = connection.scalars(text("SELECT id FROM data_items WHERE session_id LIKE 'kitten%'")).all()
            for conversation in kittens:
                forgetting.forget(db, settings, Scope(CLIENT, conversation=conversation), NOW)
        return names(counted)

    monkeypatch.setattr(update.naming, "names", slow)
    bring_up(db)
    assert "kitten" not in repr(kept(db, "themes")) + repr(kept(db, "topics"))


@pytest.mark.parametrize("correct", [
    lambda db: corrections.rename(db, CLIENT, 10_000, "x"),
    lambda db: corrections.merge(db, CLIENT, named(db, "kitten"), 10_000),
    lambda db: corrections.split(db, CLIENT, named(db, "kitten"), [10_000]),
    lambda db: corrections.move(db, CLIENT, "nobody", 1, named(db, "kitten")),
    lambda db: corrections.drop(db, CLIENT, 10_000),
    lambda db: corrections.rename(db, "rival", named(db, "kitten"), "x"),
], ids=["rename", "merge", "split", "move", "drop", "rival"])  # fmt: skip
def test_what_is_not_there_cannot_be_corrected(
    db: Database, history: History, correct: Callable[[Database], object]
) -> None:
    history.weeks(2)
    bring_up(db)
    before = kept(db, "topics"), kept(db, "theme_states")
    with pytest.raises(NoThemeError):
        correct(db)
    assert (kept(db, "topics"), kept(db, "theme_states")) == before


def test_corrections_that_say_nothing_are_refused(db: Database, history: History) -> None:
    history.weeks(2)
    bring_up(db)
    kitten = named(db, "kitten")
    with pytest.raises(NotPossibleError, match="into itself"):
        corrections.merge(db, CLIENT, kitten, kitten)
    with pytest.raises(NotPossibleError, match="found"):
        corrections.drop(db, CLIENT, kitten)
    with db.read() as connection:
        own = [topic.id for topic in store.topics(connection, CLIENT) if topic.theme_id == kitten]
    with pytest.raises(NotPossibleError, match="Nothing would be left"):
        corrections.split(db, CLIENT, kitten, own)


def test_what_is_forgotten_leaves_the_themes_at_once(db: Database, history: History, settings: Settings) -> None:
    history.weeks(3)
    bring_up(db)
    with db.read() as connection:
        rows = connection.execute(text("SELECT id FROM data_items WHERE session_id LIKE 'kitten%'")).scalars().all()
    for conversation in rows:
        forgetting.forget(db, settings, Scope(CLIENT, conversation=conversation), NOW)
    assert all("kitten" not in str(theme["words"]) + str(theme["line"]) for theme in shown(db))
    assert by_subject(db)["kitten"].total() == 0
    for number in range(15):
        day = FIRST + timedelta(weeks=number // 5, days=number % 5)
        history.embed(day)
    bring_up(db)
    assert {"cellar", "invoice", "football"} <= {*by_subject(db)}
    assert "kitten" not in repr(kept(db, "themes")) + repr(kept(db, "topics"))


def test_a_client_is_another_clients_business_in_nothing(db: Database, history: History) -> None:
    history.weeks(2)
    history.add(FIRST, ["football"] * 20, client="rival")
    bring_up(db)
    bring_up(db, client="rival")
    (theme, *_) = shown(db, "rival")
    assert "football" in " ".join(theme["words"])
    assert {*theme_of(db)}.isdisjoint({*theme_of(db, "rival")})
    bring(db, lines_at(FIRST.isoformat(), "a", ("Ann", "one")), client="third")
    assert shown(db, "third") == []
