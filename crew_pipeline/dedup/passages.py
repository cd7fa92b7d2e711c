"""The passages of a message: its rows, and of long rows the sentences or, in JSON of one row, the members.

Passages are spans of the text as it is, in code points; they follow one another without a gap, so nothing is rewritten
and nothing lost. Each has a *form* by which it is compared with others: prose as lines are (``text.normalise``), all
else sign by sign, indentation and case included.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from enum import Enum
from functools import lru_cache
from itertools import islice
from typing import NamedTuple

from crew_pipeline.dedup.text import looks_like_code, normalise, text_hash

LONG_ROW = 200
"""Code points of a row from which on it is parted into sentences or members."""

LONGEST_ENCLOSING = 100

_ROW = re.compile(r"[^\r\n]*(?:\r\n|\r|\n)?")
_BREAKS = "\r\n"
_EMPTY_ROWS = re.compile(r"\s*[\r\n]")

_END = re.compile(r"(?:(?<![.!?…])[.!?…]+[\"')\]”’»*_]*\s+|[。！？]+[」』”’）]*\s*)")
_LAST_WORD = re.compile(r"[^\s(\[\"'“‘«„]*$")
_STARTS_LOWER = re.compile(r"[\"'“‘«„(\[]*[a-zà-öø-ÿа-я,;:]")
_INITIALS = re.compile(r"(?:[^\W\d_]\.)+")
_ENUMERATED = re.compile(r"(?:^|[.!?:;]\s+)\(?\d{1,2}\.$")
_MONTH = re.compile(r"jan|feb|mär|apr|mai|jun|jul|aug|sep|okt|nov|dez", re.IGNORECASE)
_ABBREVIATIONS = re.compile(
    r"""mr|mrs|ms|dr|prof|st|sr|jr|rev|gen|col|capt|lt|sgt|hon|messrs|mt|ft
    |nos?|vols?|figs?|eq|sec|ch|pp|eds?|al|cf|ca|approx|est|dept|inc|ltd|corp|co
    |etc|vs|viz|resp|incl|excl|max|min|avg|tel|ext
    |jan|feb|mar|apr|jun|jul|aug|sept?|oct|nov|dec|mon|tue|wed|thu|fri|sat|sun
    |bzw|usw|nr|str|ggf|evtl|vgl|abb|hr|fr|frau|mme|mlle|sra|srta|uds?|av|pág""",
    re.VERBOSE | re.IGNORECASE,
)

_MEMBER = re.compile(r'"[^"\\]*(?:\\.[^"\\]*)*"|[,\[{]\s*', re.DOTALL)
_ESCAPED_BREAK = re.compile(r"(?:\\r)?\\n(?!\")")

_PROSE = re.compile(r"[“‘«„(]?[^\W\d_].*[^\s.!?…。！？][.!?…。！？]+[)”’»]*\s*", re.DOTALL)
# What talk does not hold: signs of code, a call or a name with parts, an option, straight quotes around something, a
# letter for a name, a key before its value.
_NO_TALK = re.compile(
    r"""[{}\[\]<>=;|\\$`&%+*#_~^/@"]|\w\(|\w\w[.:]\w*[^\W\d]|\w[.:]\w*[^\W\d]\w|[a-z][A-Z]|(?:^|\s)-{1,2}\w|(?:^|[\s(])'|\b[B-HJ-Z]\b|^\w+:\s"""
)
# How a long row begins that is parted into sentences though it holds an address, a name of code or a quotation.
_PROSAIC = re.compile(r"(?!.*\w\([\"'])(?:[-*•] |\d{1,2}[.)] )?[\"'“‘«„(\[]?[^\W_]")
_FEWEST_WORDS_OF_PROSE, _FEWEST_WORDS_QUOTED = 3, 4
_QUOTED = re.compile(r"(?:>[ \t]?)+(?=[^\s>])")
_WORD = re.compile(r"[^\W_]+")
_COUNTED_WORDS = 3
_OF_PROSE, _OF_ROW, _OF_PART = "prose ", "row ", "part "
"""What keys begin with: passages of different kinds are never equal."""
_DEFINITION = re.compile(
    r"(?:(?:export|default|public|private|protected|static|async|pub|abstract|final) )*"
    r"(?:def|class|function|func|fn|sub|interface|struct|enum|trait|impl|module|namespace) "
)


class Kind(Enum):
    """What a passage is."""

    TALK = "talk"
    """Of a row at the margin without a sign of code: capitals and spaces may say nothing in it."""
    ROW = "row"
    """A whole row of something else."""
    PART = "part"
    """A part of such a row: half a comment is not the code behind it."""


class Passage(NamedTuple):
    """A part of a text: code points from ``start`` to before ``end``, in row ``row`` of those that hold something.

    ``kind``: how it may be compared, see ``form``.
    """

    start: int
    end: int
    row: int
    kind: Kind


class Form(NamedTuple):
    """How a passage is compared.

    Attributes:
        key: equal for passages that say the same.
        length: code points without white space at either end.
        words: how many words it has, at most three.
    """

    key: str
    length: int
    words: int

    @property
    def hash(self) -> bytes:
        """Of the key, by which people's verdicts name a passage."""
        return text_hash(self.key)


def passages(text: str) -> list[Passage]:
    """The passages of a text, in order, without a gap; empty rows belong to the passage before them."""
    if len(text) <= LONG_ROW and "\n" not in text and "\r" not in text:
        return [Passage(0, len(text), 0, _kind(text, parts=1))] if text else []
    starts: list[tuple[int, int, Kind]] = []
    row = -1
    for match in _ROW.finditer(text):
        start, end = match.span()
        if start == end or text[start:end].isspace():
            continue
        row += 1
        content = text[start:end]
        places = [0] if end - start <= LONG_ROW else _parts(content)
        kind = _kind(content, parts=len(places))
        starts.extend((start + place, row, kind) for place in places)
    if not starts:
        return [Passage(0, len(text), 0, Kind.ROW)] if text else []
    # White space before the first row is the first passage's.
    starts[0] = (0, *starts[0][1:])
    ends = [start for start, _, _ in starts[1:]] + [len(text)]
    return [Passage(start, end, row, kind) for (start, row, kind), end in zip(starts, ends, strict=True)]


def _kind(row: str, parts: int) -> Kind:
    if _is_short_talk(row) if len(row) <= LONG_ROW else _is_talk(row):
        return Kind.TALK
    return Kind.ROW if parts == 1 else Kind.PART


def _is_talk(row: str) -> bool:
    return not row[:1].isspace() and not _NO_TALK.search(row)


# What crews write repeats, and a look into memory takes a tenth of the time.
_is_short_talk = lru_cache(maxsize=65_536)(_is_talk)


def _parts(row: str) -> list[int]:
    """Where the parts of a long row start."""
    if _is_json(row.strip()):
        return _members(row)
    return _sentences(row) if _PROSAIC.match(row) and not looks_like_code(row) else [0]


def _is_json(row: str) -> bool:
    if row[:1] + row[-1:] not in ("{}", "[]"):
        return False
    try:
        json.loads(row)
    except (ValueError, RecursionError):
        return False
    return True


def _members(row: str) -> list[int]:
    """Members of objects and lists, and of long strings the rows that are escaped in them."""
    starts = [0]
    for match in _MEMBER.finditer(row):
        if match[0][0] in ",[{":
            starts.append(match.end())
        elif match.end() - match.start() > LONG_ROW:
            starts.extend(match.start() + found.end() for found in _ESCAPED_BREAK.finditer(match[0]))
    return [start for start in starts if start < len(row)]


def _sentences(row: str) -> list[int]:
    """Sentences: not after an abbreviation, an initial or an ordinal, not before a small letter, not within code."""
    ends = (match.end() for match in _END.finditer(row) if _ends_sentence(row, match))
    return [0, *(end for end in ends if end < len(row))]


def _ends_sentence(row: str, match: re.Match[str]) -> bool:
    if match[0][0] in "。！？":
        return True
    if _STARTS_LOWER.match(row, match.end()):
        return False
    if not match[0].startswith(". ") and not match[0].startswith(".\t"):
        return True
    # A look back of bounded length: no abbreviation is longer.
    before = row[max(0, match.start() - 12) : match.start() + 1]
    last = _LAST_WORD.search(before)
    word = last[0] if last else ""
    if word[:-1].isdigit():
        return not _ENUMERATED.search(before) and not _MONTH.match(row, match.end())
    return not _ABBREVIATIONS.fullmatch(word[:-1]) and not _INITIALS.fullmatch(word)


def enclosing(text: str, parts: Sequence[Passage]) -> str:
    """Of folded passages of a text, the row that the last of ``parts``, which follows them, belongs to by its
    indentation: the nearest definition that it stands in, else the outermost row; empty where there is none."""
    margin = _margin(text[parts[-1].start : parts[-1].end].lstrip("\r\n"))
    found = ""
    for part in reversed(parts[:-1]):
        if not margin:
            break
        row = text[part.start : part.end].lstrip("\r\n")
        if _margin(row) < margin:
            margin, found = _margin(row), row.strip()[:LONGEST_ENCLOSING]
            if _DEFINITION.match(found):
                break
    return found


def hashes_in(text: str, start: int = 0, end: int | None = None) -> list[bytes]:
    """``Form.hash`` of the passages of a text that lie between two places (code points) of it at least in part."""
    last = len(text) if end is None else end
    return [
        form(text[part.start : part.end], part.kind).hash
        for part in passages(text)
        if part.start < last and part.end > start
    ]


def _margin(row: str) -> int:
    """Code points of white space at the beginning."""
    return len(row) - len(row.lstrip())


def code_in(text: str) -> str:
    """What of a message of several rows, or of JSON, is compared sign by sign, as one text: all but its prose."""
    parts = passages(text)
    if not parts or not (parts[-1].row or _is_json(text.strip())):
        return ""
    forms = (form(text[part.start : part.end], part.kind).key for part in parts)
    return "\n".join(key for key in forms if not key.startswith(_OF_PROSE))


def form(passage: str, kind: Kind) -> Form:
    """How a passage is compared with others, by its characters and its kind."""
    bare = passage.rstrip(_BREAKS) if kind is Kind.PART else passage.rstrip()
    empty = _EMPTY_ROWS.match(bare)
    bare = bare[empty.end() :] if empty else bare
    quoted = _QUOTED.match(bare)
    if quoted and kind is Kind.ROW and _is_quotation(bare[quoted.end() :]):
        bare, kind = bare[quoted.end() :], Kind.TALK
    content = bare.strip()
    words = _count_words(content, _COUNTED_WORDS)
    if kind is Kind.TALK and words >= _FEWEST_WORDS_OF_PROSE and _PROSE.fullmatch(bare):
        return Form(_OF_PROSE + normalise(content), len(content), words)
    return Form((_OF_PART if kind is Kind.PART else _OF_ROW) + bare, len(content), words)


def _is_quotation(words: str) -> bool:
    """Whether what stands behind a mark of quotation is talk, and enough of it not to be a command or a row of code."""
    return not _NO_TALK.search(words) and _count_words(words, _FEWEST_WORDS_QUOTED) == _FEWEST_WORDS_QUOTED


def _count_words(text: str, most: int) -> int:
    return sum(1 for _ in islice(_WORD.finditer(text), most))
