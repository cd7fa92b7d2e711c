"""How far a history table has been read, so that nothing is read twice and nothing is lost. Pure decisions.

A row is known by its *key*: an integer id, or the microsecond of its time where there is no id. Reading on from the
highest key alone loses rows, because keys do not become visible in their order. So a watermark holds more than it:

- ``top``: the highest key read. What lies above it is new.
- ``gaps``: stretches below the top that held no row when they were read. A transaction that commits late, a session of
  the database that holds back a cache of the sequence, a row that was refused because its time has not come: whatever
  fills a gap is found in the next round, since every round asks for rows in the gaps. It does not matter how long that
  takes; clocks and times of rows play no part. The newest 256 stretches are watched.
- ``blocks`` (in a table): how many rows of each stretch of keys were read, and the sum of their keys. Each round holds
  some of them against the source (the *patrol*), so whatever else has happened far below the top, from a row inserted
  under an old key to a session deleted, is found when the patrol comes by. Where the key is a time there are no gaps:
  the blocks of the last two days are compared in every round instead.
- ``anchors``: a few rows with a digest of their content, dense near the top and ever sparser below. Where one holds
  another message than it did, keys are being used again (a table truncated and begun anew, replaced by another, or
  SQLite handing out the ids of deleted rows). All above the highest anchor that still holds is then read again.
- ``shifts``: what has to be added to keys from some key on to make positions of lines. After keys began anew it lifts
  new lines above all old ones, so that no message takes the place of another; messages that are the same as before are
  recognised by their content and keep their place.

Rows that were read and the watermark after them are written in one transaction, and merging is idempotent, so a process
may die anywhere. Two that read at once take turns by the lock on the watermark's row.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

MOST_GAPS = 256
BLOCK_OF_IDS = 8_192
BLOCK_OF_MICROSECONDS = 3_600_000_000
TIES = 1_000
"""Rows of one session in the same microsecond that can be told apart, where the key is a time."""

OF_TIMES = ":time"
"""How the ``source`` of a watermark ends whose keys are times."""

Span = tuple[int, int]
"""First and last key of a stretch, both included."""


@dataclass(frozen=True)
class Watermark:
    """How far a table has been read; see the module.

    Attributes:
        top: None before the first row.
        gaps: ascending, apart from each other, all below ``top``.
        anchors: key and digest, ascending.
        shifts: from which key on what is added to it, ascending.
        known_below: lines below this position were read before keys began anew; they are recognised by their content.
        patrol: the next block to be held against the source.
        source: which table of which source this is the watermark of.
    """

    top: int | None = None
    gaps: tuple[Span, ...] = ()
    anchors: tuple[tuple[int, str], ...] = ()
    shifts: tuple[tuple[int, int], ...] = ()
    known_below: int | None = None
    patrol: int = 0
    source: str = ""

    @staticmethod
    def of(stored: Mapping[str, Any] | None) -> Watermark:
        """The watermark that was stored; an unread table's for None."""
        if not stored:
            return Watermark()
        return Watermark(
            stored["top"],
            tuple((first, last) for first, last in stored["gaps"]),
            tuple((key, digest) for key, digest in stored["anchors"]),
            tuple((key, added) for key, added in stored["shifts"]),
            stored["known_below"],
            stored["patrol"],
            stored["source"],
        )

    def as_dict(self) -> dict[str, Any]:
        """As it is stored."""
        return {
            "top": self.top,
            "gaps": self.gaps,
            "anchors": self.anchors,
            "shifts": self.shifts,
            "known_below": self.known_below,
            "patrol": self.patrol,
            "source": self.source,
        }

    def position(self, key: int) -> int:
        """Where the line of a row stands among all lines of its crew."""
        return key + next((added for first, added in reversed(self.shifts) if key >= first), 0)

    def position_before(self, key: int) -> int:
        """Where the line of this row stood before keys began anew the last time."""
        return replace(self, shifts=self.shifts[:-1]).position(key)

    def read_up(
        self, keys: Sequence[int], digests: Mapping[int, str], reached: int, *, dense: bool = True
    ) -> Watermark:
        """After all rows above the top up to ``reached`` were read by one statement.

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
        """After rows in gaps were taken in."""
        gaps = list(self.gaps)
        for key in sorted(set(keys)):
            index = bisect_right(gaps, key, key=lambda span: span[0]) - 1
            if index >= 0 and gaps[index][1] >= key:
                first, last = gaps[index]
                around = ((first, key - 1), (key + 1, last))
                gaps[index : index + 1] = [span for span in around if span[0] <= span[1]]
        return replace(self, gaps=tuple(gaps[-MOST_GAPS:]))

    def begins_anew(self, present: Mapping[int, str], highest: int | None) -> Watermark | None:
        """The watermark to read on from where keys are used again; None where they are not.

        Args:
            present: digest of the rows that the source now has at the anchors' keys.
            highest: the source's highest key; None where it is empty.
        """
        if self.top is None or not self.anchors:
            return None
        differs = any(present.get(key, digest) != digest for key, digest in self.anchors)
        # Rows that are gone are no sign, as long as there are newer ones: the source does not use their keys again.
        sunk = highest is None or highest < self.anchors[-1][0]
        if not differs and not sunk:
            return None
        return self.anew(max((key for key, digest in self.anchors if present.get(key) == digest), default=-1))

    def anew(self, holding: int = -1) -> Watermark:
        """The watermark to read on from above ``holding``, with all that was read kept apart from what comes."""
        if self.top is None:
            return replace(self, gaps=(), anchors=())
        highest = self.position(max(self.top, *(key for key, _ in self.anchors)) if self.anchors else self.top)
        if self.source.endswith(OF_TIMES):
            highest = (highest + 1) * TIES
        return Watermark(
            top=holding if holding >= 0 else None,
            gaps=tuple((first, min(last, holding)) for first, last in self.gaps if first <= holding),
            anchors=tuple(anchor for anchor in self.anchors if anchor[0] <= holding),
            shifts=(*(shift for shift in self.shifts if shift[0] <= holding), (holding + 1, highest - holding)),
            known_below=highest + 1,
            source=self.source,
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
