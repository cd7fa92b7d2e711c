"""Keeping a client's themes up to its days: new days join the topics there are; now and then topics are fitted anew."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from datetime import date
from typing import NamedTuple

import numpy as np
import orjson
from numpy.typing import NDArray
from sqlalchemy import Connection

from crew_pipeline.dedup.embedding import model_id
from crew_pipeline.history.themes import fitting, naming
from crew_pipeline.history.themes.fitting import NONE, Fitted, Topics
from crew_pipeline.history.themes.grid import Grid, centred, mean_of, on_grid
from crew_pipeline.history.themes.naming import Counted
from crew_pipeline.history.themes.patterns import Talk, patterns, together
from crew_pipeline.history.themes.segments import Segment, segments_of, texts
from crew_pipeline.model import BUNDLED_MODEL, ClientDay, EngineOptions
from crew_pipeline.storage.conversations import searched
from crew_pipeline.storage.database import Database
from crew_pipeline.storage.history import theme_reading
from crew_pipeline.storage.history import themes as store
from crew_pipeline.storage.history.themes import Naming, SegmentRow, State, TopicRow

DIMENSION = 384
_GROWN = 1.5
"""Times as many segments as topics were last fitted with: they are fitted again."""
_TRIES = 3
_NEVER = -1
_LINE_WORDS = range(5, 31)
"""Of a line that may stand for a theme."""
_WITH_SURROUNDINGS = (1.0, 0.5)
"""How much the segments one and two before and after say of what a segment is about."""

Rest = Callable[[], object]


class Updated(NamedTuple):
    """What was done, and what there is now.

    Attributes:
        days: whose segments were made anew, or dropped.
        fitted: whether topics were fitted.
        moved: segments that have another theme than before, of those that had one.
    """

    days: int
    fitted: bool
    moved: int
    segments: int
    topics: int
    themes: int


def is_behind(db: Database, client: str) -> bool:
    """Whether there is something to bring up to date."""
    with db.read() as connection:
        model = searched.state_of(connection, client, model_id(BUNDLED_MODEL)).model
        if model is None:
            return False
        days = store.days(connection, client, model)
        state = store.state(connection, client)
        if days.changed or days.gone or _is_to_be_named(state):
            return True
        return _is_due(state, store.count_segments(connection, client))


def _is_due(state: State, segments: int) -> bool:
    """Whether topics are to be fitted."""
    if segments < fitting.LEAST_SEGMENTS:
        return False
    forgotten = state.forgotten_at is not None and state.fitted_at is not None and state.forgotten_at > state.fitted_at
    return forgotten or state.fitted_at is None or segments >= _GROWN * state.fitted_with


def _is_to_be_named(state: State) -> bool:
    """Whether themes were changed since they were named."""
    return state.fitted_at is not None and state.named != state.corrections


def update(
    db: Database, client: str, options: EngineOptions, zone: str, *, anew: bool = False, rest: Rest = lambda: None
) -> Updated | None:
    """Bring the themes of a client up to its days; may be broken off anywhere, and done twice.

    Args:
        zone: the time zone of the client's days.
        anew: fit topics and themes from nothing but what people have put there; ids go on where they can.
        rest: called after each day.

    Returns:
        None where no day has vectors.
    """
    with db.read() as connection:
        model = searched.state_of(connection, client, model_id(BUNDLED_MODEL)).model
        known = store.state(connection, client)
    if model is None:
        return None
    if known.model not in {"", model}:
        # The same model in another arithmetic: what is near stays near, so topics and names go on.
        with db.write() as connection:
            store.lock(connection, client)
            store.take_in_again(connection, client)
            store.set_state(connection, client, model=model)
    done = _take_in_days(db, client, model, options, rest)
    with db.read() as connection:
        count = store.count_segments(connection, client)
        due = count > 0 and (anew or _is_due(store.state(connection, client), count))
    moved = _fit(db, client, model, anew=anew) if due else 0
    with db.read() as connection:
        to_be_named = _is_to_be_named(store.state(connection, client))
    if to_be_named:
        name(db, client, options)
    if done or due or to_be_named:
        find_patterns(db, client, zone)
    with db.read() as connection:
        topics = store.topics(connection, client)
        count = store.count_segments(connection, client)
    return Updated(done, due, moved, count, len(topics), len({topic.theme_id for topic in topics}))


def _take_in_days(db: Database, client: str, model: str, options: EngineOptions, rest: Rest) -> int:
    with db.read() as connection:
        days = store.days(connection, client, model)
    for day in days.gone:
        with db.write() as connection:
            store.replace_day(connection, ClientDay(client, day), None, ())
    for day, version in days.changed.items():
        take_in(db, ClientDay(client, day), version, model, options)
        rest()
    return len(days.changed) + len(days.gone)


def take_in(db: Database, client_day: ClientDay, version: str, model: str, options: EngineOptions) -> None:
    """Put a day's segments in the place of those known; each joins the topic that it is nearest to."""
    client = client_day.client
    with db.read() as connection:
        body = store.document(connection, client_day, version)
        if body is None:
            return
        found = segments_of(orjson.loads(body), options)
        vectors = searched.vectors(connection, client, model, sorted(texts(found)))
    kept, placed = vectors_of(found, vectors)
    with db.write() as connection:
        store.lock(connection, client)
        state = store.state(connection, client)
        # Before the first fit nothing is near enough to anything to say what it is of.
        topics = as_topics(store.topics(connection, client) if state.fitted_at is not None else ())
        mean = mean_in(state)
        if store.document(connection, client_day, version) is not None:
            store.replace_day(connection, client_day, version, _rows(kept, placed, topics, mean))


def vectors_of(segments: Iterable[Segment], vectors: dict[bytes, searched.Vector]) -> tuple[list[Segment], Grid]:
    """The segments that have a vector, and these: int8 (n, dimension).

    A segment's is the mean of those of its texts, by the logarithm of their words, with something of the segments
    beside it: people keep to a subject for longer than a few sentences.
    """
    kept: list[Segment] = []
    means: list[NDArray[np.float64]] = []
    for segment in segments:
        known = [(said.words, vectors[said.text_hash]) for said in segment.said if said.text_hash in vectors]
        if known:
            kept.append(segment)
            heavy = [math.log1p(words) * vector.astype(np.float64) for words, vector in known]
            means.append(np.add.accumulate(heavy)[-1])
    if not kept:
        return [], np.zeros((0, DIMENSION), np.int8)
    own = on_grid(np.stack(means)).astype(np.float64)
    around = own.copy()
    conversations = np.array([segment.conversation_id for segment in kept])
    for steps, share in enumerate(_WITH_SURROUNDINGS, 1):
        same = conversations[steps:] == conversations[:-steps]
        around[steps:][same] += share * own[:-steps][same]
        around[:-steps][same] += share * own[steps:][same]
    return kept, on_grid(around)


def as_topics(rows: Iterable[TopicRow]) -> Topics:
    """Topics as they are fitted and assigned."""
    rows = list(rows)
    if not rows:
        return fitting.no_topics(DIMENSION)
    return Topics(
        np.array([row.id for row in rows], np.int64),
        np.array([row.theme_id for row in rows], np.int64),
        np.stack([row.centre for row in rows]),
        np.array([row.is_pinned for row in rows], np.bool_),
        np.array([row.lead for row in rows], np.float32),
    )


def mean_in(state: State) -> Grid:
    """What all of a client's segments have in common, as far as it is known: int8 (dimension,)."""
    return np.zeros(DIMENSION, np.int8) if state.mean is None else np.frombuffer(state.mean, np.int8)


def _rows(segments: list[Segment], vectors: Grid, topics: Topics, mean: Grid) -> list[SegmentRow]:
    of: list[int | None] = [None] * len(segments)
    near: list[float | None] = [None] * len(segments)
    if len(topics.ids) and segments:
        ids, cosines = fitting.assign(centred(vectors, mean), topics)
        of, near = ids.tolist(), cosines.astype(np.float64).tolist()
    return [
        SegmentRow(
            segment.conversation_id,
            segment.first,
            segment.last,
            segment.started_at,
            sum(said.words * said.times for said in segment.said),
            *rest,
        )
        for segment, *rest in zip(segments, vectors, of, near, strict=True)
    ]


def _fit(db: Database, client: str, model: str, *, anew: bool) -> int:
    """Fit topics and themes; returns how many segments have another theme than before."""
    for _ in range(_TRIES):
        with db.read() as connection:
            state = store.state(connection, client)
            known = as_topics(store.topics(connection, client))
            loaded = store.segments(connection, client)
        # What people have put somewhere stays there, so what it is measured from stays, too.
        is_first = state.fitted_at is None
        mean = mean_in(state) if known.pinned.any() and not is_first else mean_of(loaded.vectors)
        if is_first:
            known = known._replace(centres=centred(known.centres, mean))
        vectors = centred(loaded.vectors, mean)
        fitted = fitting.fit(vectors, loaded.weights, loaded.topics, known, state.next_id, anew=anew)
        with db.write() as connection:
            store.lock(connection, client)
            # What somebody has corrected meanwhile is honoured, and what was fitted: it is fitted again.
            if store.state(connection, client) == state:
                _write(connection, client, state._replace(model=model, mean=mean.tobytes()), fitted, loaded)
                break
    return _moved(loaded.topics, known, fitted)


def _write(connection: Connection, client: str, state: State, fitted: Fitted, loaded: store.Loaded) -> None:
    topics = fitted.topics
    rows = [
        TopicRow(int(topic), int(theme), bool(pinned), centre, float(lead))
        for topic, theme, centre, pinned, lead in zip(*topics, strict=True)
    ]
    highest = max((max(row.id, row.theme_id) for row in rows), default=0)
    store.put_topics(connection, client, rows)
    store.assign(connection, client, loaded.keys, fitted.of, fitted.near)
    # Days that were taken in during the fit.
    later = store.segments(connection, client, of_no_topic=True)
    if later.keys:
        vectors = centred(later.vectors, mean_in(state))
        store.assign(connection, client, later.keys, *fitting.assign(vectors, topics))
    store.set_state(
        connection,
        client,
        model=state.model,
        mean=state.mean,
        next_id=max(state.next_id, highest + 1),
        fitted_with=len(loaded.keys),
        named=_NEVER,
        fitted_at=store.now(connection),
    )


def _moved(before: NDArray[np.int64], known: Topics, fitted: Fitted) -> int:
    was = dict(zip(known.ids.tolist(), known.themes.tolist(), strict=True))
    now = dict(zip(fitted.topics.ids.tolist(), fitted.topics.themes.tolist(), strict=True))
    return sum(
        topic != NONE and was.get(topic) != now[other]
        for topic, other in zip(before.tolist(), fitted.of.tolist(), strict=True)
    )


def find_patterns(db: Database, client: str, zone: str) -> None:
    """Note when themes are spoken of, and which together."""
    with db.read() as connection:
        talks = {
            conversation: Talk(day, hour) for conversation, day, hour in theme_reading.talks(connection, client, zone)
        }
        about = theme_reading.about(connection, client)
    found = {
        "patterns": [pattern._asdict() | {"said": pattern.said} for pattern in patterns(talks, about)],
        "together": [pair._asdict() for pair in together(talks, about)],
    }
    with db.write() as connection:
        store.lock(connection, client)
        store.set_state(connection, client, patterns=orjson.dumps(found).decode())


def name(db: Database, client: str, options: EngineOptions) -> None:
    """Name topics and themes by what is said in their segments, and find the line that stands for each."""
    with db.read() as connection:
        state = store.state(connection, client)
        topics = store.topics(connection, client)
        days = store.known_days(connection, client)
        best = store.nearest_segments(connection, client)
    theme_of = {topic.id: topic.theme_id for topic in topics}
    counted: dict[int, Counted] = defaultdict(Counted)
    lines: dict[int, tuple[str, int]] = {}
    for day, version in days:
        for topic, segment in _with_topics(db, client, day, version, options):
            counted[topic].add(term for said in segment.said for term in naming.terms_of(said.text))
            if best.get(theme_of[topic]) == (segment.conversation_id, segment.first):
                lines[theme_of[topic]] = segment.conversation_id, _standing_for(segment)
    of_theme: dict[int, list[Counted]] = defaultdict(list)
    for topic, group in counted.items():
        of_theme[theme_of[topic]].append(group)
    words = naming.names({theme: naming.joined(groups) for theme, groups in of_theme.items()})
    themes = {theme: Naming(words[theme], lines.get(theme)) for theme in words}
    with db.write() as connection:
        store.lock(connection, client)
        # What was erased meanwhile must not come back as a name; whatever was changed, it is named again.
        if store.state(connection, client) == state:
            store.name_themes(connection, client, themes, naming.names(counted))
            store.set_state(connection, client, named=state.corrections)


def _with_topics(
    db: Database, client: str, day: date, version: str, options: EngineOptions
) -> Iterator[tuple[int, Segment]]:
    with db.read() as connection:
        body = store.document(connection, ClientDay(client, day), version)
        known = store.topics_of_day(connection, ClientDay(client, day))
    if body is not None:
        for segment in segments_of(orjson.loads(body), options):
            topic = known.get((segment.conversation_id, segment.first))
            if topic is not None and segment.said:
                yield topic, segment


def _standing_for(segment: Segment) -> int:
    """The line of a segment that is neither too short nor too long to be read beside a name: its longest such."""
    good = [said for said in segment.said if said.words in _LINE_WORDS] or segment.said
    return max(good, key=lambda said: (said.words, -said.position)).position
