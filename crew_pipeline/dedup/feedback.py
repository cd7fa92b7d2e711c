"""What people have said about pairs of texts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

TextPair = tuple[bytes, bytes]


@dataclass(frozen=True)
class Feedback:
    """What people have said about pairs of texts, by hash (``key`` of each pair), the latest word first.

    Attributes:
        same: must share a cluster wherever both stand in a day.
        different: must not; a text with itself: its repeats stay visible.
    """

    same: Sequence[TextPair] = ()
    different: Sequence[TextPair] = ()

    @staticmethod
    def key(one: bytes, other: bytes) -> TextPair:
        """The two hashes in ascending order."""
        return (one, other) if one <= other else (other, one)
