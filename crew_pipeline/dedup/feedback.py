"""What people have said about pairs of texts, and about what stands in messages."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

TextPair = tuple[bytes, bytes]


@dataclass(frozen=True)
class Feedback:
    """What people have said about pairs of texts, by hash (``key`` of each pair), the latest word first; and about
    passages.

    Attributes:
        same: pairs that must share a cluster wherever a day has both texts.
        different: pairs that must not; where a text is paired with itself, its repeats stay visible.
        shown: passages that stay visible wherever they stand, by the hash of how they are compared (``passages.form``).
        hidden: passages that views leave out where they are visible as standing text, by the same hash.
    """

    same: Sequence[TextPair] = ()
    different: Sequence[TextPair] = ()
    shown: frozenset[bytes] = frozenset()
    hidden: frozenset[bytes] = frozenset()

    @staticmethod
    def key(left: bytes, right: bytes) -> TextPair:
        """The two hashes in ascending order."""
        return (left, right) if left <= right else (right, left)
