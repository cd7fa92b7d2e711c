"""Words are found as people write and type them, in any script, and each text once."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Sequence
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from crew_pipeline.history.search.folding import words_of
from crew_pipeline.history.search.texts import texts_of
from crew_pipeline.history.search.words import EVERYWHERE, Filter, WordIndex, asked
from crew_pipeline.storage.days.content import Discovered

NOW = datetime(2025, 1, 15, 9, tzinfo=UTC)
DAY = NOW.date()


def line(text: str, position: int = 1, speaker: str = "Ann", crew: str = "desk", day: date = DAY) -> Discovered:
    moment = NOW + timedelta(minutes=position)
    return Discovered(
        f"of {day}", position, speaker, moment, text, "s", crew, None, NOW, NOW, times_inferred=False, content_hash=b""
    )


def index_of(folder: Path, lines: Sequence[Discovered], day: date = DAY) -> WordIndex:
    index = WordIndex(folder)
    index.write([(day, texts_of(lines, 100))])
    return index


def found(index: WordIndex, query: str, among: Filter = EVERYWHERE) -> list[int]:
    """The positions of the newest lines that hold what was found, the best first."""
    told = [index.told(hit.key, among) for hit in index.search(asked(query), among, 50)]
    return [one.places[0][1].position for one in told if one is not None]


SAID = (
    "The deployment failed again on Monday",
    "Could you look at the failing pipeline, please?",
    "El camión llegó tarde por la nieve",
    "Die Straße ist wegen Größe gesperrt",
    "sudo apt-get install libfoo_bar",
    "東京タワーに行きました",
    "Мы встретимся в кафе",
    "the printer is at 192.168.1.17",
    "अगली बैठक सोमवार को है",
    "المُدير غائب اليوم",
)


@pytest.fixture
def index(tmp_path: Path) -> WordIndex:
    return index_of(tmp_path, [line(text, number) for number, text in enumerate(SAID)])


@pytest.mark.parametrize(
    ("query", "position"),
    [
        ("deployment", 0), ("DEPLOYMENT failed", 0), ("deploy", 0), ("deploiment", 0), ("deploymnet", 0),
        ("ployme", 0), ('"failed again"', 0), ("monday failed", 0),
        ("camion", 2), ("CAMIÓN llego", 2), ("strasse", 3), ("STRASSE", 3), ("große", 3), ("grösse", 3),
        ("apt-get", 4), ("foo_bar", 4), ("libfoo", 4), ("東京", 5), ("タワー", 5), ("кафе", 6), ("КАФЕ", 6),
        ("192.168", 7), ("192.168.1.17", 7), ("बैठक", 8), ("المدير", 9),
    ],
)  # fmt: skip
def test_what_was_said_is_found_as_people_write_it(index: WordIndex, query: str, position: int) -> None:
    assert found(index, query)[:1] == [position]


@pytest.mark.parametrize("query", ["zzzqqq", '"again failed"', "東都", "", "   ", '"', "\x00", "!!!", "🎉", "168.192"])
def test_what_nobody_said_is_not_found(index: WordIndex, query: str) -> None:
    assert found(index, query) == []


@pytest.mark.parametrize(
    "query",
    ["a" * 10_000, "word " * 5_000, '"' * 500, "(((" + "AND OR NOT " * 50, "field:value", ".*", "[a-z]+", "\\", "^$",
     "\u202eabc\u202c", "e\u0301" * 3000, "+-~*?:/{}[]^", "\ufffd"],
)  # fmt: skip
def test_no_query_breaks_it(index: WordIndex, query: str) -> None:
    assert isinstance(found(index, query), list)


def test_more_of_what_was_asked_for_comes_first(tmp_path: Path) -> None:
    lines = [
        line("the printer is broken", 1),
        line("the printer on the second floor is broken", 2),
        line("the second floor is empty", 3),
        line("somebody called", 4),
    ]
    assert found(index_of(tmp_path, lines), "printer second floor")[0] == 2


def test_a_text_that_was_said_often_is_one(tmp_path: Path) -> None:
    index = WordIndex(tmp_path)
    days = [DAY + timedelta(days=number) for number in range(300)]
    index.write(
        (day, texts_of([line("Good morning!", 1, day=day), line("good  morning!", 2, day=day)], 100)) for day in days
    )
    index.write([(DAY + timedelta(days=400), texts_of([line("good morning to you all")], 100))])
    hits = index.search(asked("good morning"), EVERYWHERE, 10)
    assert len(hits) == 2
    told = index.told(hits[0].key, EVERYWHERE)
    assert told is not None
    assert (told.times, told.days, told.first, told.last) == (600, 300, days[0], days[-1])
    assert told.places[0][0] == days[-1]
    within = index.told(hits[0].key, Filter(first=days[10], last=days[12]))
    assert within is not None
    assert (within.times, within.days) == (6, 3)


def test_filters_come_before_the_ranking(tmp_path: Path) -> None:
    lines = [line(f"status report number {number}", number, speaker="Bot", crew="ci") for number in range(400)]
    lines.append(line("one long report of what went on in the house in this week, and its status", 999, speaker="Ann"))
    index = index_of(tmp_path, lines)
    assert 999 not in found(index, "status report")
    assert found(index, "status report", Filter(speaker="Ann")) == [999]
    assert found(index, "status report", Filter(crew="desk")) == [999]
    assert found(index, "status report", Filter(crew="desk", speaker="Bot")) == []
    assert found(index, "status report", Filter(first=DAY + timedelta(days=1))) == []


def test_a_day_that_is_written_again_is_in_the_place_of_what_it_was(tmp_path: Path) -> None:
    index = index_of(tmp_path, [line("the old words"), line("what stays", 2)])
    index.write([(DAY, texts_of([line("the new words"), line("what stays", 2)], 100))])
    assert (found(index, "old"), found(index, "new"), found(index, "stays")) == ([], [1], [2])
    index.write([(DAY, [])])
    assert (found(index, "new"), len(index)) == ([], 0)


def test_a_long_line_is_found_by_its_passages(tmp_path: Path) -> None:
    text = "\n".join(
        f"row {number} speaks of topic{number} and of nothing else that anybody would want" for number in range(60)
    )
    index = index_of(tmp_path, [line(text)])
    first, *others = index.search(asked("topic41"), EVERYWHERE, 10)
    told = index.told(first.key, EVERYWHERE)
    assert told is not None
    _, place = told.places[0]
    assert text[place.start : place.end].strip().startswith("row 41 ")
    assert not others


@settings(max_examples=60, deadline=None)
@given(st.text(max_size=200))
def test_places_of_words_are_those_of_the_text(text: str) -> None:
    words = list(words_of(text))
    assert all(0 <= word.start < word.end <= len(text) for word in words)
    assert all(one.end <= other.start for one, other in itertools.pairwise(words))


@settings(max_examples=40, deadline=None)
@given(st.lists(st.text(min_size=1, max_size=40), min_size=1, max_size=12))
def test_every_text_is_found_by_all_its_words(tmp_path_factory: pytest.TempPathFactory, said: list[str]) -> None:
    texts = texts_of([line(text, number) for number, text in enumerate(said)], 100)
    index = WordIndex(tmp_path_factory.mktemp("words"))
    index.write([(DAY, texts)])
    for one in texts:
        query = " ".join(dict.fromkeys(one.words[:32]))
        assert one.key in [hit.key for hit in index.search(asked(query), EVERYWHERE, 50)]


def test_a_filter_counts_what_its_crew_and_speaker_said_and_no_more(tmp_path: Path) -> None:
    said = [("Ann", "desk"), ("Ben", "ops"), ("Ben", "ops"), ("Cyd", "desk")]
    index = index_of(tmp_path, [line("ship it", at, speaker, crew) for at, (speaker, crew) in enumerate(said)])
    (hit,) = index.search(asked("ship it"), EVERYWHERE, 10)

    def told(**among: str) -> tuple[int, list[int]]:
        found = index.told(hit.key, Filter(**among))
        return (found.times, sorted(place.position for _, place in found.places)) if found else (0, [])

    assert told() == (4, [0, 1, 2, 3])
    assert told(speaker="Ann") == (1, [0])
    assert told(crew="ops") == (2, [1, 2])
    assert told(crew="desk", speaker="Ben") == (0, [])
    assert found(index, "ship it", Filter(crew="desk", speaker="Ben")) == []
    everywhere = index.told(hit.key, EVERYWHERE)
    assert everywhere is not None
    assert everywhere.days == 1


def test_a_text_that_is_said_all_day_long_has_a_few_places(tmp_path: Path) -> None:
    index = index_of(tmp_path, [line("ok", number) for number in range(5_000)])
    (hit,) = index.search(asked("ok"), EVERYWHERE, 10)
    told = index.told(hit.key, EVERYWHERE)
    assert told is not None
    assert (told.times, len(told.places)) == (5_000, 10)


def test_a_long_quote_is_found_by_its_beginning(tmp_path: Path) -> None:
    words = " ".join(f"word{number}" for number in range(60))
    index = index_of(tmp_path, [line(words), line("东" * 20 + "京塔" * 15, 2)])
    assert found(index, f'"{words}"') == [1]
    assert found(index, words) == [1]
    assert found(index, "东" * 20 + "京塔" * 15) == [2]


def test_a_part_of_a_name_that_could_be_anything_is_looked_for_no_further(tmp_path: Path) -> None:
    index = index_of(tmp_path, [line(f"x{number}e x{number}", number) for number in range(20_000)])
    for query in ("e-x", '"e-e"', "1-x", "x-1", "s/x", "x1.x2.x3", '"x19 x19"'):
        assert isinstance(found(index, query), list)


def test_who_looks_again_does_not_disturb_who_is_searching(tmp_path: Path) -> None:
    index = index_of(tmp_path, [line(f"the report of hall {number}", number) for number in range(300)])
    failures: list[BaseException] = []
    done = threading.Event()

    def search() -> None:
        try:
            while not done.is_set():
                for hit in index.search(asked("report hall"), EVERYWHERE, 20):
                    index.told(hit.key, EVERYWHERE)
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=search) for _ in range(3)]
    for thread in threads:
        thread.start()
    for number in range(25):
        day = DAY + timedelta(days=number % 3)
        index.write(
            [(day, texts_of([line(f"the report of hall {at} {number}", at, day=day) for at in range(40)], 100))]
        )
    done.set()
    for thread in threads:
        thread.join()
    assert failures == []
