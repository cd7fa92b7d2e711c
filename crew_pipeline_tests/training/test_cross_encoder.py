"""What a cross-encoder learns from is what changes say, and training that is broken off goes on where it was."""

from __future__ import annotations

from pathlib import Path
from random import Random

import pytest

from training import cross_encoder, made_pairs
from training.cross_encoder import Sample
from training.made_pairs import Maker

LINES = [
    "the invoice export times out after 30 seconds again",
    "i think the printer on the second floor needs paper",
    "please restart the mail server before the meeting on monday",
    "we can move the archive from the old disk to the new one",
    "it is possible that the release will slip until thursday",
    "the customer asked for two copies of the signed contract",
]


@pytest.fixture(scope="module")
def maker() -> Maker:
    return Maker(LINES, Random(3))


def test_what_is_made_is_never_the_line_itself_and_always_known_one_way(maker: Maker) -> None:
    made = list(maker.pairs(8))
    assert len(made) == 8
    assert all(pair.left != pair.right and pair.right_covers is not None for pair in made)


def test_a_second_line_is_covered_and_does_not_cover(maker: Maker) -> None:
    pair = maker.added(LINES[0], LINES[0].split(), [])
    assert LINES[0] in pair.left
    assert (pair.right, pair.left_covers, pair.right_covers) == (LINES[0], 1, 0)


@pytest.mark.parametrize("change", ["another_word", "another_number", "denied", "swapped"])
def test_what_counts_is_changed_and_the_rest_is_kept(maker: Maker, change: str) -> None:
    made = 0
    for line in LINES * 3:
        words = line.split()
        telling = [n for n, word in enumerate(words) if len(word) > 4]
        pair = getattr(maker, change)(line, words, telling)
        if pair is not None:
            made += 1
            assert (pair.left_covers, pair.right_covers) == (0, 0)
            assert len(set(words) - set(pair.right.split())) <= 2
    assert made


def test_equal_chances_make_equal_pairs() -> None:
    first, second = (list(Maker(LINES, Random(7)).pairs(10)) for _ in range(2))
    assert first == second


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cross_encoder, "BATCH", 2)
    monkeypatch.setattr(cross_encoder, "KEPT_EVERY", 2)


def network() -> object:
    import torch
    from transformers import BertConfig, BertForSequenceClassification

    torch.manual_seed(1)
    config = BertConfig(
        vocab_size=30_522,
        hidden_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=32,
        num_labels=4,
    )
    return BertForSequenceClassification(config)


def learned() -> list[Sample]:
    pairs = made_pairs.Maker(LINES, Random(5)).pairs(7)
    return [Sample(pair.left, pair.right, (1.0, float(pair.right_covers or 0), -1, -1), 1.0) for pair in pairs]


def test_training_that_is_broken_off_goes_on_to_the_same_weights(
    tmp_path: Path, small: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    pairs = [(LINES[0], LINES[1]), (LINES[2], LINES[2])]
    whole = cross_encoder.scores(cross_encoder.train(network(), learned(), tmp_path / "whole.pt"), pairs)

    keep, kept = cross_encoder._keep, 0

    def broken_off(*state: object) -> None:
        nonlocal kept
        keep(*state)  # type: ignore[arg-type]
        kept += 1
        if kept == 2:
            raise KeyboardInterrupt

    monkeypatch.setattr(cross_encoder, "_keep", broken_off)
    with pytest.raises(KeyboardInterrupt):
        cross_encoder.train(network(), learned(), tmp_path / "broken.pt")
    again = cross_encoder.scores(cross_encoder.train(network(), learned(), tmp_path / "broken.pt"), pairs)
    assert (again == whole).all()


def test_a_pair_and_its_mirror_have_mirrored_scores(tmp_path: Path, small: None) -> None:
    model = cross_encoder.train(network(), learned(), tmp_path / "state.pt")
    there, back = (cross_encoder.scores(model, [pair]) for pair in ((LINES[0], LINES[3]), (LINES[3], LINES[0])))
    assert there[0, [1, 0, 2, 3]] == pytest.approx(back[0], abs=1e-6)
