"""What people make of themes: it is kept for ever, and every fit honours it.

Topics that a person has put somewhere are pinned: their centres stay where they are, and of their theme. So a theme
that was made, filled or divided by hand finds what is like it in new days as well.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import Connection

from crew_pipeline.history.themes import fitting
from crew_pipeline.history.themes.clustering import groups_of, k_means
from crew_pipeline.history.themes.fitting import Topics
from crew_pipeline.history.themes.grid import NORM, Grid, centred, on_grid, similarities
from crew_pipeline.history.themes.update import as_topics, mean_in
from crew_pipeline.storage.database import Database
from crew_pipeline.storage.history import themes as store
from crew_pipeline.storage.history.themes import TopicRow

_LIKE_EXAMPLES = 0.3
"""Cosine with the mean of the examples from which a segment says, too, what a seed is about."""
_MOST_LIKE = 50
_LEAD = 0.1875
"""How much nearer a seed counts than it is: a few examples lie less in the middle of a theme than what was found."""
_MOST_FORBIDDEN = 1_000
_MOST_TOPICS = 2_000


class NoThemeError(LookupError):
    """There is no such theme, topic or line; the message says which."""


class NotPossibleError(ValueError):
    """The correction says nothing that can be done; the message says why."""


def rename(db: Database, client: str, theme: int, name: str | None) -> None:
    """Give a theme a name, or with None that of its own words again.

    Raises:
        NoThemeError: there is no such theme.
    """
    with db.write() as connection:
        _begin(connection, client, theme, moves=False)
        store.set_name(connection, client, theme, name)
        if name is not None:
            # What bears a name is not to be gone one day.
            own = [topic.id for topic in store.topics(connection, client) if topic.theme_id == theme]
            store.pin(connection, client, own, theme)


def merge(db: Database, client: str, theme: int, into: int) -> None:
    """Put all of a theme into another; both stay together from now on.

    Raises:
        NoThemeError: there is no such theme.
        NotPossibleError: it is the same one.
    """
    if theme == into:
        raise NotPossibleError("A theme cannot be put into itself; name another.")
    with db.write() as connection:
        _begin(connection, client, theme, into)
        moved = [topic.id for topic in store.topics(connection, client) if topic.theme_id in {theme, into}]
        store.pin(connection, client, moved, into)
        store.set_merged(connection, client, theme, into)


def split(db: Database, client: str, theme: int, topics: Collection[int] = ()) -> int:
    """Make a theme of its own of some topics of a theme; returns its id.

    Args:
        topics: which; none: it is divided where it comes apart best.

    Raises:
        NoThemeError: there is no such theme, or a topic is none of it.
        NotPossibleError: nothing would be left of it, or there is too little to divide.
    """
    with db.write() as connection:
        state = _begin(connection, client, theme)
        own = [topic for topic in store.topics(connection, client) if topic.theme_id == theme]
        if strange := {*topics} - {topic.id for topic in own}:
            raise NoThemeError(f"Topic {min(strange)} is none of theme {theme}.")
        if not own:
            raise NoThemeError(f"There is no theme {theme}; GET /api/themes lists them.")
        if len(own) == 1 and not topics:
            own, state = _in_two(connection, client, own[0], state)
        away = {*topics} or _part_of(own)
        if len(away) == len(own):
            raise NotPossibleError("Nothing would be left of the theme; rename it instead.")
        made = state.next_id
        store.set_state(connection, client, next_id=made + 1)
        store.pin(connection, client, [topic.id for topic in own if topic.id not in away], theme)
        store.add_theme(connection, client, made, "made")
        store.pin(connection, client, sorted(away), made)
        return made


def _part_of(topics: Sequence[TopicRow]) -> set[int]:
    centres = np.stack([topic.centre for topic in topics])
    groups = groups_of(centres, 2, np.full(len(topics), fitting.NONE))
    smaller = int(np.bincount(groups).argmin())
    return {topic.id for topic, group in zip(topics, groups, strict=True) if group == smaller}


def _in_two(
    connection: Connection, client: str, topic: TopicRow, state: store.State
) -> tuple[list[TopicRow], store.State]:
    """Divide the only topic of a theme: its own id goes on with the larger part."""
    loaded = store.segments(connection, client)
    chosen = loaded.topics == topic.id
    vectors, weights = centred(loaded.vectors[chosen], mean_in(state)), loaded.weights[chosen]
    if len(vectors) < 2:
        raise NotPossibleError("There is too little in the theme to divide it.")
    centres = k_means(vectors, weights, vectors[:0], 2)
    if len(centres) < 2:
        raise NotPossibleError("All of the theme says the same; it cannot be divided.")
    of = similarities(vectors, centres).argmax(axis=1)
    larger, smaller = np.argsort(-np.bincount(of, weights, 2), kind="stable")
    kept = topic._replace(centre=centres[larger])
    new = topic._replace(id=state.next_id, centre=centres[smaller])
    store.set_centre(connection, client, kept)
    store.add_topics(connection, client, [new])
    store.set_state(connection, client, next_id=new.id + 1)
    _join_again(connection, client, state)
    return [kept, new], state._replace(next_id=new.id + 1)


def move(db: Database, client: str, conversation_id: str, position: int, theme: int) -> None:
    """Put the segment that a line is in into a theme; what is like it goes with it.

    Raises:
        NoThemeError: there is no such theme, or the line is in no segment.
    """
    with db.write() as connection:
        state = _begin(connection, client, theme)
        vector = store.vector_at(connection, client, conversation_id, position)
        if vector is None:
            raise NoThemeError("The line is in no theme: it says too little, or its day is not ready yet.")
        centre = centred(vector[np.newaxis], mean_in(state))
        rows = store.topics(connection, client)
        same = [row for row in rows if row.is_pinned and row.moved_from and np.array_equal(row.centre, centre[0])]
        lead = _lead_over(centre, as_topics(row for row in rows if row.id not in {one.id for one in same}))
        if same:
            store.pin(connection, client, [row.id for row in same], theme)
            for row in same:
                store.set_centre(connection, client, row._replace(lead=lead))
        elif len(rows) >= _MOST_TOPICS:
            raise NotPossibleError(f"There are {_MOST_TOPICS} topics already; put themes into each other instead.")
        else:
            moved = TopicRow(state.next_id, theme, True, centre[0], lead, conversation_id)
            store.add_topics(connection, client, [moved])
            store.set_state(connection, client, next_id=state.next_id + 1)
        _join_again(connection, client, state)


def _lead_over(centre: Grid, others: Topics) -> float:
    """How much nearer a segment must count to itself, not to be of another topic that counts nearer than it is."""
    if not len(others.ids):
        return 0.0
    own = similarities(centre, centre)[0, 0]
    best = (similarities(centre, others.centres) + others.leads).max()
    return float(max(0.0, best - own + np.float32(1 / NORM**2)))


def seed(db: Database, client: str, name: str, examples: NDArray[np.float32]) -> int:
    """Make a theme from examples of what is said of it, which finds its segments at once; returns its id.

    Args:
        examples: their vectors, float32 (n, dimension).
    """
    with db.write() as connection:
        state = _begin(connection, client)
        loaded = store.segments(connection, client)
        topic, theme = state.next_id, state.next_id + 1
        mean = mean_in(state)
        centre = _about(centred(on_grid(examples), mean), centred(loaded.vectors, mean))
        store.add_topics(connection, client, [TopicRow(topic, theme, True, centre, _LEAD)], kind="seed")
        store.set_name(connection, client, theme, name)
        store.set_state(connection, client, next_id=theme + 1)
        _join_again(connection, client, state)
        return theme


def _about(examples: Grid, segments: Grid) -> Grid:
    """What examples, and segments that are like them, are about: a segment's own words are many, an example's few."""
    mean = _mean(examples)
    centre = mean
    if len(segments):
        near = similarities(segments, mean)[:, 0]
        order = np.argsort(-near, kind="stable")[:_MOST_LIKE]
        like = segments[order[near[order] >= _LIKE_EXAMPLES]]
        # A segment says more of it than an example.
        centre = _mean(np.concatenate([mean, _mean(like), _mean(like)])) if len(like) else mean
    found: Grid = centre[0]
    return found


def _mean(vectors: Grid) -> Grid:
    return on_grid(vectors.astype(np.int64).sum(axis=0, keepdims=True))


def drop(db: Database, client: str, theme: int) -> None:
    """Take back a theme that a person has made; what is in it goes where it is nearest to.

    Raises:
        NoThemeError: there is no such theme.
        NotPossibleError: it was found, not made.
    """
    with db.write() as connection:
        state = _begin(connection, client, theme)
        if store.kind_of(connection, client, theme) == "found":
            raise NotPossibleError("The theme was found in what was said; put it into another instead (merge).")
        if store.holds_found(connection, client, theme):
            raise NotPossibleError(
                "Another theme was put into this one, which would be lost with it; rename it instead."
            )
        store.drop_theme(connection, client, theme)
        _join_again(connection, client, state)


def forbid(db: Database, client: str, word: str) -> None:
    """Let no theme be named by a word.

    Raises:
        NotPossibleError: there are too many already.
    """
    with db.write() as connection:
        state = _begin(connection, client, moves=False)
        words = {*state.forbidden, word}
        if len(words) > _MOST_FORBIDDEN:
            raise NotPossibleError(f"{_MOST_FORBIDDEN} words are forbidden already; allow one again first.")
        store.set_state(connection, client, forbidden=sorted(words))


def allow(db: Database, client: str, word: str) -> None:
    """Let themes be named by a word again."""
    with db.write() as connection:
        state = _begin(connection, client, moves=False)
        store.set_state(connection, client, forbidden=sorted({*state.forbidden} - {word}))


def _begin(connection: Connection, client: str, *themes: int, moves: bool = True) -> store.State:
    """Hold the client's themes, count one correction, and look that the themes are there.

    Args:
        moves: whether segments have another theme by it, so that themes are to be named by other words.
    """
    store.lock(connection, client)
    state = store.state(connection, client)
    corrections = state.corrections + 1
    still_named = not moves and state.named == state.corrections
    store.set_state(connection, client, corrections=corrections, named=corrections if still_named else state.named)
    for theme in themes:
        if store.kind_of(connection, client, theme) is None:
            raise NoThemeError(f"There is no theme {theme}; GET /api/themes lists them.")
    return state


def _join_again(connection: Connection, client: str, state: store.State) -> None:
    """Let each segment join the topic that it is nearest to now."""
    topics = as_topics(store.topics(connection, client))
    loaded = store.segments(connection, client)
    if state.fitted_at is not None and loaded.keys and len(topics.ids):
        store.assign(connection, client, loaded.keys, *fitting.assign(centred(loaded.vectors, mean_in(state)), topics))
