"""Fitting a client's themes: from the segments of all days and what was known before, topics with lasting ids."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from crew_pipeline.history.themes.clustering import FIRMLY, LOOSELY, groups_of, k_means
from crew_pipeline.history.themes.grid import NORM, Grid, nearest, slices
from crew_pipeline.history.themes.identity import matched

LEAST_SEGMENTS = 30
"""Of fewer nothing can be said."""
_FEWEST_TOPICS, _MOST_TOPICS = 8, 600
_TOPICS_BY_ROOT = 1.5
MOST_THEMES = 60
APART = 0.7
"""How far (1 - cosine) themes are from each other, on average: chosen on meetings."""
NONE = -1
_STAYS_WITHIN = np.float32(0.03)
"""How much nearer another topic must be (cosine) for a segment to leave its own when topics are fitted again."""


class Topics(NamedTuple):
    """Topics as they are known, each of a theme.

    Attributes:
        ids, themes: int64 (k,).
        centres: int8 (k, dimension).
        pinned: which a person has put there, so that they stay, and what is in them: bool (k,).
        leads: see ``nearest``; float32 (k,).
    """

    ids: NDArray[np.int64]
    themes: NDArray[np.int64]
    centres: Grid
    pinned: NDArray[np.bool_]
    leads: NDArray[np.float32]

    def only(self, chosen: NDArray[np.bool_]) -> Topics:
        """Some of them."""
        return Topics(
            self.ids[chosen], self.themes[chosen], self.centres[chosen], self.pinned[chosen], self.leads[chosen]
        )

    def joined(self, other: Topics) -> Topics:
        """These, then others."""
        return Topics(
            np.concatenate((self.ids, other.ids)),
            np.concatenate((self.themes, other.themes)),
            np.concatenate((self.centres, other.centres)),
            np.concatenate((self.pinned, other.pinned)),
            np.concatenate((self.leads, other.leads)),
        )


class Fitted(NamedTuple):
    """Topics that were fitted, and the topic of each segment.

    Attributes:
        of: ids of topics, int64 (n,).
        near: cosines of each segment with the centre of its topic, float32 (n,).
    """

    topics: Topics
    of: NDArray[np.int64]
    near: NDArray[np.float32]


def free_topics(ids: NDArray[np.int64], themes: NDArray[np.int64], centres: Grid) -> Topics:
    """Topics that nobody has put there."""
    return Topics(ids, themes, centres, np.zeros(len(ids), np.bool_), np.zeros(len(ids), np.float32))


def no_topics(dimension: int) -> Topics:
    """None are known."""
    nothing = np.zeros(0, np.int64)
    return free_topics(nothing, nothing, np.zeros((0, dimension), np.int8))


def assign(vectors: Grid, topics: Topics) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """The topic (its id) that each segment is nearest to, and how near."""
    numbers, near = nearest(vectors, topics.centres, topics.leads)
    return topics.ids[numbers], near


def fit(
    vectors: Grid, weights: NDArray[np.int64], before: NDArray[np.int64], known: Topics, next_id: int, *, anew: bool
) -> Fitted:
    """Fit topics and themes to all segments. What is in a topic that a person has put there stays in it.

    Args:
        vectors: centred, int8 (n, dimension), in an order that says nothing of their content.
        weights: int64 (n,).
        before: the topic of each segment until now, or ``NONE``.
        known: topics until now, which are what k-means begins with.
        next_id: the first id that was never given; topics and themes share them.
        anew: begin with nothing but what people have put there.
    """
    pinned, free = known.only(known.pinned), known.only(~known.pinned)
    of, near = before.copy(), np.zeros(len(before), np.float32)
    held = np.isin(before, pinned.ids)
    if held.any():
        # Centres with which they are compared are their own only.
        place = {topic: number for number, topic in enumerate(pinned.ids.tolist())}
        own = pinned.centres[[place[topic] for topic in before[held].tolist()]]
        near[held] = (vectors[held].astype(np.float32) * own).sum(axis=1) / np.float32(NORM**2)
    left = ~held
    if not left.any():
        return Fitted(pinned, of, near)
    start = free.centres[:0] if anew else free.centres
    centres = k_means(vectors[left], weights[left], start, topics_for(int(left.sum())))
    numbers, _near = nearest(vectors[left], centres)
    hold = LOOSELY if anew else FIRMLY
    fitted = _with_ids(centres, numbers, free, before[left], weights[left], next_id, hold)
    topics = pinned.joined(fitted)
    of[left], near[left] = _assigned(vectors[left], topics, before[left])
    return Fitted(topics, of, near)


def _assigned(
    vectors: Grid, topics: Topics, before: NDArray[np.int64]
) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """As ``assign``; but a segment stays where it was if another topic is hardly nearer."""
    numbers, near = nearest(vectors, topics.centres, topics.leads)
    order = np.argsort(topics.ids, kind="stable")
    own = order[np.minimum(np.searchsorted(topics.ids[order], before), len(order) - 1)]
    to_own = np.empty(len(vectors), np.float32)
    for rows in slices(len(vectors)):
        products = (vectors[rows].astype(np.int32) * topics.centres[own[rows]]).sum(axis=1)
        to_own[rows] = products.astype(np.float32) / np.float32(NORM**2)
    gain = near + topics.leads[numbers] - to_own - topics.leads[own]
    stays = (topics.ids[own] == before) & (gain <= _STAYS_WITHIN)
    return topics.ids[np.where(stays, own, numbers)], np.where(stays, to_own, near)


def _with_ids(
    centres: Grid,
    numbers: NDArray[np.int64],
    known: Topics,
    before: NDArray[np.int64],
    weights: NDArray[np.int64],
    next_id: int,
    hold: tuple[float, float],
) -> Topics:
    """Centres as topics of themes: each under the id that it goes on from, else a new one.

    Args:
        numbers: the centre of each segment.
        hold: how much topics hold to the themes that they were of.
    """
    ids, next_id = _named(len(centres), matched(before, numbers, weights), next_id)
    theme_of = dict(zip(known.ids.tolist(), known.themes.tolist(), strict=True))
    was = np.array([theme_of.get(topic, NONE) for topic in ids.tolist()], np.int64)
    groups = groups_of(centres, MOST_THEMES, was, APART, hold)
    themes_before = np.array([theme_of.get(topic, NONE) for topic in before.tolist()], np.int64)
    same = matched(themes_before, groups[numbers], weights)
    themes, _next_id = _named(int(groups.max()) + 1, same, next_id)
    return free_topics(ids, themes[groups], centres)


def topics_for(segments: int) -> int:
    """How many topics so many segments are divided into."""
    return min(_MOST_TOPICS, max(_FEWEST_TOPICS, round(_TOPICS_BY_ROOT * math.sqrt(segments))))


def _named(count: int, same: dict[int, int], next_id: int) -> tuple[NDArray[np.int64], int]:
    """An id for each: the one that it goes on from, else a new one; and the next that was never given."""
    ids = np.zeros(count, np.int64)
    for number in range(count):
        ids[number] = same.get(number, next_id)
        next_id += number not in same
    return ids, next_id
