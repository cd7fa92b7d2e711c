"""The words of a line: the form in which texts are compared, and the parts that must not differ."""

from __future__ import annotations

import hashlib
import re
import unicodedata
from functools import lru_cache

from crew_pipeline.dedup import lexicon

HASH_BYTES = 16

_INVISIBLE = re.compile("[\u0000-\u0008\u000e-\u001b\u007f\u00ad\u200b-\u200f\u202a-\u202e\u2060\ufeff]")
# So many marks over one letter that composing them would take time that grows with their square.
_HEAPED_MARKS = re.compile(
    "[\u0300-\u036f\u0483-\u0489\u0591-\u05c7\u0610-\u061a\u064b-\u065f\u1ab0-\u1aff\u1dc0-\u1dff\u20d0-\u20ff\ufe20-\ufe2f]{32}"
)
_QUOTING = re.compile(r"^[>\s]+")
_OPERATOR = re.compile(r"[!<>=+*/&|^~:-]*[<>=|^~][!<>=+*/&|^~:-]*|(?<=\s)[*/+](?=\s)|(?<=\w)[+*](?=\w)|\$")
_OF_SIGNS = frozenset(("Sm", "So", "Sc"))
_LAST_OF_ASCII = 127
_LETTER_OR_DIGIT = re.compile(r"[^\W_]")
# A token that carries a value: it has a digit, or the punctuation of a path, an address, a name of code.
_VALUE = re.compile(r"\d|[^\s.]/|/[^\s.]|\w[_@=]\w|\w\.\w{2,}|^[-+]{1,2}\w|^[=!<>]=$|\w(?:\+\+|#)$")


def normalise(text: str) -> str:
    """The form in which texts are compared: NFC, invisible characters dropped, white space folded, case folded.

    Not NFKC: it would make ``x²`` and ``x2`` the same. Other scripts and emoji are kept.
    """
    shown = _INVISIBLE.sub("", text)
    composed = shown if _HEAPED_MARKS.search(shown) else unicodedata.normalize("NFC", shown)
    return " ".join(composed.split()).casefold()


def text_hash(normalised: str) -> bytes:
    """Key of a normalised text: 16 bytes of BLAKE2b."""
    return hashlib.blake2b(normalised.encode("utf-8", "surrogatepass"), digest_size=HASH_BYTES).digest()


def count_words(text: str) -> int:
    """How many words a text has: runs between white space that hold a letter or a digit.

    In scripts that are written without spaces every two letters count as a word, so that a sentence is not taken for
    a single short word.
    """
    if text.isascii():
        return sum(1 for token in text.split() if _LETTER_OR_DIGIT.search(token))
    total = 0
    for token in text.split():
        letters = [character for character in token if character.isalnum()]
        unspaced = sum(1 for character in letters if _is_unspaced(character))
        total += max(1, unspaced // 2) if unspaced else bool(letters)
    return total


def _is_unspaced(character: str) -> bool:
    point = ord(character)
    return 0x0E00 <= point <= 0x0EFF or 0x3040 <= point <= 0x30FF or 0x3400 <= point <= 0x9FFF


@lru_cache(maxsize=65_536)
def has_value(token: str) -> bool:
    """Whether a token must be equal for two lines to say the same: a number, version, path, address, name of code."""
    return _VALUE.search(token) is not None


def signs(core: str) -> tuple[str, ...]:
    """The signs of a text that say something by themselves, in their order: comparisons and operators, arrows,
    currencies, emoji. Of pairs of texts that differ in them and were read, one in five said the same."""
    spoken = _QUOTING.sub("", core)
    found = _OPERATOR.findall(spoken)
    if spoken.isascii():
        return tuple(found)
    return (*found, *(one for one in spoken if ord(one) > _LAST_OF_ASCII and unicodedata.category(one) in _OF_SIGNS))


def is_question(text: str, opening: str) -> bool:
    """Whether a text without addressees asks: it ends in a question mark, or opens (``opening``) as questions do."""
    return "?" in text.rstrip(" .!)\"'")[-3:] or opening in lexicon.QUESTION_OPENERS


_SIGNS = re.compile(r"[{}\[\]()<>=;|\\$`&%+]|--|::|->")
_FEWEST_SIGNS = 2
_SHARE_OF_SIGNS = 0.08
_MARKED_UP = re.compile(r"\*\*|^\s*#{1,6}\s")


def looks_like_code(core: str) -> bool:
    """Whether so many of a text's characters are signs of programs and commands that it is hardly talk."""
    signs = len(_SIGNS.findall(core))
    return signs >= _FEWEST_SIGNS and signs >= _SHARE_OF_SIGNS * len(core.replace(" ", ""))


def is_marked_up(core: str) -> bool:
    """Whether a text is a heading or a named entry of a list in Markdown, as agents write them."""
    return _MARKED_UP.search(core) is not None
