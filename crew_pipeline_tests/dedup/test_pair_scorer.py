"""Pairs are read the same in any company and direction; a pair scorer that is not there is named."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from crew_pipeline.dedup import pair_scorer
from crew_pipeline.dedup.arithmetic import length_batches, multiply_in_bfloat16, prepare
from crew_pipeline.dedup.cross_encoder import CrossEncoder
from crew_pipeline.dedup.embedding import ModelNotFoundError
from crew_pipeline.dedup.pair_scorer import SWAPPED, BundledScorer, NamedScorer, scorer_of
from training.archive import write_npz
from training.cross_encoder import architecture

PAIRS = [
    ("the invoice export times out again", "once more the export of invoices runs into a timeout"),
    ("can anyone help me with the printer", "please can somebody help with my printer"),
    ("the meeting is on monday", "the meeting was moved to the big room because of the noise outside"),
    ("ok", "请问怎么导出一年的发票"),
    ("", "nothing on the one side"),
    ("word " * 300, "a very long line on the other side"),
]


@pytest.fixture(scope="module")
def scorer() -> BundledScorer:
    return BundledScorer()


def test_a_pair_is_read_the_same_alone_and_in_company(scorer: BundledScorer) -> None:
    together = scorer.logits(PAIRS)
    alone = np.concatenate([scorer.logits([pair]) for pair in PAIRS])
    assert np.array_equal(together, alone)


@pytest.mark.parametrize("in_bfloat16", [False, True])
def test_the_network_gives_the_bits_of_the_library_that_it_was_fitted_with(in_bfloat16: bool) -> None:
    prepare(2)
    weights = pair_scorer.stored_weights(pair_scorer.FILE)
    theirs = architecture(len({name.split(".")[3] for name in weights if ".layer." in name}))
    theirs.load_state_dict({name: torch.from_numpy(array) for name, array in weights.items()})
    theirs.eval()
    if in_bfloat16:
        for layer in theirs.bert.encoder.layer:
            for module in (layer.intermediate.dense, layer.output.dense):
                multiply_in_bfloat16(module)
    ours = CrossEncoder(weights, in_bfloat16=in_bfloat16)
    read = pair_scorer.tokenizer().encode_batch(PAIRS)
    groups = list(length_batches([len(one.ids) for one in read], pair_scorer.LONGEST, 64))
    whole = [(max(len(one.ids) for one in read), list(range(len(PAIRS))))]  # padded, so that the mask counts
    with torch.inference_mode():
        for length, rows in groups + whole:
            batch = [pair_scorer.padded(read[row], length) for row in rows]
            ids, kinds, mask = (torch.tensor(column) for column in zip(*batch, strict=True))
            output = theirs(input_ids=ids, token_type_ids=kinds, attention_mask=mask)
            assert torch.equal(ours(ids, kinds, mask), output.logits)


def test_reading_pairs_imports_no_library_of_models() -> None:
    code = (
        "import sys; from crew_pipeline.dedup.pair_scorer import BundledScorer; BundledScorer().logits([('a', 'b')]); "
        "sys.exit('transformers' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_the_order_of_the_two_texts_does_not_matter(scorer: BundledScorer) -> None:
    turned = scorer.logits([(other, one) for one, other in PAIRS])
    assert np.array_equal(scorer.logits(PAIRS), turned[:, SWAPPED])


def test_the_same_in_other_words_reads_surer_than_another_matter(scorer: BundledScorer) -> None:
    same, _, other, *_ = scorer.logits(PAIRS)
    assert same[0] > other[0]


def test_what_says_more_covers_what_says_less(scorer: BundledScorer) -> None:
    more, less = "please restart the mail server and clear the queue", "please restart the mail server"
    left_covers, right_covers, _, _ = scorer.logits([(more, less)])[0]
    assert left_covers > right_covers


def test_weights_in_8_bits_come_back_within_half_a_step(tmp_path: Path) -> None:
    matrix = np.random.default_rng(0).normal(size=(5, 7)).astype(np.float32)
    write_npz(tmp_path / "some.npz", **pair_scorer.in_8_bits({"matrix": matrix, "bias": matrix[0]}))
    back = pair_scorer.stored_weights(tmp_path / "some.npz")
    assert np.array_equal(back["bias"], matrix[0])
    assert np.all(np.abs(back["matrix"] - matrix) <= np.abs(matrix).max(axis=1, keepdims=True) / 127 / 2 + 1e-6)


def test_sixteen_bits_hardly_move_a_verdict() -> None:
    fast, exact = BundledScorer(precision="bfloat16").logits(PAIRS), BundledScorer(precision="float32").logits(PAIRS)
    assert np.abs(fast - exact).max() < 0.2


def test_scorers_are_chosen_by_name() -> None:
    assert scorer_of("off") is None
    assert isinstance(scorer_of("bundled"), BundledScorer)
    assert isinstance(scorer_of("./no-such-folder"), NamedScorer)


def test_a_cross_encoder_that_is_not_there_is_named_with_a_remedy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with pytest.raises(ModelNotFoundError, match=r"no-such-folder.*CREW_PAIR_SCORER"):
        NamedScorer("./no-such-folder").logits([("one", "other")])
