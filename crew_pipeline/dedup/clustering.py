"""Star clusters: every member has an accepted link of its own to the canonical text, never one through a neighbour."""

from __future__ import annotations

import heapq
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Stars:
    """Which text stands for which.

    Attributes:
        centre: int64 (n,), the canonical text of each text; its own index where it stands for itself.
        link: int64 (n,), the index of the accepted pair that ties a member to its canonical text; -1 for none.
    """

    centre: NDArray[np.int64]
    link: NDArray[np.int64]


def stars(
    count: int,
    left: NDArray[np.int64],
    right: NDArray[np.int64],
    weight: NDArray[np.int64],
    rank: NDArray[np.int64],
) -> Stars:
    """Group ``count`` texts around canonical ones.

    The text that stands for the most lines comes first: its own repeats and those of its accepted neighbours; where
    that is equal, the one of lower ``rank``. It takes its free neighbours; the rest is looked at again, so a text is
    never grouped around a centre that was taken away. The result does not depend on the order of the pairs.

    Args:
        left, right: int64 (m,), accepted pairs, each unordered pair at most once.
        weight: int64 (count,), lines that carry each text.
        rank: int64 (count,), a total order among texts: the better canonical line first.
    """
    neighbours: list[list[tuple[int, int]]] = [[] for _ in range(count)]
    for pair, (one, other) in enumerate(zip(left.tolist(), right.tolist(), strict=True)):
        neighbours[one].append((other, pair))
        neighbours[other].append((one, pair))
    centre = np.arange(count, dtype=np.int64)
    link = np.full(count, -1, dtype=np.int64)
    free = [True] * count
    reach = [int(weight[text]) + sum(int(weight[other]) for other, _ in neighbours[text]) for text in range(count)]
    ranks = rank.tolist()
    waiting = _Order({text: (-reach[text], ranks[text]) for text in range(count) if neighbours[text]})
    while (best := waiting.pop(free)) is not None:
        members = [(other, pair) for other, pair in neighbours[best] if free[other]]
        taken = [best, *(other for other, _ in members)]
        for other, pair in members:
            centre[other] = best
            link[other] = pair
        for text in taken:
            free[text] = False
        for text in taken:
            for other, _ in neighbours[text]:
                if free[other]:
                    reach[other] -= int(weight[text])
                    waiting.put(other, (-reach[other], ranks[other]))
    return Stars(centre=centre, link=link)


class _Order:
    """A priority queue whose entries may change: a changed entry is pushed again and the old one is passed over."""

    def __init__(self, keys: dict[int, tuple[int, int]]) -> None:
        self._keys = dict(keys)
        self._heap = [(key, text) for text, key in keys.items()]
        heapq.heapify(self._heap)

    def put(self, text: int, key: tuple[int, int]) -> None:
        self._keys[text] = key
        heapq.heappush(self._heap, (key, text))

    def pop(self, free: list[bool]) -> int | None:
        while self._heap:
            key, text = heapq.heappop(self._heap)
            if free[text] and self._keys[text] == key:
                return text
        return None
