"""Folds are drawn so that their reader knows nothing, and counted as they were read."""

from __future__ import annotations

import gzip
from pathlib import Path

import orjson
import pytest

from training import corpora, read_folds
from training.corpora import Engine
from training.read_folds import Key

TALK = [
    ("ann", "the invoice export times out again after thirty seconds"),
    ("ben", "which browser do you use for the invoice export"),
    ("ann", "once again the invoice export times out after thirty seconds"),
    ("ann", "can somebody please look at the printer on the second floor"),
    ("cem", "could somebody please look at the printer on the second floor"),
    ("ann", "could somebody look at the printer on the second floor please"),
    ("ben", "the meeting about the new office is on thursday at nine"),
    ("ben", "the meeting about the new office is on thursday at nine"),
    ("cem", "we ordered the chairs but not the tables"),
    ("ben", "um the meeting about the new office, it is on thursday at nine"),
]
LABELLED, UNREAD = "2025-01-15", ("2025-01-16", "2025-01-17")


@pytest.fixture
def data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A data folder with one corpus of three days, a label of the first among them."""
    folder = tmp_path / "data"
    (folder / "coverage_pairs").mkdir(parents=True)
    lines = [
        {"session_id": f"s-{day}", "line": n, "created_at": f"{day}T09:{n:02}:00Z", "speaker": speaker, "text": text}
        for day in (LABELLED, *UNREAD)
        for n, (speaker, text) in enumerate(TALK)
    ]
    (folder / "orders.jsonl.gz").write_bytes(gzip.compress(b"".join(orjson.dumps(line) + b"\n" for line in lines)))
    said = {"conversation": "s", "line": 0, "speaker": "ann", "text": "ann: a line", "before": ""}
    label = {"corpus": "orders", "day": LABELLED, "a": said, "b": said, "readings": [{"relation": "x"}], "weight": 2}
    (folder / "coverage_pairs" / "orders.jsonl").write_bytes(orjson.dumps(label))
    monkeypatch.setattr(corpora, "SHARED", folder)
    return folder


def rows_of(path: Path) -> list[dict[str, object]]:
    return [orjson.loads(raw) for raw in path.read_bytes().splitlines()]


@pytest.fixture(scope="module")
def engine() -> Engine:
    return Engine()


def test_a_sheet_tells_nothing_of_what_the_machine_said(data: Path, tmp_path: Path, engine: Engine) -> None:
    read_folds.draw(tmp_path / "sheet", ["orders"], 60, 6, 1, engine)
    shown, keys = rows_of(tmp_path / "sheet" / "sheet.jsonl"), rows_of(tmp_path / "sheet" / "key.jsonl")
    assert [row["id"] for row in shown] == [key["id"] for key in keys]
    assert all(set(row) == {"id", "visible", "hidden"} for row in shown)
    assert {bool(key["decoy"]) for key in keys} == {True, False}
    assert all("text" not in key for key in keys)


def test_only_days_without_labels_are_drawn_and_no_word_for_word_repeat(
    data: Path, tmp_path: Path, engine: Engine
) -> None:
    read_folds.draw(tmp_path / "sheet", ["orders"], 60, 6, 1, engine)
    keys = {key["id"]: key for key in rows_of(tmp_path / "sheet" / "key.jsonl")}
    assert {key["day"] for key in keys.values()} == set(UNREAD)
    for row in rows_of(tmp_path / "sheet" / "sheet.jsonl"):
        visible, hidden = row["visible"], row["hidden"]
        assert isinstance(visible, dict)
        assert isinstance(hidden, dict)
        assert visible["text"] != hidden["text"]


def test_the_same_seed_draws_the_same_sheet(data: Path, tmp_path: Path, engine: Engine) -> None:
    for name in ("first", "second"):
        read_folds.draw(tmp_path / name, ["orders"], 3, 2, 7, engine)
    for file in ("sheet.jsonl", "key.jsonl"):
        assert (tmp_path / "first" / file).read_bytes() == (tmp_path / "second" / file).read_bytes()


def key(number: int, *, decoy: bool = False, probability: float = 0.97, talk: str = "orders") -> Key:
    return Key(f"k{number}", talk, "2025-01-16", ("s", 0), ("s", 1), decoy, probability, "statement", "one")


def test_only_what_all_readers_agree_on_is_counted() -> None:
    keys = [key(1), key(2), key(3, probability=0.85), key(4, decoy=True, probability=0.0)]
    first = {"k1": True, "k2": True, "k3": False, "k4": False}
    second = {"k1": True, "k2": False, "k3": False, "k4": False}
    told = "\n".join(read_folds.report(keys, [first, second]))
    assert "4 pairs read, 0 not; the readers agree on 3" in told
    assert "decoys called right: 0 of 1" in told
    assert "orders              1 of    2  0.50" in told
    assert "0.95 and more       1 of    1  1.00  0.21 to 1.00" in told
    assert "0.80 and more       0 of    1  0.00" in told


def test_verdicts_of_another_shape_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "verdicts.jsonl"
    path.write_bytes(b'{"id": "k1", "right": true}\n{"id": "k1", "right": false}\n')
    with pytest.raises(ValueError, match="line 2"):
        read_folds.read_verdicts(path)


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("Thank you so much, bye!", "courtesy"),
        ("Which browser do you use?", "question"),
        ("I need help with the export", "request"),
        ("The export is fixed.", "statement"),
    ],
)
def test_kinds_of_lines(text: str, what: str) -> None:
    assert read_folds.says(text) == what
