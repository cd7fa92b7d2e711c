"""What a line says once the habits of conversation are left aside: who it is addressed to, fillers, restarts."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from functools import lru_cache

from crew_pipeline.dedup import lexicon
from crew_pipeline.dedup.text import count_words, has_value, normalise

_HEAD = re.compile(
    r"""\s*(?:
        @(?P<at>\S{1,40}?)(?:[,:;]?\s+)            # @name
      | <\s?[@+~%&]?(?P<quoted>[^\s<>]{1,40})>\s*   # <name> of a pasted line
      | (?P<plain>[^\s:,;]{1,40})(?:\s?[:,;]\s*|\s-+\s+|\s?\.\.+\s*)
    )""",
    re.VERBOSE,
)
_TAIL = re.compile(r"\s*,\s*@?(?P<name>[^\s,:;?!.]{2,40})(?P<end>\s*[?!.:;)(dpoxb\]]{0,4})\s*$")
_SEVERAL = re.compile(r"\s*(?P<names>(?:[^\s:,]{1,40},?\s+){1,4}[^\s:,]{1,40})\s?:\s+")
_TOKEN = re.compile(r"(?<!\S)(?:[=!<>]=|[-+]{1,2}(?=\w)[^\s,;()\[\]{}\"“”«»<>!?]+)|[^\s,;()\[\]{}\"“”«»<>!?]+")
_SIGNED = re.compile(r"[=!<>]=|[-+]{1,2}\w.*|.*\w(?:\+\+|#)")
_PIECE = re.compile(r"[^\W_]+(?:'[^\W_]+)*")
_EDGES = ".:'`*_-…~|=+"
_AT_MOST = 4

_KNOWN = 16_384
"""Texts whose parts are kept: every step of a day asks for them again."""

SHORT = 3
"""A line of fewer content words is not hidden under another voice's line, even if it repeats it word for word."""


def speaker_names(speakers: Iterable[str]) -> frozenset[str]:
    """The names by which the day's speakers are addressed: whole, and the parts of a name of two or three words."""
    names: set[str] = set()
    for speaker in speakers:
        name = normalise(speaker)
        parts = name.split()
        if len(name) > 1:
            names.add(name)
        if 2 <= len(parts) <= 3:
            names.update(part for part in parts if len(part) >= 3 and part not in lexicon.FUNCTION_WORDS)
    return frozenset(names - {""})


def without_addressees(normalised: str, names: Collection[str]) -> str:
    """A normalised text without the people it is addressed to.

    It drops ``kjele: …``, ``@kjele …``, ``<kjele> …``, ``…, kjele``, ``kjele where …``, ``ann, bob: …``, but only
    for ``names``: ``web01: disk is full`` is about its first word. A text that is nothing but names is left alone.
    """
    rest = normalised
    for _ in range(_AT_MOST):
        shorter = _without_head(rest, names)
        if shorter is None:
            break
        rest = shorter
    tail = _TAIL.search(rest)
    listed = rest[: tail.start()].rpartition(" ")[2] in names if tail else False
    if tail and tail["name"] in names and not listed and rest[: tail.start()].strip():
        rest = rest[: tail.start()] + tail["end"].rstrip()
    return rest.strip() or normalised


def _without_head(text: str, names: Collection[str]) -> str | None:
    several = _SEVERAL.match(text)
    if several and (several["names"] in names or all(name.strip(",") in names for name in several["names"].split())):
        return text[several.end() :] or None
    head = _HEAD.match(text)
    if head is None:
        return _without_bare_name(text, names)
    rest = text[head.end() :]
    if not any(character.isalnum() for character in rest):
        return None
    name = head["at"] or head["quoted"] or head["plain"]
    unmistakable = head["plain"] is None or ":" in text[head.end("plain") : head.end()]
    if name in names and (unmistakable or name not in lexicon.FUNCTION_WORDS):
        return rest
    return _without_bare_name(text, names)


def _without_bare_name(text: str, names: Collection[str]) -> str | None:
    first, _, rest = text.partition(" ")
    addressed = first in names and first not in lexicon.FUNCTION_WORDS
    return rest if addressed and rest.partition(" ")[0] in lexicon.AFTER_A_NAME else None


def tokens(normalised: str) -> list[str]:
    """The words of a text, values (numbers, versions, paths, addresses, names of code) whole, restarts collapsed.

    A word or a pair of words that is said again at once ("the the", "I think I think") counts once.
    """
    words: list[str] = []
    for raw in _TOKEN.findall(normalised.replace("’", "'")):
        token = raw.rstrip(".:'`*_-…~|") if _SIGNED.fullmatch(raw) else raw.strip(_EDGES)
        if not token:
            if not raw.isascii():
                words.append(raw)
        elif has_value(token):
            words.append(token)
        else:
            words.extend(_PIECE.findall(token) or ([] if token.isascii() else [token]))
    return _without_restarts(words)


def _without_restarts(words: list[str]) -> list[str]:
    kept: list[str] = []
    for word in words:
        if kept and kept[-1] == word and not _counts(word):
            continue
        kept.append(word)
        if len(kept) >= 4 and kept[-2:] == kept[-4:-2] and not any(map(_counts, kept[-2:])):
            del kept[-2:]
    return kept


def _counts(word: str) -> bool:
    """Whether saying a word twice says more than saying it once, as with the digits of a number that is read out."""
    return has_value(word) or word in lexicon.NUMBER_WORDS


@dataclass(frozen=True)
class Utterance:
    """A text as it is compared.

    Attributes:
        core: normalised text without addressees; texts of one core repeat each other word for word.
        words: its words, restarts collapsed.
        content: the words that are not fillers; all words where there are only fillers.
    """

    core: str
    words: tuple[str, ...]
    content: tuple[str, ...]

    @staticmethod
    @lru_cache(maxsize=_KNOWN)
    def of(core: str) -> Utterance:
        """The parts of a core."""
        words = tokens(core)
        content = [word for word in words if word not in lexicon.FILLERS]
        return Utterance(core, tuple(words), tuple(content or words))

    @property
    def content_words(self) -> int:
        """How many different words it has that are neither function words nor fillers, see ``text.count_words``."""
        telling = {word for word in self.words if word not in lexicon.FUNCTION_WORDS}
        return len(telling) if self.core.isascii() else sum(max(1, count_words(word)) for word in telling)

    @property
    def disfluencies(self) -> int:
        """How many words a visitor could do without: fillers, and a cut-off ending."""
        return len(self.words) - len(self.content) + self.core.endswith(("-", "…", "..", ","))
