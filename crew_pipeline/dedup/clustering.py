"""Star clusters: every member is linked to the canonical text itself, never through another member."""

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
        groups: disjoint sets of two or more texts that must share a cluster. The links among their members are in
            ``under`` as well.
    """

    under: Sequence[Mapping[int, float]]
    apart: frozenset[frozenset[int]] = frozenset()
    groups: Sequence[Sequence[int]] = field(default=())


def stars(
    links: Links, weight: Sequence[int], rank: Sequence[int], clash: Callable[[int, int], bool] | None = None
) -> list[int]:
    """Group texts around canonical ones.

    The text that can stand for the most lines becomes the first centre: its own lines and those of the texts that may
    be hidden under it are counted, and lower ``rank`` decides between equals. It takes its free neighbours, the surest
    first, except those that must be apart from it or from one already taken. Among the texts that are left the next
    centre is chosen in the same way, so a text that is taken is never a centre. Of a cluster's members under which all
    others may be hidden, the one of lowest rank is the canonical text. The order of the links does not matter.

    Args:
        weight: lines that carry each text.
        rank: a total order among texts: the better canonical text first.
        clash: whether two texts contradict each other; members of one cluster never do.

    Returns:
        The canonical text of each text; itself where it stands for itself.
    """
    return _Grouping(links, weight, rank, clash or (lambda left, right: False)).run()


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
            left, right = sorted(pair)
            self._apart.setdefault(left, set()).add(right)
            self._apart.setdefault(right, set()).add(left)
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
            self._weight[text] + sum(self._weight[member] for member in self._links.under[text])
            for text in range(count)
        ]
        waiting = _Order({text: (-reach[text], self._rank[text]) for text in range(count) if self._links.under[text]})
        while (centre := waiting.pop(free)) is not None:
            cluster = self._cluster_around(centre, free)
            best = self._best(cluster)
            for text in cluster:
                canonical[text] = best
                free[text] = False
            for text in cluster:
                for above in self._over[text]:
                    if free[above]:
                        reach[above] -= self._weight[text]
                        waiting.put(above, (-reach[above], self._rank[above]))
        return canonical

    def _cluster_around(self, centre: int, free: Sequence[bool]) -> list[int]:
        cluster = [centre]
        under = self._links.under[centre]
        # Texts that people have put together join a cluster all together or not at all.
        cluster.extend(mate for mate in self._mates.get(centre, ()) if mate != centre and free[mate])
        for member in sorted((text for text in under if free[text]), key=lambda text: (-under[text], self._rank[text])):
            if member in cluster:
                continue
            party = self._mates.get(member, (member,))
            if all(mate in under and free[mate] and self._fits(mate, cluster) for mate in party):
                cluster.extend(party)
        return cluster

    def _fits(self, text: int, cluster: Iterable[int]) -> bool:
        apart = self._apart.get(text, ())
        return not any(member in apart or self._clash(text, member) for member in cluster)

    def _best(self, cluster: Sequence[int]) -> int:
        """The member of lowest rank under which all others may be hidden, as they always may under the centre."""
        for text in sorted(cluster, key=lambda member: self._rank[member]):
            under = self._links.under[text]
            if all(member == text or member in under for member in cluster):
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
