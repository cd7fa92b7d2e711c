"""The words of a line: the form in which texts are compared, and the parts that must not differ."""

from __future__ import annotations

import hashlib
import re
import unicodedata

HASH_BYTES = 16


def _table(listed: str) -> tuple[str, ...]:
    return tuple(listed.split())


_INVISIBLE = re.compile("[\u0000-\u0008\u000b\u000c\u000e-\u001f\u007f\u00ad\u200b-\u200f\u2028-\u202e\u2060\ufeff]")
_LETTER_OR_DIGIT = re.compile(r"[^\W_]")
_WORD = re.compile(r"[^\W_]+(?:['’][^\W_]+)*", re.UNICODE)
# A token that carries a value: it has a digit, or the punctuation of a path, an address, a name of code.
_VALUE = re.compile(r"[^\s,;()\[\]{}\"“”<>]*(?:\d|[^\s.]/|/[^\s.]|\w[_@=]\w|\w\.\w{2,}|--\w)[^\s,;()\[\]{}\"“”<>]*")
_ADDRESSEE = re.compile(r"^\s*@?\S{1,32}[:,]\s+")
# Not "one": it is a pronoun more often than a number.
_NUMBER_WORDS = {
    word: str(number)
    for number, word in enumerate(
        _table(
            """
    two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen seventeen eighteen
    nineteen twenty
    """
        ),
        start=2,
    )
} | {"thirty": "30", "forty": "40", "fifty": "50", "hundred": "100", "thousand": "1000", "half": "1/2"}
_NEGATIONS = frozenset(
    _table(
        """
    no not never none nothing nobody neither nor nowhere without cannot cant can't won't wont don't dont doesn't
    doesnt didn't didnt isn't isnt aren't arent wasn't wasnt weren't werent hasn't hasnt haven't havent hadn't hadnt
    shouldn't shouldnt wouldn't wouldnt couldn't couldnt mustn't needn't ain't aint unable fails failed hardly
    """
    )
)
_OPPOSITES = tuple(
    tuple(pair.split("/"))
    for pair in _table(
        """
    yes/no on/off enable/disable enabled/disabled start/stop started/stopped open/close opened/closed add/remove
    added/removed install/uninstall installed/uninstalled up/down before/after more/less increase/decrease
    first/last left/right true/false good/bad always/never can/cannot accept/reject accepted/rejected
    approve/decline approved/declined passed/failed push/pull upload/download mount/unmount online/offline old/new
    fast/slow hot/cold cheap/expensive high/low higher/lower bigger/smaller allow/deny agree/disagree buy/sell
    login/logout early/late morning/evening morning/afternoon today/tomorrow today/yesterday
    morning/night first/second second/third
    """
    )
)
_QUESTION_OPENERS = frozenset(
    _table(
        """
    who what when where why how which whose can could should would is are was were do does did has have will shall
    may am anyone anybody someone
    """
    )
)


def normalise(text: str) -> str:
    """The form in which texts are compared: NFC, invisible characters dropped, white space folded, case folded.

    Not NFKC: it would make ``x²`` and ``x2`` the same. Other scripts and emoji are kept.
    """
    composed = unicodedata.normalize("NFC", _INVISIBLE.sub("", text))
    return " ".join(composed.split()).casefold()


def text_hash(normalised: str) -> bytes:
    """Key of a normalised text: 16 bytes of BLAKE2b."""
    return hashlib.blake2b(normalised.encode("utf-8", "surrogatepass"), digest_size=HASH_BYTES).digest()


def words(text: str) -> list[str]:
    """The words of a text: runs of letters and digits of any script, an apostrophe inside kept."""
    return _WORD.findall(text.replace("’", "'"))


def count_words(text: str) -> int:
    """How many words a text has: runs between white space that hold a letter or a digit.

    Scripts that are written without spaces count a word for every two letters, so that a sentence of theirs is not
    taken for a single short word.
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


def values(text: str) -> frozenset[str]:
    """What must be equal for two lines to say the same: numbers, versions, paths, addresses, options, names of code."""
    marked = {found.strip(".:!?'`*").casefold() for found in _VALUE.findall(text)} - {""}
    return frozenset(marked | {_NUMBER_WORDS[word] for word in words(text.casefold()) if word in _NUMBER_WORDS})


def negations(text_words: list[str]) -> int:
    """How many words of negation a line has."""
    return sum(1 for word in text_words if word in _NEGATIONS)


def opposites(text_words: list[str]) -> tuple[int, int]:
    """Which opposites a line holds, as two bit sets: bit i of the first is set where the line has the first word of
    the i-th pair ("install"), bit i of the second where it has the second word ("uninstall")."""
    present = set(text_words)
    first = sum(1 << bit for bit, (one, _) in enumerate(_OPPOSITES) if one in present)
    second = sum(1 << bit for bit, (_, other) in enumerate(_OPPOSITES) if other in present)
    return first, second


def is_question(text: str) -> bool:
    """Whether a line asks: it ends in a question mark, or opens the way questions do, an addressee left aside."""
    if "?" in text.rstrip(" .!)\"'")[-3:]:
        return True
    opening = words(_ADDRESSEE.sub("", text, count=1))[:1]
    return bool(opening) and opening[0].casefold() in _QUESTION_OPENERS
