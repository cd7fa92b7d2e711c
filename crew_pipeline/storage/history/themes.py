"""A client's themes: its topics, the segments of its days, and what people have corrected.

Whoever changes topics or themes holds the client's lock until the transaction ends.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import date, datetime
from typing import Any, NamedTuple

import numpy as np
import orjson
from numpy.typing import NDArray
from sqlalchemy import Connection, text

from crew_pipeline.model import ClientDay

Grid = NDArray[np.int8]


class State(NamedTuple):
    """How far a client's themes are.

    Attributes:
        model: whose vectors they were made from; '' where there are none.
        next_id: the first id that was never given.
        named: as many corrections there were when themes were named last; -1 where they are not.
        mean: of all segments when topics were fitted first, int8 (dimension,).
        fitted_with: segments when topics were fitted last.
        corrections: how many times a person has changed something.
        forbidden: words that are in no name.
        forgotten_at, fitted_at: when something was last erased on request, and when topics were fitted last.
    """

    model: str = ""
    next_id: int = 1
    fitted_with: int = 0
    corrections: int = 0
    forbidden: tuple[str, ...] = ()
    fitted_at: datetime | None = None
    forgotten_at: datetime | None = None
    mean: bytes | None = None
    named: int = -1


class TopicRow(NamedTuple):
    """A topic as it is kept; ``centre`` int8 (dimension,); ``lead``: how much nearer it counts than it is;
    ``moved_from``: the conversation of the line that a person has put there."""

    id: int
    theme_id: int
    is_pinned: bool
    centre: Grid
    lead: float = 0.0
    moved_from: str | None = None


class SegmentRow(NamedTuple):
    """A segment as it is kept.

    Attributes:
        weight: words, counted as often as they were said.
        vector: int8 (dimension,).
        near: cosine with the centre of its topic.
    """

    conversation_id: str
    first_position: int
    last_position: int
    started_at: datetime
    weight: int
    vector: Grid
    topic_id: int | None
    near: float | None


class Loaded(NamedTuple):
    """All segments of a client, in an order that says nothing of their content.

    Attributes:
        keys: conversation and first position.
        vectors: int8 (n, dimension).
        weights, topics: int64 (n,); -1 where there is no topic.
    """

    keys: list[tuple[str, int]]
    vectors: Grid
    weights: NDArray[np.int64]
    topics: NDArray[np.int64]


class Days(NamedTuple):
    """Days whose segments are to be made, by the version of their document, and those that hold nothing any more."""

    changed: dict[date, str]
    gone: list[date]


def lock(connection: Connection, client: str) -> None:
    """Keep everybody else from changing a client's themes until the transaction ends."""
    connection.execute(
        text("SELECT pg_advisory_xact_lock(hashtextextended('themes ' || :client, 0))"), {"client": client}
    )


def state(connection: Connection, client: str) -> State:
    """How far the themes of a client are."""
    row = connection.execute(
        text(
            "SELECT model, next_id, fitted_with, corrections, forbidden, fitted_at, forgotten_at, mean, named "
            "FROM (SELECT CAST(:client AS text) AS client) AS asked LEFT JOIN theme_states USING (client) "
            "LEFT JOIN clients USING (client)"
        ),
        {"client": client},
    ).one_or_none()
    if row is None or row.model is None:
        return State(forgotten_at=row.forgotten_at if row else None)
    return State(
        row.model,
        row.next_id,
        row.fitted_with,
        row.corrections,
        tuple(row.forbidden),
        row.fitted_at,
        row.forgotten_at,
        row.mean,
        row.named,
    )


def set_state(connection: Connection, client: str, **values: object) -> None:
    """Change some of a client's state; what is not named stays."""
    assert {*values} <= {*State._fields, "patterns"}
    connection.execute(
        text(
            f"INSERT INTO theme_states (client, {', '.join(values)}) "  # noqa: S608 - names of columns
            f"VALUES (:client, {', '.join(f':{name}' for name in values)}) "
            f"ON CONFLICT (client) DO UPDATE SET {', '.join(f'{name} = excluded.{name}' for name in values)}"
        ),
        {"client": client, **values},
    )


def days(connection: Connection, client: str, model: str) -> Days:
    """Which days' segments are not those of their document; only days that have vectors of ``model``."""
    values = {"client": client, "model": model}
    changed = connection.execute(
        text(
            "SELECT day, document.version FROM day_documents AS document LEFT JOIN theme_days AS known "
            "USING (client, day) WHERE client = :client AND is_current AND embedded_by = :model "
            "AND known.version IS DISTINCT FROM document.version ORDER BY day"
        ),
        values,
    ).all()
    gone = connection.scalars(
        text(
            "SELECT day FROM theme_days AS known WHERE client = :client AND NOT EXISTS (SELECT FROM day_documents AS "
            "document WHERE document.client = known.client AND document.day = known.day AND is_current) ORDER BY day"
        ),
        values,
    ).all()
    return Days({row.day: row.version for row in changed}, list(gone))


def document(connection: Connection, client_day: ClientDay, version: str) -> bytes | None:
    """A document in force; None where another has taken its place."""
    body: bytes | None = connection.scalar(
        text(
            "SELECT body FROM day_documents WHERE client = :client AND day = :day AND version = :version AND is_current"
        ),
        {**client_day._asdict(), "version": version},
    )
    return body


def known_days(connection: Connection, client: str) -> list[tuple[date, str]]:
    """The days whose segments are known, with the version of the document that they are from."""
    rows = connection.execute(
        text("SELECT day, version FROM theme_days WHERE client = :client ORDER BY day"), {"client": client}
    )
    return [(row.day, row.version) for row in rows]


def replace_day(
    connection: Connection, client_day: ClientDay, version: str | None, segments: Sequence[SegmentRow]
) -> None:
    """Put a day's segments in the place of those that are there.

    Args:
        version: of the document they are from; None where there is none any more.
    """
    values = client_day._asdict()
    connection.execute(text("DELETE FROM theme_segments WHERE client = :client AND day = :day"), values)
    connection.execute(text("DELETE FROM theme_days WHERE client = :client AND day = :day"), values)
    if version is None:
        return
    connection.execute(
        text("INSERT INTO theme_days (client, day, version) VALUES (:client, :day, :version)"),
        {**values, "version": version},
    )
    if segments:
        connection.execute(
            text(
                # A conversation that has come from another day takes the place of what stands there still.
                "INSERT INTO theme_segments SELECT :client, conversation_id, first_position, last_position, :day, "
                "started_at, weight, vector, topic_id, near FROM unnest(CAST(:conversation_id AS text[]), "
                "CAST(:first_position AS bigint[]), CAST(:last_position AS bigint[]), "
                "CAST(:started_at AS timestamptz[]), "
                "CAST(:weight AS integer[]), CAST(:vector AS bytea[]), CAST(:topic_id AS bigint[]), "
                "CAST(:near AS double precision[])) AS said (conversation_id, first_position, last_position, "
                "started_at, weight, vector, topic_id, near) "
                "ON CONFLICT (client, conversation_id, first_position) DO UPDATE SET "
                "last_position = excluded.last_position, day = excluded.day, started_at = excluded.started_at, "
                "weight = excluded.weight, vector = excluded.vector, topic_id = excluded.topic_id, near = excluded.near"
            ),
            {**values, **_columns(segments)},
        )


def _columns(segments: Sequence[SegmentRow]) -> dict[str, list[Any]]:
    columns = dict(zip(SegmentRow._fields, map(list, zip(*segments, strict=True)), strict=True))
    return columns | {"vector": [segment.vector.tobytes() for segment in segments]}


_OF_NO_TOPIC = """
AND NOT EXISTS (SELECT FROM topics WHERE topics.client = theme_segments.client AND topics.id = topic_id)
"""


def segments(connection: Connection, client: str, *, of_no_topic: bool = False) -> Loaded:
    """All segments, or those of no topic that there is, in the order of a hash of their place."""
    rows = connection.execute(
        text(
            "SELECT conversation_id, first_position, weight, coalesce(topic_id, -1), vector FROM theme_segments "  # noqa: S608
            f"WHERE client = :client {_OF_NO_TOPIC if of_no_topic else ''} "
            "ORDER BY hashtextextended(conversation_id || '-' || first_position, 0), conversation_id, first_position"
        ),
        {"client": client},
    ).all()
    return Loaded(
        [(row[0], row[1]) for row in rows],
        _stacked([row[4] for row in rows]),
        np.array([row[2] for row in rows], np.int64),
        np.array([row[3] for row in rows], np.int64),
    )


def count_segments(connection: Connection, client: str) -> int:
    """How many there are."""
    return int(
        connection.execute(
            text("SELECT count(*) FROM theme_segments WHERE client = :client"), {"client": client}
        ).scalar_one()
    )


def topics(connection: Connection, client: str) -> list[TopicRow]:
    """The topics of a client; first those that a person has put there, which come first where others are as near."""
    rows = connection.execute(
        text(
            "SELECT id, theme_id, is_pinned, centre, lead, moved_from FROM topics WHERE client = :client "
            "ORDER BY is_pinned DESC, id"
        ),
        {"client": client},
    )
    return [
        TopicRow(row[0], row[1], row[2], np.frombuffer(row.centre, np.int8), row.lead, row.moved_from) for row in rows
    ]


def _stacked(vectors: Sequence[bytes]) -> Grid:
    if not vectors:
        return np.zeros((0, 0), np.int8)
    return np.frombuffer(b"".join(vectors), np.int8).reshape(len(vectors), -1)


def put_topics(connection: Connection, client: str, rows: Sequence[TopicRow]) -> None:
    """Put topics in the place of those that nobody has pinned; a theme of which none was known begins."""
    connection.execute(text("DELETE FROM topics WHERE client = :client AND NOT is_pinned"), {"client": client})
    add_topics(connection, client, [row for row in rows if not row.is_pinned])
    for row in rows:
        if row.is_pinned:
            set_centre(connection, client, row)


def add_topics(connection: Connection, client: str, rows: Sequence[TopicRow], kind: str = "found") -> None:
    """Add topics, and the themes that there are none of yet."""
    connection.execute(
        text(
            "INSERT INTO topics (client, id, theme_id, is_pinned, centre, lead, moved_from) "
            "SELECT :client, * FROM unnest(CAST(:ids AS bigint[]), CAST(:themes AS bigint[]), "
            "CAST(:pinned AS boolean[]), CAST(:centres AS bytea[]), CAST(:leads AS double precision[]), "
            "CAST(:conversations AS text[]))"
        ),
        {
            "client": client,
            "ids": [row.id for row in rows],
            "themes": [row.theme_id for row in rows],
            "pinned": [row.is_pinned for row in rows],
            "centres": [row.centre.tobytes() for row in rows],
            "leads": [row.lead for row in rows],
            "conversations": [row.moved_from for row in rows],
        },
    )
    connection.execute(
        text(
            "INSERT INTO themes (client, id, kind) SELECT :client, id, :kind "
            "FROM unnest(CAST(:ids AS bigint[])) AS new (id) ON CONFLICT DO NOTHING"
        ),
        {"client": client, "ids": sorted({row.theme_id for row in rows}), "kind": kind},
    )


def assign(
    connection: Connection,
    client: str,
    keys: Iterable[tuple[str, int]],
    topics: NDArray[np.int64],
    near: NDArray[np.float32],
) -> None:
    """Note the topic of segments, where it is another."""
    keys = list(keys)
    if not keys:
        return
    conversations, positions = zip(*keys, strict=True)
    connection.execute(
        text(
            "UPDATE theme_segments AS said SET topic_id = found.topic_id, near = found.near "
            "FROM unnest(CAST(:conversations AS text[]), CAST(:positions AS bigint[]), CAST(:topics AS bigint[]), "
            "CAST(:near AS double precision[])) AS found (conversation_id, first_position, topic_id, near) "
            "WHERE client = :client AND said.conversation_id = found.conversation_id "
            "AND said.first_position = found.first_position "
            "AND (said.topic_id, said.near) IS DISTINCT FROM (found.topic_id, found.near)"
        ),
        {
            "client": client,
            "conversations": list(conversations),
            "positions": list(positions),
            "topics": topics.tolist(),
            "near": near.astype(np.float64).tolist(),
        },
    )


class Naming(NamedTuple):
    """The words that tell a theme from others, and the line that stands for it best."""

    words: list[str]
    line: tuple[str, int] | None


def name_themes(
    connection: Connection, client: str, themes: Mapping[int, Naming], topics: Mapping[int, Sequence[str]]
) -> None:
    """Note what themes and topics are known by."""
    connection.execute(
        text(
            "UPDATE themes SET words = array(SELECT jsonb_array_elements_text(found.words)), "
            "conversation_id = found.conversation_id, position = found.position "
            "FROM unnest(CAST(:ids AS bigint[]), CAST(:words AS jsonb[]), CAST(:conversations AS text[]), "
            "CAST(:positions AS bigint[])) AS found (id, words, conversation_id, position) "
            "WHERE client = :client AND themes.id = found.id"
        ),
        {
            "client": client,
            "ids": list(themes),
            "words": [_json(naming.words) for naming in themes.values()],
            "conversations": [naming.line and naming.line[0] for naming in themes.values()],
            "positions": [naming.line and naming.line[1] for naming in themes.values()],
        },
    )
    connection.execute(
        text(
            "UPDATE topics SET words = array(SELECT jsonb_array_elements_text(found.words)) "
            "FROM unnest(CAST(:ids AS bigint[]), CAST(:words AS jsonb[])) AS found (id, words) "
            "WHERE client = :client AND topics.id = found.id"
        ),
        {"client": client, "ids": list(topics), "words": [_json(words) for words in topics.values()]},
    )


def _json(words: Sequence[str]) -> str:
    return orjson.dumps(list(words)).decode()


def take_in_again(connection: Connection, client: str) -> None:
    """Have the segments of all days made again."""
    connection.execute(text("DELETE FROM theme_days WHERE client = :client"), {"client": client})


def now(connection: Connection) -> datetime:
    """The database's clock."""
    moment: datetime = connection.execute(text("SELECT now()")).scalar_one()
    return moment


def topics_of_day(connection: Connection, client_day: ClientDay) -> dict[tuple[str, int], int]:
    """The topic of each segment of a day, by conversation and first position."""
    rows = connection.execute(
        text(
            "SELECT conversation_id, first_position, topic_id FROM theme_segments "
            "WHERE client = :client AND day = :day AND topic_id IS NOT NULL"
        ),
        client_day._asdict(),
    )
    return {(row[0], row[1]): row[2] for row in rows}


def nearest_segments(connection: Connection, client: str) -> dict[int, tuple[str, int]]:
    """For each theme the segment that is nearest to a centre of it."""
    rows = connection.execute(
        text(
            "SELECT DISTINCT ON (theme_id) theme_id, conversation_id, first_position FROM theme_segments AS said "
            "JOIN topics ON topics.client = said.client AND topics.id = topic_id WHERE said.client = :client "
            "ORDER BY theme_id, near DESC, conversation_id, first_position"
        ),
        {"client": client},
    )
    return {row[0]: (row[1], row[2]) for row in rows}


def kind_of(connection: Connection, client: str, theme: int) -> str | None:
    """Whether a theme was found or made; None where there is none, or it was put into another."""
    kind: str | None = connection.scalar(
        text("SELECT kind FROM themes WHERE client = :client AND id = :theme AND merged_into IS NULL"),
        {"client": client, "theme": theme},
    )
    return kind


def set_name(connection: Connection, client: str, theme: int, name: str | None) -> None:
    """Note the name that a person has given."""
    connection.execute(
        text("UPDATE themes SET name = :name WHERE client = :client AND id = :theme"),
        {"client": client, "theme": theme, "name": name},
    )


def set_merged(connection: Connection, client: str, theme: int, into: int) -> None:
    """Note that a theme, and what was put into it, is in another now."""
    connection.execute(
        text("UPDATE themes SET merged_into = :into WHERE client = :client AND :theme IN (id, merged_into)"),
        {"client": client, "theme": theme, "into": into},
    )


def add_theme(connection: Connection, client: str, theme: int, kind: str) -> None:
    """Begin a theme without topics."""
    connection.execute(
        text("INSERT INTO themes (client, id, kind) VALUES (:client, :theme, :kind)"),
        {"client": client, "theme": theme, "kind": kind},
    )


def drop_theme(connection: Connection, client: str, theme: int) -> None:
    """Delete a theme, what was put into it, and its topics."""
    values = {"client": client, "theme": theme}
    connection.execute(text("DELETE FROM topics WHERE client = :client AND theme_id = :theme"), values)
    connection.execute(text("DELETE FROM themes WHERE client = :client AND :theme IN (id, merged_into)"), values)


def pin(connection: Connection, client: str, topics: Sequence[int], theme: int) -> None:
    """Have topics stay where they are, and of a theme."""
    connection.execute(
        text("UPDATE topics SET is_pinned = true, theme_id = :theme WHERE client = :client AND id = ANY(:topics)"),
        {"client": client, "topics": list(topics), "theme": theme},
    )


def set_centre(connection: Connection, client: str, topic: TopicRow) -> None:
    """Move the centre of a topic, and how much nearer it counts than it is."""
    connection.execute(
        text("UPDATE topics SET centre = :centre, lead = :lead WHERE client = :client AND id = :id"),
        {"client": client, "id": topic.id, "centre": topic.centre.tobytes(), "lead": topic.lead},
    )


def vector_at(connection: Connection, client: str, conversation_id: str, position: int) -> Grid | None:
    """The vector of the segment that a line is in: int8 (dimension,); None where it is in none."""
    vector = connection.scalar(
        text(
            "SELECT vector FROM theme_segments WHERE client = :client AND conversation_id = :conversation "
            "AND :position BETWEEN first_position AND last_position ORDER BY first_position LIMIT 1"
        ),
        {"client": client, "conversation": conversation_id, "position": position},
    )
    return None if vector is None else np.frombuffer(vector, np.int8)


def holds_found(connection: Connection, client: str, theme: int) -> bool:
    """Whether a theme that was found was put into another."""
    return bool(
        connection.scalar(
            text(
                "SELECT EXISTS (SELECT FROM themes WHERE client = :client AND merged_into = :theme AND kind = 'found')"
            ),
            {"client": client, "theme": theme},
        )
    )
