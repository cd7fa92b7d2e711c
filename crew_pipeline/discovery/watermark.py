"""How far a history table has been read, so that nothing is read twice and nothing is lost. Pure decisions.

A row is known by its *key*: an integer id, or the microsecond of its time where there is no id. Reading on from the
highest key alone would lose rows, because keys do not become visible in order. So a watermark holds more than that:

- ``top``: the highest key read. What lies above it is new.
- ``gaps``: stretches below the top that held no row when they were read. Every round asks for rows in the gaps, so
  whatever fills one is found in the next round: a transaction that commits late, a database session that holds back
  cached numbers of the sequence, a row put off because its time had not come. It does not matter how long that takes;
  clocks and times of rows play no part. The newest 256 stretches are watched.
- ``blocks`` (in a table): how many rows of each stretch of keys were read, and the sum of their keys. Each round
  compares some of them with the source (the *patrol*), so other changes far below the top, such as a row inserted under
  an old key or a session deleted, are found when the patrol comes by. Where the key is a time there are no gaps: the
  blocks of the last hour are compared in every round instead, and those of two days by every patrol.
- ``anchors``: a few rows with a digest of what they are, dense near the top and ever sparser below. If one of them has
  changed, or the top is gone, keys may be in use again (a table truncated and begun anew, replaced by another, or
  SQLite handing out the ids of deleted rows). Then all above the highest unchanged anchor is read again.

Reading a row again does no harm, whatever has become of its key: ``placing`` sees to that with ``bases`` and
``highest``. Rows and the watermark after them are written in one transaction, so a process may die at any point.
Processes that read at once take turns, by the lock on the watermark's row.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

MOST_GAPS = 256
MOST_BASES = 1_000
HIGHEST = 2**63 - 2
"""The last position that can be given."""

Span = tuple[int, int]
"""First and last key of a stretch, both included."""


@dataclass(frozen=True)
class Watermark:
    """How far a table has been read; see the module.

    Attributes:
        top: None before the first row.
        gaps: ascending, apart from each other, all below ``top``.
        anchors: key and digest, ascending.
        bases: what is added to keys to make positions, and from which position on, oldest first; see ``placing``.
        lift: whether the next new line begins a new base.
        highest: the highest position that was ever given.
        recognise_to: rows up to this key may be copies of what was read under other keys.
        block: keys in a block; 0 before the first row.
        patrol: the next block to be held against the source.
        checked: the position where the next search for sessions in the source starts.
        scanned: how far a reading of the whole table has come; None where none is under way.
        source: which table of which source the watermark is for.
    """

    top: int | None = None
    gaps: tuple[Span, ...] = ()
    anchors: tuple[tuple[int, str], ...] = ()
    bases: tuple[tuple[int, int], ...] = ((0, 0),)
    lift: bool = False
    highest: int = -1
    recognise_to: int | None = None
    block: int = 0
    patrol: int = 0
    checked: int = 0
    scanned: int | None = None
    source: str = ""

    @staticmethod
    def of(stored: Mapping[str, Any] | None) -> Watermark:
        """The watermark that was stored; for None, that of an unread table."""
        if not stored:
            return Watermark()
        pairs = {
            name: tuple((first, second) for first, second in stored[name]) for name in ("gaps", "anchors", "bases")
        }
        return Watermark(**{**stored, **pairs})

    def as_dict(self) -> dict[str, Any]:
        """As it is stored."""
        return asdict(self)

    def positions(self, key: int) -> list[int]:
        """Where a row of this key may stand, newest base first. Each base has a stretch of positions of its own."""
        positions = []
        below: int | None = None
        for base, first in reversed(self.bases):
            if first <= key + base <= HIGHEST and (below is None or key + base < below):
                positions.append(key + base)
            below = first
        return positions

    def stretches(self, first: int, below: int) -> list[tuple[int, int]]:
        """Where rows of keys from ``first`` on, below ``below``, may stand: from which position on, and below which."""
        stretches = []
        end: int | None = None
        for base, start in reversed(self.bases):
            begins, ends = max(first + base, start), below + base if end is None else min(below + base, end)
            if begins < ends:
                stretches.append((begins, min(ends, HIGHEST + 1)))
            end = start
        return stretches

    def key_at(self, position: int) -> int:
        """The key that a line at this position had."""
        return position - next((base for base, first in reversed(self.bases) if position >= first), 0)

    def lifted(self, key: int, highest: int) -> Watermark:
        """The watermark with a new base, which puts this key behind the highest position.

        If there are too many, the oldest is forgotten: the source has long lost the rows that were read under it.
        """
        bases = (*self.bases, (highest + 1 - key, highest + 1))
        return replace(self, bases=bases[-MOST_BASES:], lift=False)

    def read_up(
        self, keys: Sequence[int], digests: Mapping[int, str], reached: int, *, dense: bool = True
    ) -> Watermark:
        """The watermark after one statement read all rows above the top up to ``reached``.

        Args:
            keys: of the rows that were taken in, ascending.
            digests: of some of them, by key.
            reached: the last key that was read, taken in or not.
            dense: whether a key that holds no row is a gap; it is not where keys are times.
        """
        holes: list[Span] = []
        expected = min(0, *keys[:1], reached) if self.top is None else self.top + 1
        for key in keys if dense else ():
            if key > expected:
                holes.append((expected, key - 1))
            expected = key + 1
        if dense and reached >= expected:
            holes.append((expected, reached))
        return replace(
            self,
            top=reached,
            gaps=(*self.gaps, *holes)[-MOST_GAPS:],
            anchors=_thinned([*self.anchors, *sorted(digests.items())]),
        )

    def filled(self, keys: Iterable[int]) -> Watermark:
        """The watermark after rows in gaps were taken in."""
        gaps = list(self.gaps)
        for key in sorted(set(keys)):
            index = bisect_right(gaps, key, key=lambda span: span[0]) - 1
            if index >= 0 and gaps[index][1] >= key:
                first, last = gaps[index]
                around = ((first, key - 1), (key + 1, last))
                gaps[index : index + 1] = [span for span in around if span[0] <= span[1]]
        return replace(self, gaps=tuple(gaps[-MOST_GAPS:]))

    def begins_anew(self, present: Mapping[int, set[str]], highest: int | None) -> Watermark | None:
        """If keys may be in use again, the watermark to read on from; otherwise None.

        Args:
            present: digests of the rows that the source now has at the anchors' keys.
            highest: the source's highest key; None where it is empty.
        """
        if self.top is None or not self.anchors:
            return None
        differing = [key for key, digest in self.anchors if key in present and digest not in present[key]]
        # Rows that are gone are no sign of it while there are newer ones: the source does not use their keys again.
        sunk = highest is None or highest < self.anchors[-1][0]
        if not differing and not sunk:
            return None
        holding = max((key for key, digest in self.anchors if digest in present.get(key, ())), default=-1)
        # A row that differs below one that is unchanged was edited.
        known = tuple(
            (key, digest if digest in present[key] else min(present[key]))
            for key, digest in self.anchors
            if key in present and key <= holding
        )
        above = any(key > holding for key in differing)
        if not above and not sunk:
            return replace(self, anchors=known)
        return replace(self.anew(holding, highest, lift=above), anchors=known)

    def anew(self, holding: int, highest: int | None, *, lift: bool) -> Watermark:
        """The watermark to read on from above ``holding``.

        Args:
            highest: the source's highest key; up to it rows may be copies of what was read.
            lift: whether new lines go behind all that was read, even if their keys say otherwise.
        """
        return replace(
            self,
            top=holding if holding >= 0 else None,
            gaps=tuple((first, min(last, holding)) for first, last in self.gaps if first <= holding),
            anchors=tuple(anchor for anchor in self.anchors if anchor[0] <= holding),
            lift=self.lift or (lift and self.highest >= 0),
            recognise_to=max((key for key in (self.recognise_to, highest) if key is not None), default=None),
            checked=0,
        )


def _thinned(anchors: Sequence[tuple[int, str]]) -> tuple[tuple[int, str], ...]:
    """The oldest anchor of each doubling of the distance from the top, so that some grow old enough for the next."""
    if not anchors:
        return ()
    top = anchors[-1][0]
    kept: dict[int, tuple[int, str]] = {}
    for anchor in anchors:
        kept.setdefault((top - anchor[0]).bit_length(), anchor)
    return tuple(sorted(kept.values()))
