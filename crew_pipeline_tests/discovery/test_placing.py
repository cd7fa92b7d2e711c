"""No line takes the place of another, and a row that is read again finds its own, whatever becomes of its key."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from hypothesis import given, settings
from hypothesis import strategies as st

from crew_pipeline.discovery.placing import HistoryRow, place, places_to_look_at
from crew_pipeline.discovery.watermark import Watermark
from crew_pipeline.storage.conversations.ingest import SourceLine
from crew_pipeline.storage.sources.watermarks import StoredLine

NINE = datetime(2025, 1, 15, 9, tzinfo=UTC)


class Store:
    """Lines by place, as the tables keep them."""

    def __init__(self, *, timed: bool = False) -> None:
        self.lines: dict[tuple[str, int], StoredLine] = {}
        self.mark = Watermark()
        self.timed = timed

    def take(self, *rows: HistoryRow) -> list[tuple[str, int]]:
        looked, width = places_to_look_at(rows, self.mark, timed=self.timed)
        copied = {row.line.session_id for row in rows if row.key <= (self.mark.recognise_to or -1)}
        known = [
            line
            for line in self.lines.values()
            if line.session_id in copied
            or any(one == line.session_id and first <= line.position < first + width for one, first in looked)
        ]
        done = place(rows, known, self.mark, timed=self.timed)
        self.mark = done.mark
        for line in done.lines:
            self.lines[line.session_id, line.position] = StoredLine(
                line.session_id, line.position, line.speaker, line.spoken_at, line.text
            )
        assert not done.crowded
        return done.places

    @property
    def texts(self) -> list[str]:
        return [self.lines[place].text for place in sorted(self.lines)]


def row(key: int, text: str, session: str = "a", second: int = 0, *, inferred: bool = False) -> HistoryRow:
    moment = NINE + timedelta(seconds=second)
    return HistoryRow(key, SourceLine(session, key, moment, "Ann", text, key, inferred))


tables = st.lists(
    st.dictionaries(st.integers(0, 12), st.tuples(st.sampled_from("ab"), st.integers(0, 30)), max_size=10),
    min_size=1,
    max_size=6,
)


@settings(deadline=None)
@given(tables, st.booleans())
def test_every_message_that_was_ever_read_stays_and_reading_again_changes_nothing(
    histories: list[dict[int, tuple[str, int]]], lifted: bool
) -> None:
    store = Store()
    ever: set[tuple[str, str]] = set()
    for table in histories:
        rows = [row(key, f"said {said}", session, said) for key, (session, said) in sorted(table.items())]
        places = [store.take(one)[0] for one in rows]
        assert len(set(places)) == len(rows)
        ever |= {(one.line.session_id, one.line.text) for one in rows}
        before = dict(store.lines)
        first, second = store.take(*rows), store.take(*rows)
        assert first == second
        assert store.lines == before
        if lifted:
            store.mark = store.mark.anew(-1, None, lift=True)
    assert {(line.session_id, line.text) for line in store.lines.values()} >= ever


def test_a_key_that_is_used_for_another_message_lifts_it_above_all_others() -> None:
    store = Store()
    store.take(row(1, "one", second=1), row(2, "two", second=2))
    store.take(row(1, "three", second=3), row(2, "four", second=4))
    store.take(row(1, "five", second=5))
    assert store.texts == ["one", "two", "three", "four", "five"]


def test_a_message_that_is_edited_in_place_keeps_its_place() -> None:
    store = Store()
    store.take(row(1, "He"), row(2, "x"))
    store.take(row(1, "Hello there"))
    assert store.texts == ["Hello there", "x"]
    written = Store()
    for text in ("He", "Hello", "Hello there"):
        written.take(row(1, text, inferred=True))
    assert written.texts == ["Hello there"]


def test_without_times_another_message_under_the_same_key_is_kept_beside_the_first() -> None:
    store = Store()
    store.take(row(1, "good morning", inferred=True))
    store.take(row(1, "where is my order", inferred=True))
    store.take(row(1, "good morning", inferred=True), row(1, "where is my order", second=9, inferred=True))
    assert store.texts == ["good morning", "where is my order"]


def test_copies_under_other_keys_are_recognised_as_far_as_they_may_be_copies() -> None:
    store = Store()
    store.take(row(1, "one", second=1), row(2, "two", second=2))
    store.mark = store.mark.anew(-1, 8, lift=True)
    store.take(row(7, "two", second=2), row(8, "one", second=1), row(9, "one", second=1))
    assert store.texts == ["one", "two", "one"]


@settings(deadline=None)
@given(st.lists(st.tuples(st.integers(0, 3), st.sampled_from("xyz")), min_size=1, max_size=12), st.randoms())
def test_rows_of_one_moment_are_all_kept_and_found_again_in_any_order(
    said: list[tuple[int, str]], chance: object
) -> None:
    store = Store(timed=True)
    rows = [row(1_736_931_600_000_000 + tick, text) for tick, text in said]
    first = store.take(*rows)
    assert len(store.lines) == len(rows) == len(set(first))
    chance.shuffle(rows)
    store.take(*rows)
    assert len(store.lines) == len(rows)
    store.take(*rows[: len(rows) // 2])
    assert len(store.lines) == len(rows)
