"""In which languages lines are judged: those that the judge was measured on. Elsewhere only what repeats word for word
folds, for the judge does not know there what denies, and takes words that it has never seen for one another."""

from __future__ import annotations

import unicodedata
from collections.abc import Collection
from functools import lru_cache
from typing import Any

MEASURED = ("de", "en", "es", "fr")
"""ISO 639-1."""
ANY = "any"
SURE = 0.45
"""Probability from which on a text in Latin letters counts as of another language. Of 3,000 lines of each shared corpus
it is reached by none of five, by 1 in 1,000 of IRC and Slack (docs/judgement.md)."""
_KNOWN = 65_536


def is_judged(text: str, languages: Collection[str]) -> bool:
    """Whether a text may be compared by what it means.

    In Latin letters it may unless it is surely of another language: what is short, or full of names and commands, is
    told apart by nobody. In other letters it must be of one of the languages.

    Args:
        languages: ISO 639-1, or ``any``.
    """
    if ANY in languages:
        return True
    if not text.isascii() and _is_in_other_letters(text):
        return _language(text)[0] in languages
    language, probability = _language(text)
    return language in languages or probability < SURE


@lru_cache(maxsize=_KNOWN)
def _language(text: str) -> tuple[str, float]:
    language, probability = _identifier().classify(text)
    return str(language), float(probability)


@lru_cache(maxsize=1)
def _identifier() -> Any:
    from py3langid.langid import MODEL_FILE, LanguageIdentifier

    return LanguageIdentifier.from_model_file(MODEL_FILE, norm_probs=True)


def _is_in_other_letters(text: str) -> bool:
    """Whether most letters are not Latin."""
    letters = [character for character in text if character.isalpha()]
    latin = sum(character.isascii() or unicodedata.name(character, "").startswith("LATIN") for character in letters)
    return 2 * latin < len(letters)
