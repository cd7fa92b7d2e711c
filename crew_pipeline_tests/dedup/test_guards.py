"""What no judge may fold: other signs, the same words the other way round, opposites, languages that it never saw."""

from __future__ import annotations

import glob
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from crew_pipeline.dedup import frames
from crew_pipeline.dedup.comparing import compare_lines
from crew_pipeline.dedup.config import EngineConfig
from crew_pipeline.dedup.cores import distinct_texts
from crew_pipeline.dedup.folding import fold_lines
from crew_pipeline.dedup.languages import is_judged
from crew_pipeline.dedup.pair_scorer import BundledScorer
from crew_pipeline.dedup.text import signs
from crew_pipeline.dedup.text_vectors import text_vectors
from crew_pipeline_tests.conftest import SHARED

START = datetime(2025, 1, 15, 9, tzinfo=UTC)
FOUND = SHARED / "found"
VOICES = [("Ann", "Ann"), ("Ann", "Ben")]


class Sure:
    """A scorer that is sure of everything: only guards are left to forbid a fold."""

    fitted = True

    def logits(self, pairs: Sequence[tuple[str, str]]) -> object:
        import numpy as np

        return np.tile([9.0, 9.0, -9.0, -9.0], (len(pairs), 1))


@pytest.fixture(scope="module")
def scorer() -> BundledScorer:
    return BundledScorer()


def folded(
    texts: Sequence[str], speakers: Sequence[str], scorer: object, config: EngineConfig | None = None
) -> set[int]:
    """The places of the lines that a day of these lines hides."""
    config = config or EngineConfig(folding="loose")
    rows = [
        ("acme", "talk", place, speaker, START + timedelta(seconds=place), text)
        for place, (text, speaker) in enumerate(zip(texts, speakers, strict=True))
    ]
    lines = frames.columns(rows, frames.LINES)
    cores = distinct_texts(lines, config)
    vectors = dict(zip(cores, text_vectors(list(cores.values())), strict=True))
    comparison = compare_lines(lines, vectors, config, scorer)  # type: ignore[arg-type]
    return {row[3] for row in fold_lines("acme", "2025-01-15", lines, comparison, config).rows if not row[4]}


def test_without_a_guard_the_judge_decides() -> None:
    texts = ["Set the alarm when the load is > 80 percent", "Please set the alarm when the load is > 80 percent"]
    assert len(folded(texts, ("Ann", "Ann"), Sure())) == 1
    german = ["Der Server wurde heute neu gestartet.", "Ja, der Server wurde heute neu gestartet."]
    assert len(folded(german, ("Ann", "Ann"), Sure())) == 1


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("Set the alarm when the load is > 80 percent", "Set the alarm when the load is < 80 percent"),
        ("the new price list is fine 👍", "the new price list is fine 👎"),
        ("our office in the capital moves 🇩🇪", "our office in the capital moves 🇫🇷"),
        ("move the money from savings → checking today", "move the money from savings ← checking today"),
        ("the total is a + b for each of the rows", "the total is a * b for each of the rows"),
        ("the total is a+b for each of the rows", "the total is a-b for each of the rows"),
        ("the ticket for the late show costs $20", "the ticket for the late show costs €20"),
        ("keep every row where active = true please", "keep every row where active != true please"),
        ("Clara reports to Victor since the spring", "Victor reports to Clara since the spring"),
        ("call it with (first, other) as the arguments", "call it with (other, first) as the arguments"),
        ("the new driver is compatible with the board", "the new driver is incompatible with the board"),
        ("the second sample is much larger than ours", "the second sample is much smaller than ours"),
        ("the meeting room upstairs is free after ten", "the meeting room downstairs is free after ten"),
    ],
)
@pytest.mark.parametrize("speakers", VOICES)
def test_what_differs_in_a_sign_in_its_order_or_by_an_opposite_stays(
    one: str, other: str, speakers: tuple[str, str]
) -> None:
    assert folded([one, other], speakers, Sure()) == set()


SIGNS = st.sampled_from(["<=", ">=", "!=", *"<>=+*/→←≠±×€$🙂🙁✅❌"])


@given(SIGNS, SIGNS, st.integers(1, 7))
def test_no_sign_stands_for_another(one: str, other: str, place: int) -> None:
    words = ["put", "the", "limit", "of", "the", "line", "at", "the", "wall"]
    texts = [" ".join([*words[:place], sign, *words[place:]]) for sign in (one, other)]
    assert (signs(texts[0]) == signs(texts[1])) is (one == other)
    if one != other:
        assert folded(texts, ("Ann", "Ann"), Sure()) == set()


def test_what_is_no_sign_of_anything_does_not_count() -> None:
    for text in ("> so he said it: yes, it works!", "well... that is (I think) 50% done; and/or more", "what's up?"):
        assert signs(text) == ()


LATIN = {
    "nl": ["De server is vandaag opnieuw gestart.", "De server is vandaag niet opnieuw gestart."],
    "it": ["Il server è stato riavviato oggi pomeriggio.", "Il server non è stato riavviato oggi pomeriggio."],
    "pl": ["Serwer został dzisiaj uruchomiony ponownie.", "Serwer nie został dzisiaj uruchomiony ponownie."],
    "tr": ["Sunucu bugün yeniden başlatıldı arkadaşlar.", "Sunucu bugün yeniden başlatılmadı arkadaşlar."],
}
OTHER_SCRIPTS = [
    "русский текст о сервере",
    "サーバーは動いています",
    "الخادم يعمل الآن",
    "서버가 작동합니다",
    "ข้อความภาษาไทย",
    "το σύστημα δουλεύει",
]


@pytest.mark.parametrize("language", LATIN)
def test_what_is_surely_of_another_language_folds_only_word_for_word(language: str) -> None:
    said = LATIN[language]
    assert folded(said, ("Ann", "Ann"), Sure()) == set()
    assert folded([said[0], f" {said[0]}"], ("Ann", "Ann"), Sure()) == {1}
    assert is_judged(said[0].casefold(), ("de", "en", language))


@given(st.lists(st.sampled_from(OTHER_SCRIPTS), min_size=2, max_size=6, unique=True))
def test_no_text_in_other_letters_is_judged_unless_it_is_asked_for(texts: list[str]) -> None:
    assert not any(is_judged(text, EngineConfig().languages) for text in texts)
    assert all(is_judged(text, ("any",)) for text in texts)
    assert folded(texts, ["Ann"] * len(texts), Sure()) == set()


def test_talk_in_the_languages_that_were_measured_is_judged() -> None:
    for text in (
        "thanks, that helps a lot", "sudo apt-get install foo", "ok thx m8, brb", "das geht leider nicht",
        "no puedo entrar desde ayer", "c'est bon pour moi", "$5 for 2", "me too!", "😀😀", "",
    ):  # fmt: skip
        assert is_judged(text, EngineConfig().languages), text


def test_a_sentence_without_spaces_is_no_short_line() -> None:
    sentence = "我已经把报告发给客户了。"
    assert folded([sentence, sentence], ("Ann", "Ben"), Sure()) == {1}


def found_pairs() -> Iterator[tuple[str, str, str]]:
    for path in sorted(glob.glob(str(FOUND / "5*" / "pairs.jsonl"))):
        for raw in Path(path).read_bytes().splitlines():
            one, other, right = orjson.loads(raw)
            yield one, other, right


@pytest.mark.corpus
@pytest.mark.parametrize("speakers", VOICES)
def test_what_was_found_to_fold_wrongly_stays_apart(scorer: BundledScorer, speakers: tuple[str, str]) -> None:
    pairs = list(found_pairs())
    if not pairs:
        pytest.skip("the shared inputs that failed are not here")
    wrong = [
        (one, other)
        for one, other, right in pairs
        if right == "apart" and folded([one, other], speakers, scorer, EngineConfig())
    ]
    assert wrong == []


@pytest.mark.corpus
def test_unrelated_lines_of_any_language_stay_apart(scorer: BundledScorer) -> None:
    paths = sorted(FOUND.glob("54-*/*.jsonl"))
    if not paths:
        pytest.skip("the shared inputs that failed are not here")
    for path in paths:
        texts = [orjson.loads(raw)["text"] for raw in path.read_bytes().splitlines()]
        for config in (EngineConfig(), EngineConfig(folding="loose")):
            assert folded(texts, ["Ann"] * len(texts), scorer, config) == set(), path.name


PROMPT = "You are the reviewer of a small team.\nAnswer for the people who use it.\n\n"


@pytest.mark.parametrize(
    "answers", [("Yes, I agree.", "No, I do not."), ("Keep the table.", "Rename the table to orders.")]
)
def test_messages_that_share_a_row_are_not_taken_for_each_other(answers: tuple[str, str]) -> None:
    texts = [PROMPT + answer for answer in answers]
    assert folded(texts, ("Reviewer", "Reviewer"), Sure()) == set()
    assert len(folded([texts[0], texts[0]], ("Reviewer", "Reviewer"), Sure())) == 1


def test_messages_of_several_rows_of_which_none_is_shared_are_judged() -> None:
    texts = ["Thank you all\nthe server was restarted today", "Thanks to you all\nthe server was restarted today, yes"]
    assert len(folded(texts, ("Ann", "Ann"), Sure())) == 1
