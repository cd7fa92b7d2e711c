"""The watermark: whatever order keys become visible in, every row is read once, and none is lost."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from crew_pipeline.discovery.watermark import MOST_GAPS, Watermark


def read_round(mark: Watermark, visible: dict[int, str], batch: int) -> tuple[Watermark, list[int]]:
    """What a round does, over rows in memory: gaps, then all above the top, some rows at a time."""
    taken = [key for key in sorted(visible) if any(first <= key <= last for first, last in mark.gaps)]
    mark = mark.filled(taken)
    while True:
        above = sorted(key for key in visible if mark.top is None or key > mark.top)[:batch]
        if not above:
            return mark, taken
        mark = mark.read_up(above, {key: visible[key] for key in above}, above[-1])
        taken += above


@given(
    st.lists(st.lists(st.integers(0, 300), max_size=40), min_size=1, max_size=8),
    st.integers(1, 20),
)
def test_rows_that_become_visible_in_any_order_are_each_read_once(arrivals: list[list[int]], batch: int) -> None:
    mark = Watermark()
    visible: dict[int, str] = {}
    taken: list[int] = []
    for arrival in arrivals:
        visible |= {key: f"{key}" for key in arrival}
        mark = Watermark.of(mark.as_dict())
        mark, new = read_round(mark, visible, batch)
        taken += new
    assert sorted(taken) == sorted(visible)


@given(st.sets(st.integers(0, 400), min_size=1), st.integers(1, 50))
def test_gaps_are_exactly_the_keys_below_the_top_without_a_row(keys: set[int], batch: int) -> None:
    mark, _ = read_round(Watermark(), dict.fromkeys(keys, "x"), batch)
    inside = {key for first, last in mark.gaps for key in range(first, last + 1)}
    assert inside == set(range(max(keys) + 1)) - keys
    assert all(first <= last for first, last in mark.gaps)


def test_no_more_gaps_are_watched_than_can_be_asked_for() -> None:
    mark, _ = read_round(Watermark(), dict.fromkeys(range(0, 3_000, 2), "x"), 100)
    assert len(mark.gaps) == MOST_GAPS
    assert mark.gaps[-1] == (2_997, 2_997)


@settings(deadline=None)
@given(st.integers(1, 800), st.integers(1, 200))
def test_anchors_are_few_and_never_far_behind_any_point_below_the_top(rows: int, batch: int) -> None:
    mark, _ = read_round(Watermark(), {key: str(key) for key in range(rows)}, batch)
    keys = [key for key, _ in mark.anchors]
    assert keys[-1] == rows - 1
    assert len(keys) <= (rows - 1).bit_length() + 1
    for distance in range(1, rows):
        assert any(distance <= rows - 1 - key <= 8 * distance for key in keys) or 8 * distance > rows


def test_a_table_that_only_lost_rows_in_the_middle_is_the_same_table() -> None:
    mark, _ = read_round(Watermark(), {key: str(key) for key in range(100)}, 10)
    present = {key: {digest} for key, digest in mark.anchors[1:]}
    assert mark.begins_anew(present, 150) is None


def test_an_anchor_that_is_another_row_leads_back_to_the_highest_that_still_holds() -> None:
    mark, _ = read_round(Watermark(highest=99), {key: str(key) for key in range(100)}, 10)
    present = {key: {digest} if key < 80 else {"another"} for key, digest in mark.anchors}
    anew = mark.begins_anew(present, 120)
    assert anew is not None
    assert anew.top == max(key for key, _ in mark.anchors if key < 80)
    assert anew.lift
    lifted = anew.lifted(anew.top + 1, 99)
    assert lifted.positions(anew.top + 1) == [100, anew.top + 1]
    assert lifted.key_at(100) == lifted.key_at(anew.top + 1) == anew.top + 1
    assert anew.recognise_to == 120


def test_a_table_whose_newest_rows_are_gone_is_read_again_from_what_is_left() -> None:
    mark, _ = read_round(Watermark(highest=99), {key: str(key) for key in range(100)}, 10)
    anew = mark.begins_anew({key: {digest} for key, digest in mark.anchors if key < 90}, 89)
    assert anew is not None
    assert anew.top is not None
    assert anew.top < 90
    assert anew.bases == ((0, 0),)
    emptied = mark.begins_anew({}, None)
    assert emptied is not None
    assert (emptied.top, emptied.anchors, emptied.gaps) == (None, (), ())


def test_an_anchor_that_was_edited_below_one_that_holds_is_known_anew_and_nothing_is_read_again() -> None:
    mark, _ = read_round(Watermark(highest=99), {key: str(key) for key in range(100)}, 10)
    edited = mark.anchors[2][0]
    present = {key: {"edited" if key == edited else digest} for key, digest in mark.anchors}
    after = mark.begins_anew(present, 99)
    assert after is not None
    assert (after.top, after.lift) == (99, False)
    assert after.begins_anew(present, 99) is None
