"""The words of a text as they are looked for: case and accents folded, in any script, with the places they stand."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator
from functools import lru_cache
from typing import NamedTuple

import regex

_WORD = regex.compile(r"[\p{L}\p{N}][\p{L}\p{N}\p{M}]*")
_UNSPACED = regex.compile(r"[\p{Han}\p{Hiragana}\p{Katakana}\p{Thai}\p{Lao}\p{Khmer}\p{Myanmar}]\p{M}*")
"""A letter of a script that is written without spaces: each is a word of its own, and a word of several a phrase."""
_MARKS = regex.compile(r"[\u0300-\u036f\u0591-\u05c7\u0610-\u061a\u064b-\u065f\u0670]")
"""Accents and vowel points that people leave out where they search; signs without which other scripts cannot be read
stay."""
_OTHER = regex.compile(r"[^\p{L}\p{N}\p{M}]+")
"""What a sign comes apart into beside letters and digits (¼ is 1⁄4)."""
_LETTERS = str.maketrans({"ø": "o", "ł": "l", "đ": "d", "ı": "i", "æ": "ae", "œ": "oe", "ð": "d", "þ": "th"})
LONGEST = 64
"""Characters of a word that are looked at; longer ones are keys and hashes, of which so much tells enough."""


class Word(NamedTuple):
    """A folded word, and where it stands in the text (code points)."""

    folded: str
    start: int
    end: int


def words_of(text: str) -> Iterator[Word]:
    """The words of a text, in order."""
    for match in _WORD.finditer(text):
        word, start = match.group(), match.start()
        if word.isascii() or not _UNSPACED.search(word):
            yield Word(fold(word), start, match.end())
        else:
            yield from _letters(word, start)


def _letters(word: str, start: int) -> Iterator[Word]:
    at = 0
    for match in _UNSPACED.finditer(word):
        if match.start() > at:
            yield Word(fold(word[at : match.start()]), start + at, start + match.start())
        yield Word(fold(match.group()), start + match.start(), start + match.end())
        at = match.end()
    if at < len(word):
        yield Word(fold(word[at:]), start + at, start + len(word))


@lru_cache(maxsize=131_072)
def fold(word: str) -> str:
    """A word as it is looked for."""
    if word.isascii():
        return word.lower()[:LONGEST]
    bare = _MARKS.sub("", unicodedata.normalize("NFKD", word.casefold()))
    return _OTHER.sub("", unicodedata.normalize("NFC", bare).casefold().translate(_LETTERS))[:LONGEST]
