"""Star clusters: every member has an accepted link of its own to the canonical text, never one through a neighbour."""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Links:
    """What may be folded under what.

    Attributes:
        under: for each text, the texts that may be hidden under it, and how sure that is (0 to 1).
        apart: pairs that must not share a cluster.
        groups: sets of two or more texts that must share one, disjoint. Their members' links among themselves are in
            ``under`` as well.
    """

    under: Sequence[Mapping[int, float]]
    apart: frozenset[frozenset[int]] = frozenset()
    groups: Sequence[Sequence[int]] = field(default=())


def stars(
    links: Links, weight: Sequence[int], rank: Sequence[int], clash: Callable[[int, int], bool] | None = None
) -> list[int]:
    """Group texts around canonical ones.

    The text that stands for the most lines comes first: its own repeats and those of the texts that may be hidden under
    it; where that is equal, the one of lower ``rank``. It takes its free neighbours, the surest first, leaving out
    those that must be apart from it or from one already taken. The rest is looked at again, so a text is never grouped
    around a centre that was taken away. Of the members under which all others may be hidden, the one of lowest rank
    becomes the canonical text. The result does not depend on the order of the links.

    Args:
        weight: lines that carry each text.
        rank: a total order among texts: the better canonical text first.
        clash: whether two texts contradict each other; members of one cluster never do.

    Returns:
        The canonical text of each text; itself where it stands for itself.
    """
    return _Grouping(links, weight, rank, clash or (lambda one, other: False)).run()


class _Grouping:
    def __init__(
        self, links: Links, weight: Sequence[int], rank: Sequence[int], clash: Callable[[int, int], bool]
    ) -> None:
        self._links = links
        self._weight = weight
        self._rank = rank
        self._clash = clash
        self._apart: dict[int, set[int]] = {}
        for pair in links.apart:
            one, other = sorted(pair)
            self._apart.setdefault(one, set()).add(other)
            self._apart.setdefault(other, set()).add(one)
        self._mates = {text: tuple(sorted(group)) for group in links.groups for text in group}
        self._over: list[list[int]] = [[] for _ in weight]
        for centre, members in enumerate(links.under):
            for member in members:
                self._over[member].append(centre)

    def run(self) -> list[int]:
        count = len(self._weight)
        canonical = list(range(count))
        free = [True] * count
        reach = [
            self._weight[text] + sum(self._weight[one] for one in self._links.under[text]) for text in range(count)
        ]
        waiting = _Order({text: (-reach[text], self._rank[text]) for text in range(count) if self._links.under[text]})
        while (centre := waiting.pop(free)) is not None:
            cluster = self._cluster_around(centre, free)
            best = self._best(cluster)
            for text in cluster:
                canonical[text] = best
                free[text] = False
            for text in cluster:
                for other in self._over[text]:
                    if free[other]:
                        reach[other] -= self._weight[text]
                        waiting.put(other, (-reach[other], self._rank[other]))
        return canonical

    def _cluster_around(self, centre: int, free: Sequence[bool]) -> list[int]:
        cluster = [centre]
        under = self._links.under[centre]
        # Whom people have put together comes along whole, or nobody of them does.
        cluster.extend(mate for mate in self._mates.get(centre, ()) if mate != centre and free[mate])
        for member in sorted((one for one in under if free[one]), key=lambda one: (-under[one], self._rank[one])):
            if member in cluster:
                continue
            party = self._mates.get(member, (member,))
            if all(one in under and free[one] and self._fits(one, cluster) for one in party):
                cluster.extend(party)
        return cluster

    def _fits(self, text: int, cluster: Iterable[int]) -> bool:
        apart = self._apart.get(text, ())
        return not any(one in apart or self._clash(text, one) for one in cluster)

    def _best(self, cluster: Sequence[int]) -> int:
        """The member of lowest rank under which all others may be hidden; the centre is always one."""
        for text in sorted(cluster, key=lambda one: self._rank[one]):
            under = self._links.under[text]
            if all(other == text or other in under for other in cluster):
                return text
        return cluster[0]


class _Order:
    """A priority queue whose entries may change: a changed entry is pushed again and the old one is passed over."""

    def __init__(self, keys: dict[int, tuple[int, int]]) -> None:
        self._keys = dict(keys)
        self._heap = [(key, text) for text, key in keys.items()]
        heapq.heapify(self._heap)

    def put(self, text: int, key: tuple[int, int]) -> None:
        self._keys[text] = key
        heapq.heappush(self._heap, (key, text))

    def pop(self, free: Sequence[bool]) -> int | None:
        while self._heap:
            key, text = heapq.heappop(self._heap)
            if free[text] and self._keys[text] == key:
                return text
        return None
