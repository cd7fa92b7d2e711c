"""The tables. Migrations are written from these; a test holds that the two agree."""

from __future__ import annotations

from datetime import date, datetime
from decimal import Decimal
from typing import Any, ClassVar

from sqlalchemy import (
    BigInteger,
    Boolean,
    CheckConstraint,
    Date,
    DateTime,
    Double,
    ForeignKey,
    ForeignKeyConstraint,
    Identity,
    Index,
    Integer,
    LargeBinary,
    Numeric,
    SmallInteger,
    Text,
    UniqueConstraint,
    func,
    text,
)
from sqlalchemy.dialects.postgresql import ARRAY, JSONB
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

_NARROWED_TO = text("coalesce(current_setting('crew.client', true), '')")
STATUSES = ("pending", "queued", "processing", "completed", "failed")


class Base(DeclarativeBase):
    """All tables; every moment has a time zone."""

    type_annotation_map: ClassVar[dict[Any, Any]] = {
        str: Text,
        bytes: LargeBinary,
        datetime: DateTime(timezone=True),
        date: Date,
        bool: Boolean,
        float: Double,
        dict[str, Any]: JSONB,
        list[Any]: JSONB,
    }


class Client(Base):
    """Whose conversations are kept apart, and what it has set otherwise than the system."""

    __tablename__ = "clients"

    client: Mapped[str] = mapped_column(primary_key=True)
    folding: Mapped[str | None] = mapped_column(
        comment="operating point: strict, balanced or loose; unset: the system's"
    )
    active: Mapped[bool] = mapped_column(server_default=text("true"), comment="whether its crews are discovered")
    timezone: Mapped[str | None] = mapped_column(comment="IANA time zone of its days; unset: the system's")
    forgotten_at: Mapped[datetime | None] = mapped_column(comment="when something was last erased on request")
    embedded_at: Mapped[datetime | None] = mapped_column(comment="when a day last got the vectors of its texts")
    created_at: Mapped[datetime] = mapped_column(server_default=func.now())


class Crew(Base):
    """A source of conversations: a history table, or whatever an export file was imported as."""

    __tablename__ = "crews"
    __table_args__ = (UniqueConstraint("client", "code"),)

    id: Mapped[int] = mapped_column(BigInteger, Identity(always=True), primary_key=True)
    client: Mapped[str] = mapped_column(ForeignKey("clients.client"))
    code: Mapped[str]
    source_env: Mapped[str | None] = mapped_column(comment="environment variable that holds the source's address")
    history_table: Mapped[str | None]
    columns: Mapped[dict[str, Any]] = mapped_column(
        server_default=text("'{}'"), comment="column by field, where it is not to be guessed"
    )
    active: Mapped[bool] = mapped_column(server_default=text("true"))
    created_at: Mapped[datetime] = mapped_column(server_default=func.now())


class CrewDiscoveryState(Base):
    """How far discovery has read a crew's history table, and how the last rounds went."""

    __tablename__ = "crew_discovery_state"

    crew_id: Mapped[int] = mapped_column(ForeignKey("crews.id", ondelete="CASCADE"), primary_key=True)
    histories_table_name: Mapped[str | None]
    watermark: Mapped[dict[str, Any] | None] = mapped_column(comment="see discovery/watermark.py")
    last_discovered_at: Mapped[datetime | None] = mapped_column(comment="end of the last round that succeeded")
    last_round_at: Mapped[datetime | None]
    last_session_count: Mapped[int] = mapped_column(Integer, server_default=text("0"))
    consecutive_failures: Mapped[int] = mapped_column(Integer, server_default=text("0"))
    last_error: Mapped[str | None]
    total_seconds: Mapped[float] = mapped_column(server_default=text("0"))
    total_rounds: Mapped[int] = mapped_column(BigInteger, server_default=text("0"))
    total_failures: Mapped[int] = mapped_column(BigInteger, server_default=text("0"))
    total_scanned: Mapped[int] = mapped_column(BigInteger, server_default=text("0"))
    total_created: Mapped[int] = mapped_column(BigInteger, server_default=text("0"))
    total_changed: Mapped[int] = mapped_column(BigInteger, server_default=text("0"))
    total_skipped: Mapped[int] = mapped_column(BigInteger, server_default=text("0"))
    total_refused: Mapped[int] = mapped_column(BigInteger, server_default=text("0"))
    left_out: Mapped[dict[str, Any]] = mapped_column(
        server_default=text("'{}'"), comment="how much was passed over because it is no talk, by kind"
    )
    next_attempt_at: Mapped[datetime | None] = mapped_column(comment="until then background rounds leave it alone")
    created_at: Mapped[datetime] = mapped_column(server_default=func.now())
    updated_at: Mapped[datetime] = mapped_column(server_default=func.now())


class CrewDiscoveryBlock(Base):
    """What discovery has read of a stretch of a history table, to be held against the table now and then."""

    __tablename__ = "crew_discovery_blocks"

    crew_id: Mapped[int] = mapped_column(ForeignKey("crews.id", ondelete="CASCADE"), primary_key=True)
    block: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=False)
    rows: Mapped[int] = mapped_column(BigInteger)
    keys_sum: Mapped[Decimal] = mapped_column(Numeric, comment="sum of the rows' keys")


class CrewDiscoveryRound(Base):
    """One round of discovery over one crew, for figures and alerts."""

    __tablename__ = "crew_discovery_rounds"
    __table_args__ = (Index("crew_discovery_rounds_crew", "crew_id", "id"),)

    id: Mapped[int] = mapped_column(BigInteger, Identity(always=True), primary_key=True)
    crew_id: Mapped[int] = mapped_column(ForeignKey("crews.id", ondelete="CASCADE"))
    trigger: Mapped[str]
    started_at: Mapped[datetime]
    seconds: Mapped[float]
    rows_read: Mapped[int] = mapped_column(Integer)
    sessions_scanned: Mapped[int] = mapped_column(Integer)
    sessions_created: Mapped[int] = mapped_column(Integer)
    sessions_changed: Mapped[int] = mapped_column(Integer)
    sessions_skipped: Mapped[int] = mapped_column(Integer)
    sessions_failed: Mapped[int] = mapped_column(Integer, comment="with a row that was refused")
    rows_refused: Mapped[int] = mapped_column(Integer)
    finished: Mapped[bool] = mapped_column(comment="false where time ran out; the next round goes on")
    error: Mapped[str | None]
    left_out: Mapped[dict[str, Any]] = mapped_column(
        server_default=text("'{}'"), comment="how much was passed over because it is no talk, by kind"
    )


class RefusedRow(Base):
    """A row of a history table that could not be taken in, and why."""

    __tablename__ = "refused_rows"

    crew_id: Mapped[int] = mapped_column(ForeignKey("crews.id", ondelete="CASCADE"), primary_key=True)
    row: Mapped[str] = mapped_column(primary_key=True, comment="the source's id or time of the row")
    reason: Mapped[str]
    refused_at: Mapped[datetime] = mapped_column(server_default=func.now())


class Alert(Base):
    """Something an operator should know. At most one of a kind and subject is open."""

    __tablename__ = "alerts"
    __table_args__ = (
        Index("alerts_open", "kind", "subject", unique=True, postgresql_where=text("resolved_at IS NULL")),
    )

    id: Mapped[int] = mapped_column(BigInteger, Identity(always=True), primary_key=True)
    kind: Mapped[str]
    subject: Mapped[str]
    message: Mapped[str]
    raised_at: Mapped[datetime]
    seen_at: Mapped[datetime]
    resolved_at: Mapped[datetime | None]
    told_raised: Mapped[bool] = mapped_column(server_default=text("false"), comment="the webhook has been told")
    told_resolved: Mapped[bool] = mapped_column(server_default=text("false"))


class DataItem(Base):
    """A conversation: a session, or what was said in it on one day (``conversations/parts.py``), and its place in the
    queue."""

    __tablename__ = "data_items"
    __table_args__ = (
        Index("data_items_session", "crew_id", "session_id", "days_date"),
        CheckConstraint(f"semantic_status IN {STATUSES}", name="semantic_status_known"),
        Index(
            "data_items_queue",
            "semantic_status",
            text("processing_priority DESC"),
            "days_date",
            text("created_at DESC"),
        ),
        Index("data_items_status_by_day", "semantic_status", "days_date"),
        Index("data_items_recently_processed", text("semantic_processed_at DESC")),
        Index("data_items_day", "client", "days_date", "started_at", "id"),
        Index("data_items_crew", "crew_id", "days_date", "started_at", "id"),
        Index("data_items_first_position", "crew_id", "first_position"),
        Index("data_items_unfinished", "client", "days_date", postgresql_where=text("semantic_status <> 'completed'")),
    )

    id: Mapped[str] = mapped_column(
        primary_key=True,
        comment="20 hex digits over client, crew and session, and its day where it is not the session's first part",
    )
    client: Mapped[str]
    crew_id: Mapped[int] = mapped_column(ForeignKey("crews.id"))
    session_id: Mapped[str]
    title: Mapped[str | None]
    days_date: Mapped[date] = mapped_column(comment="the day it began in, in the configured time zone")
    started_at: Mapped[datetime]
    ended_at: Mapped[datetime]
    line_count: Mapped[int] = mapped_column(Integer)
    first_position: Mapped[int] = mapped_column(BigInteger, server_default=text("0"), comment="least of its lines")
    last_position: Mapped[int] = mapped_column(BigInteger, server_default=text("0"), comment="greatest of its lines")
    times_inferred: Mapped[bool] = mapped_column(
        server_default=text("false"), comment="the source tells no time: it is when lines were first seen"
    )
    from_history: Mapped[bool] = mapped_column(
        server_default=text("false"), comment="read from a history table, which may lose it"
    )
    source_deleted_at: Mapped[datetime | None] = mapped_column(comment="when its source was found to have lost it")
    content_hash: Mapped[bytes]
    semantic_status: Mapped[str] = mapped_column(server_default=text("'pending'"))
    semantic_processed_at: Mapped[datetime | None]
    semantic_error: Mapped[str | None]
    retry_at: Mapped[datetime | None] = mapped_column(comment="when a failed one is tried again; unset: set aside")
    processing_priority: Mapped[int] = mapped_column(SmallInteger, server_default=text("1"))
    created_at: Mapped[datetime] = mapped_column(server_default=func.now())
    updated_at: Mapped[datetime] = mapped_column(server_default=func.now())


class LineRow(Base):
    """A line as its source has it. Deduplication never changes or deletes one."""

    __tablename__ = "lines"

    conversation_id: Mapped[str] = mapped_column(ForeignKey("data_items.id", ondelete="CASCADE"), primary_key=True)
    position: Mapped[int] = mapped_column(
        BigInteger, primary_key=True, autoincrement=False, comment="the source's own line number or message id"
    )
    speaker: Mapped[str]
    spoken_at: Mapped[datetime]
    text: Mapped[str]
    import_id: Mapped[int | None] = mapped_column(
        BigInteger, comment="import that brought it as it is; none for rows of a history table"
    )


class Import(Base):
    """An export that was imported."""

    __tablename__ = "imports"
    __table_args__ = (Index("imports_crew", "crew_id"),)

    id: Mapped[int] = mapped_column(BigInteger, Identity(always=True), primary_key=True)
    crew_id: Mapped[int] = mapped_column(ForeignKey("crews.id", ondelete="CASCADE"))
    file: Mapped[str] = mapped_column(comment="name of the file or folder, without where it lay")
    format: Mapped[str]
    conversations_new: Mapped[int] = mapped_column(BigInteger)
    lines_new: Mapped[int] = mapped_column(BigInteger)
    lines_changed: Mapped[int] = mapped_column(BigInteger)
    lines_withdrawn: Mapped[int] = mapped_column(BigInteger)
    imported_at: Mapped[datetime] = mapped_column(server_default=func.now())
    undone_at: Mapped[datetime | None]
    left_out: Mapped[dict[str, Any]] = mapped_column(
        server_default=text("'{}'"), comment="how much was passed over because it is no talk, by kind"
    )


class WithdrawnLine(Base):
    """A line that its source took back, kept aside."""

    __tablename__ = "withdrawn_lines"
    __table_args__ = (Index("withdrawn_lines_session", "crew_id", "session_id"),)

    id: Mapped[int] = mapped_column(BigInteger, Identity(always=True), primary_key=True)
    crew_id: Mapped[int] = mapped_column(ForeignKey("crews.id", ondelete="CASCADE"))
    session_id: Mapped[str]
    position: Mapped[int] = mapped_column(BigInteger)
    speaker: Mapped[str]
    spoken_at: Mapped[datetime]
    text: Mapped[str]
    reason: Mapped[str]
    withdrawn_at: Mapped[datetime] = mapped_column(server_default=func.now())
    import_id: Mapped[int | None] = mapped_column(
        BigInteger, comment="import that brought it as it is; none for rows of a history table"
    )
    withdrawn_by: Mapped[int | None] = mapped_column(BigInteger, comment="import that took it away")


class Tombstone(Base):
    """What was forgotten on request, known by hashes alone, so that no source brings it back."""

    __tablename__ = "tombstones"

    id: Mapped[int] = mapped_column(BigInteger, Identity(always=True), primary_key=True)
    kind: Mapped[str] = mapped_column(comment="line, conversation, span, crew or client")
    digests: Mapped[list[bytes]] = mapped_column(ARRAY(LargeBinary), comment="hashes of single lines")
    lines: Mapped[int] = mapped_column(BigInteger)
    forgotten_at: Mapped[datetime] = mapped_column(server_default=func.now())


class TombstoneCover(Base):
    """Whose words a tombstone covers beside single lines, and from when to when."""

    __tablename__ = "tombstone_covers"
    __table_args__ = (Index("tombstone_covers_scope", "scope"), Index("tombstone_covers_retired", "retired"))

    id: Mapped[int] = mapped_column(BigInteger, Identity(always=True), primary_key=True)
    tombstone_id: Mapped[int] = mapped_column(ForeignKey("tombstones.id", ondelete="CASCADE"))
    scope: Mapped[bytes] = mapped_column(comment="hash of client, crew and session, as far as they are named")
    retired: Mapped[bytes | None] = mapped_column(comment="hash of the id that no other conversation may bear")
    begins_at: Mapped[datetime]
    ends_at: Mapped[datetime]


class TombstoneSecret(Base):
    """The secret that hashes of tombstones are made with; one row."""

    __tablename__ = "tombstone_secret"

    secret: Mapped[str] = mapped_column(primary_key=True)


class LineEmbedding(Base):
    """The vector of a text that a client has said, kept for ever."""

    __tablename__ = "line_embeddings"

    client: Mapped[str] = mapped_column(primary_key=True, server_default=_NARROWED_TO)
    model: Mapped[str] = mapped_column(primary_key=True)
    text_hash: Mapped[bytes] = mapped_column(primary_key=True)
    vector: Mapped[bytes] = mapped_column(comment="float32, little endian, unit length")


class PairReading(Base):
    """What a reader said of two texts of a client, kept for ever."""

    __tablename__ = "pair_readings"

    client: Mapped[str] = mapped_column(primary_key=True, server_default=_NARROWED_TO)
    reader: Mapped[str] = mapped_column(primary_key=True)
    left_hash: Mapped[bytes] = mapped_column(primary_key=True, comment="the lesser of the two")
    right_hash: Mapped[bytes] = mapped_column(primary_key=True)
    left_covers: Mapped[float]
    right_covers: Mapped[float]
    own: Mapped[float]
    formula: Mapped[float]


class SemanticCluster(Base):
    """Lines of one client's day that say the same."""

    __tablename__ = "semantic_clusters"

    client: Mapped[str] = mapped_column(primary_key=True)
    day: Mapped[date] = mapped_column(primary_key=True)
    id: Mapped[str] = mapped_column(primary_key=True)
    conversation_id: Mapped[str] = mapped_column(comment="of the canonical line")
    position: Mapped[int] = mapped_column(BigInteger, comment="of the canonical line")
    size: Mapped[int] = mapped_column(Integer)
    confidence: Mapped[float]


class LineClusterMapping(Base):
    """A line's place in a cluster and the evidence for it."""

    __tablename__ = "line_cluster_mapping"
    __table_args__ = (
        ForeignKeyConstraint(
            ["client", "day", "cluster_id"],
            ["semantic_clusters.client", "semantic_clusters.day", "semantic_clusters.id"],
            ondelete="CASCADE",
        ),
        Index("line_cluster_mapping_cluster", "client", "day", "cluster_id"),
    )

    client: Mapped[str] = mapped_column(primary_key=True)
    day: Mapped[date] = mapped_column(primary_key=True)
    conversation_id: Mapped[str] = mapped_column(primary_key=True)
    position: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=False)
    cluster_id: Mapped[str]
    is_canonical: Mapped[bool]
    similarity: Mapped[float]
    probability: Mapped[float]
    reason: Mapped[str]


class DayComparison(Base):
    """Which texts of a client's day have been compared, and how."""

    __tablename__ = "day_comparisons"

    client: Mapped[str] = mapped_column(primary_key=True)
    day: Mapped[date] = mapped_column(primary_key=True)
    judgement: Mapped[str] = mapped_column(comment="fingerprint of what the verdicts rest on")
    stage: Mapped[str]
    texts: Mapped[list[bytes]] = mapped_column(ARRAY(LargeBinary), comment="hashes, ascending")
    candidates: Mapped[int] = mapped_column(Integer)


class LinePair(Base):
    """A judged pair of texts of a client's day, as far as any operating point might fold it."""

    __tablename__ = "line_pairs"
    __table_args__ = (
        ForeignKeyConstraint(["client", "day"], ["day_comparisons.client", "day_comparisons.day"], ondelete="CASCADE"),
    )

    client: Mapped[str] = mapped_column(primary_key=True)
    day: Mapped[date] = mapped_column(primary_key=True)
    left_hash: Mapped[bytes] = mapped_column(primary_key=True)
    right_hash: Mapped[bytes] = mapped_column(primary_key=True)
    similarity: Mapped[float]
    reason: Mapped[str]
    left_under: Mapped[float] = mapped_column(
        comment="probability that the left text may be hidden under the right one"
    )
    right_under: Mapped[float] = mapped_column(
        comment="probability that the right text may be hidden under the left one"
    )


class PairFeedback(Base):
    """What a person has said about two texts of a client, or about what stands in messages, which is ``left`` and
    ``right`` in one; kept for ever, undone by a date."""

    __tablename__ = "pair_feedback"
    __table_args__ = (
        Index("pair_feedback_client", "client", "id"),
        Index("pair_feedback_number", "client", "number", unique=True),
    )

    id: Mapped[int] = mapped_column(BigInteger, Identity(always=True), primary_key=True)
    number: Mapped[int] = mapped_column(BigInteger, comment="of the client's verdicts")
    client: Mapped[str]
    verdict: Mapped[str] = mapped_column(comment="same, different, show (passages) or hide (a standing text)")
    passages: Mapped[list[bytes]] = mapped_column(
        ARRAY(LargeBinary), server_default="{}", comment="hashes of the passages that are always shown"
    )
    left_hash: Mapped[bytes]
    right_hash: Mapped[bytes]
    left_text: Mapped[str]
    right_text: Mapped[str]
    left_speaker: Mapped[str]
    right_speaker: Mapped[str]
    day: Mapped[date] = mapped_column(comment="where it was said")
    created_at: Mapped[datetime] = mapped_column(server_default=func.now())
    undone_at: Mapped[datetime | None]


class DayDocument(Base):
    """A finished day: the bytes to send."""

    __tablename__ = "day_documents"
    __table_args__ = (
        Index("day_documents_current", "client", "day", unique=True, postgresql_where=text("is_current")),
        Index(
            "day_documents_standing", "client", "day", postgresql_where=text("is_current AND standing <> '[]'::jsonb")
        ),
    )

    client: Mapped[str] = mapped_column(primary_key=True)
    day: Mapped[date] = mapped_column(primary_key=True)
    version: Mapped[str] = mapped_column(primary_key=True)
    is_current: Mapped[bool]
    engine: Mapped[str] = mapped_column(comment="fingerprint of model, algorithm and thresholds; '' once overtaken")
    body: Mapped[bytes]
    conversation_count: Mapped[int] = mapped_column(Integer)
    line_count: Mapped[int] = mapped_column(Integer)
    hidden_count: Mapped[int] = mapped_column(Integer)
    character_count: Mapped[int | None] = mapped_column(BigInteger, comment="code points of all texts")
    hidden_character_count: Mapped[int | None] = mapped_column(
        BigInteger, comment="of hidden lines and of what repeats in visible ones"
    )
    standing: Mapped[list[Any]] = mapped_column(
        JSONB, server_default="[]", comment="standing texts of its day, one for each voice that has one"
    )
    embedded_by: Mapped[str | None] = mapped_column(comment="model whose vectors of its texts are all stored")
    processed_at: Mapped[datetime] = mapped_column(server_default=func.now())
    processing_ms: Mapped[float] = mapped_column(
        Double, server_default=text("0"), comment="from the claim to the document (ms)"
    )
    token: Mapped[str] = mapped_column(comment="claim (Dagster run) that wrote it")


class PreliminaryDocument(Base):
    """The preliminary result of a day that is being made."""

    __tablename__ = "preliminary_documents"

    client: Mapped[str] = mapped_column(primary_key=True)
    day: Mapped[date] = mapped_column(primary_key=True)
    token: Mapped[str] = mapped_column(comment="claim that made it; it is shown while that lasts")
    body: Mapped[bytes]
    created_at: Mapped[datetime] = mapped_column(server_default=func.now())


class DayVisits(Base):
    """Requests for days that were served one way within an hour."""

    __tablename__ = "day_visits"
    __table_args__ = (Index("day_visits_hour", "hour"),)

    client: Mapped[str] = mapped_column(primary_key=True)
    kind: Mapped[str] = mapped_column(primary_key=True, comment="hit, stale or miss")
    hour: Mapped[datetime] = mapped_column(primary_key=True)
    visits: Mapped[int] = mapped_column(BigInteger)
    milliseconds: Mapped[float] = mapped_column(comment="of all of them together")


class DayClaim(Base):
    """Who computes a client's day. One row per claim; at most one of a day is open."""

    __tablename__ = "day_claims"
    __table_args__ = (
        Index("day_claims_open", "client", "day", unique=True, postgresql_where=text("ended_at IS NULL")),
        Index("day_claims_token", "token"),
        Index("day_claims_ended", text("ended_at DESC")),
    )

    client: Mapped[str] = mapped_column(primary_key=True)
    day: Mapped[date] = mapped_column(primary_key=True)
    token: Mapped[str] = mapped_column(primary_key=True, comment="the Dagster run id")
    claimed_at: Mapped[datetime] = mapped_column(server_default=func.now())
    expires_at: Mapped[datetime]
    ttl_s: Mapped[int] = mapped_column(Integer, server_default=text("60"), comment="without a heartbeat (s)")
    background: Mapped[bool] = mapped_column(server_default=text("false"), comment="yields to a reader who waits")
    wanted_at: Mapped[datetime | None] = mapped_column(comment="since when a reader waits for a background claim")
    ended_at: Mapped[datetime | None]
    outcome: Mapped[str | None] = mapped_column(
        comment="completed; retried, failed (set aside); overtaken (died), yielded, paused or released"
    )
    line_count: Mapped[int] = mapped_column(Integer, server_default=text("0"))
    wishes: Mapped[str | None] = mapped_column(comment="what readers and settings asked for when it was folded")
    content_stamp: Mapped[bytes | None] = mapped_column(comment="hash of the content that is computed from")


class DayAsking(Base):
    """Which request asked for a client's day that nobody has taken yet; only where OpenTelemetry is on."""

    __tablename__ = "day_askings"

    client: Mapped[str] = mapped_column(primary_key=True)
    day: Mapped[date] = mapped_column(primary_key=True)
    traceparent: Mapped[str]
    asked_at: Mapped[datetime] = mapped_column(server_default=func.now())


class DayEvent(Base):
    """What happened to a client's day, in order; the notification on top is only a wake-up."""

    __tablename__ = "day_events"
    __table_args__ = (
        Index("day_events_day", "client", "day", "seq"),
        Index("day_events_client", "client", "seq", unique=True),
    )

    id: Mapped[int] = mapped_column(BigInteger, Identity(always=True), primary_key=True)
    seq: Mapped[int | None] = mapped_column(BigInteger, comment="of the client's events; given on commit")
    client: Mapped[str]
    day: Mapped[date]
    token: Mapped[str | None]
    type: Mapped[str]
    payload: Mapped[dict[str, Any]]
    created_at: Mapped[datetime] = mapped_column(server_default=func.now())


class ClientCounter(Base):
    """How many events of a client's days there were so far."""

    __tablename__ = "client_counters"

    client: Mapped[str] = mapped_column(primary_key=True)
    events: Mapped[int] = mapped_column(BigInteger)


class ThemeState(Base):
    """How far a client's themes are."""

    __tablename__ = "theme_states"

    client: Mapped[str] = mapped_column(primary_key=True)
    model: Mapped[str] = mapped_column(server_default="", comment="whose vectors they were made from")
    next_id: Mapped[int] = mapped_column(BigInteger, server_default=text("1"), comment="never given before")
    fitted_with: Mapped[int] = mapped_column(
        Integer, server_default=text("0"), comment="segments when topics were fitted last"
    )
    fitted_at: Mapped[datetime | None]
    mean: Mapped[bytes | None] = mapped_column(comment="of all segments' vectors: int8 (dimension,)")
    corrections: Mapped[int] = mapped_column(
        BigInteger, server_default=text("0"), comment="how many times a person has changed something"
    )
    named: Mapped[int] = mapped_column(
        BigInteger, server_default=text("-1"), comment="corrections when themes were named last; -1: they are not"
    )
    forbidden: Mapped[list[str]] = mapped_column(
        ARRAY(Text), server_default="{}", comment="words that are in no theme's name"
    )
    patterns: Mapped[dict[str, Any]] = mapped_column(
        server_default="{}", comment="when themes are spoken of, and which together"
    )


class Theme(Base):
    """What a client speaks of, under an id that lasts."""

    __tablename__ = "themes"

    client: Mapped[str] = mapped_column(primary_key=True)
    id: Mapped[int] = mapped_column(BigInteger, primary_key=True)
    kind: Mapped[str] = mapped_column(comment="found; made or seed: by a person")
    name: Mapped[str | None] = mapped_column(comment="given by a person")
    words: Mapped[list[str]] = mapped_column(
        ARRAY(Text), server_default="{}", comment="that tell it from others, best first"
    )
    conversation_id: Mapped[str | None] = mapped_column(comment="of the line that stands for it best")
    position: Mapped[int | None] = mapped_column(BigInteger)
    created_at: Mapped[datetime] = mapped_column(server_default=func.now())
    merged_into: Mapped[int | None] = mapped_column(BigInteger, comment="theme that a person has put it in")


class Topic(Base):
    """A part of a theme: segments near a centre are of it."""

    __tablename__ = "topics"
    __table_args__ = (Index("topics_of", "client", "theme_id"),)

    client: Mapped[str] = mapped_column(primary_key=True)
    id: Mapped[int] = mapped_column(BigInteger, primary_key=True)
    theme_id: Mapped[int] = mapped_column(BigInteger)
    is_pinned: Mapped[bool] = mapped_column(comment="put there by a person: stays where it is")
    centre: Mapped[bytes] = mapped_column(comment="int8 (dimension,)")
    lead: Mapped[float] = mapped_column(
        server_default=text("0"), comment="how much nearer it counts than it is (cosine)"
    )
    words: Mapped[list[str]] = mapped_column(ARRAY(Text), server_default="{}")
    moved_from: Mapped[str | None] = mapped_column(comment="conversation of the line that a person has put there")


class ThemeSegment(Base):
    """Lines of a conversation that follow each other, and what they are about."""

    __tablename__ = "theme_segments"
    __table_args__ = (
        Index("theme_segments_of", "client", "topic_id", "day"),
        Index("theme_segments_day", "client", "day"),
    )

    client: Mapped[str] = mapped_column(primary_key=True)
    conversation_id: Mapped[str] = mapped_column(primary_key=True)
    first_position: Mapped[int] = mapped_column(BigInteger, primary_key=True)
    last_position: Mapped[int] = mapped_column(BigInteger)
    day: Mapped[date]
    started_at: Mapped[datetime]
    weight: Mapped[int] = mapped_column(Integer, comment="words, counted as often as they were said")
    vector: Mapped[bytes] = mapped_column(comment="int8 (dimension,)")
    topic_id: Mapped[int | None] = mapped_column(BigInteger)
    near: Mapped[float | None] = mapped_column(comment="cosine with its topic's centre")


class ThemeDay(Base):
    """A day whose segments are known."""

    __tablename__ = "theme_days"

    client: Mapped[str] = mapped_column(primary_key=True)
    day: Mapped[date] = mapped_column(primary_key=True)
    version: Mapped[str] = mapped_column(comment="of its document")


class Point(Base):
    """A sentence that summaries rest on."""

    __tablename__ = "points"
    __table_args__ = (
        Index("points_day", "client", "day"),
        Index("points_kind", "client", "kind", "day"),
    )

    client: Mapped[str] = mapped_column(primary_key=True)
    day: Mapped[date]
    conversation_id: Mapped[str] = mapped_column(primary_key=True)
    position: Mapped[int] = mapped_column(BigInteger, primary_key=True)
    first_character: Mapped[int] = mapped_column(Integer, primary_key=True, comment="of its line, in code points")
    last_character: Mapped[int] = mapped_column(Integer, comment="the first that is not of it")
    kind: Mapped[str] = mapped_column(comment="key, decision, task or question")
    weight: Mapped[int] = mapped_column(Integer, comment="how much of its conversation it stands for")
    certainty: Mapped[float] = mapped_column(comment="that it is of its kind, 0 to 1")
    times: Mapped[int] = mapped_column(Integer, comment="how often it was said that day")
    vector: Mapped[bytes] = mapped_column(comment="int8 (dimension,)")


class PointDay(Base):
    """A day whose points are known."""

    __tablename__ = "point_days"

    client: Mapped[str] = mapped_column(primary_key=True)
    day: Mapped[date] = mapped_column(primary_key=True)
    version: Mapped[str] = mapped_column(comment="of its document")
    made_by: Mapped[str] = mapped_column(comment="whose vectors, and how points were chosen")


class LiveTalk(Base):
    """What was said last in a conversation that is under way."""

    __tablename__ = "live_talks"

    client: Mapped[str] = mapped_column(primary_key=True)
    session_id: Mapped[str] = mapped_column(primary_key=True)
    seq: Mapped[int] = mapped_column(BigInteger, comment="counts what was said")
    lines: Mapped[list[Any]] = mapped_column(comment="said last: speaker and text")
    updated_at: Mapped[datetime] = mapped_column(server_default=func.now())


class ToldProse(Base):
    """A summary in prose, as a language model told it."""

    __tablename__ = "told_prose"
    __table_args__ = (Index("told_prose_at", "told_at"),)

    client: Mapped[str] = mapped_column(primary_key=True)
    key: Mapped[str] = mapped_column(primary_key=True, comment="of what it was told from, and by which model")
    sentences: Mapped[list[Any]]
    tokens: Mapped[int] = mapped_column(BigInteger, comment="that it took")
    told_at: Mapped[datetime] = mapped_column(server_default=func.now())


class Webhook(Base):
    """Where a client, or the operator, wants to be told."""

    __tablename__ = "webhooks"

    id: Mapped[str] = mapped_column(primary_key=True)
    client: Mapped[str] = mapped_column(index=True, comment="empty: the operator's")
    url: Mapped[str]
    events: Mapped[list[str]] = mapped_column(ARRAY(Text))
    label: Mapped[str] = mapped_column(server_default="")
    secret: Mapped[str]
    created_at: Mapped[datetime] = mapped_column(server_default=func.now())
    disabled_at: Mapped[datetime | None]
    delivered_at: Mapped[datetime | None]
    leased_until: Mapped[datetime | None]


class WebhookDelivery(Base):
    """A message on its way to one webhook."""

    __tablename__ = "webhook_deliveries"
    __table_args__ = (
        Index(
            "webhook_deliveries_due",
            "webhook_id",
            "next_attempt_at",
            "id",
            postgresql_where=text("next_attempt_at IS NOT NULL"),
        ),
        Index("webhook_deliveries_of", "webhook_id", "id"),
    )

    id: Mapped[int] = mapped_column(BigInteger, Identity(always=True), primary_key=True)
    webhook_id: Mapped[str] = mapped_column(ForeignKey("webhooks.id", ondelete="CASCADE"))
    client: Mapped[str]
    message_id: Mapped[str]
    type: Mapped[str]
    body: Mapped[bytes]
    created_at: Mapped[datetime] = mapped_column(server_default=func.now())
    attempts: Mapped[int] = mapped_column(Integer, server_default=text("0"))
    next_attempt_at: Mapped[datetime | None]
    delivered_at: Mapped[datetime | None]
    dead_at: Mapped[datetime | None]
    status: Mapped[int | None] = mapped_column(Integer)
    error: Mapped[str | None]


class SigningKey(Base):
    """A key that a source signs with what it pushes."""

    __tablename__ = "signing_keys"

    id: Mapped[str] = mapped_column(primary_key=True)
    client: Mapped[str]
    label: Mapped[str] = mapped_column(server_default="")
    secret: Mapped[str]
    created_at: Mapped[datetime] = mapped_column(server_default=func.now())
    revoked_at: Mapped[datetime | None]


class Worker(Base):
    """A warm worker that is alive."""

    __tablename__ = "workers"

    id: Mapped[str] = mapped_column(primary_key=True)
    started_at: Mapped[datetime] = mapped_column(server_default=func.now())
    heartbeat_at: Mapped[datetime] = mapped_column(server_default=func.now())
    resident_mb: Mapped[int] = mapped_column(Integer)


class HealthSample(Base):
    """How the system was at a moment."""

    __tablename__ = "health_samples"
    __table_args__ = (Index("health_samples_taken", text("taken_at DESC")),)

    id: Mapped[int] = mapped_column(BigInteger, Identity(always=True), primary_key=True)
    taken_at: Mapped[datetime] = mapped_column(server_default=func.now())
    host: Mapped[str] = mapped_column(comment="machine that processor, memory and disk are measured on")
    days_waiting: Mapped[int] = mapped_column(Integer, comment="clients' days that nobody works at")
    conversations_waiting: Mapped[int] = mapped_column(Integer)
    days_asked: Mapped[int] = mapped_column(Integer, comment="of the days waiting, those that were asked for")
    oldest_day: Mapped[date | None] = mapped_column(comment="of those waiting")
    waiting_since: Mapped[datetime | None] = mapped_column(
        comment="since when the conversation that waits longest does"
    )
    days_failed: Mapped[int] = mapped_column(Integer)
    workers: Mapped[int] = mapped_column(Integer, comment="warm workers alive")
    worker_heartbeat_age_s: Mapped[float | None] = mapped_column(comment="of the freshest")
    daemon_heartbeat_age_s: Mapped[float | None] = mapped_column(
        comment="of Dagster's daemon; null: it has never beaten"
    )
    cpu_percent: Mapped[float]
    memory_free_mb: Mapped[int] = mapped_column(Integer, comment="available to processes (MB)")
    disk_free_mb: Mapped[int | None] = mapped_column(
        Integer, comment="where the data directory is (MB); null: there is none"
    )
    runs_ended: Mapped[int] = mapped_column(Integer, comment="claims that ended within the hour before")
    runs_failed: Mapped[int] = mapped_column(Integer, comment="of these, failed, retried or overtaken")


class ApiToken(Base):
    """An API token, hashed; it says whose days whoever shows it may see, and what they may do."""

    __tablename__ = "api_tokens"

    id: Mapped[int] = mapped_column(BigInteger, Identity(always=True), primary_key=True)
    client: Mapped[str] = mapped_column(comment="the first of its clients; empty: it opens no client's days")
    token_hash: Mapped[bytes] = mapped_column(unique=True)
    prefix: Mapped[str]
    created_at: Mapped[datetime] = mapped_column(server_default=func.now())
    revoked_at: Mapped[datetime | None]
    label: Mapped[str] = mapped_column(server_default="", comment="what it is for, in its maker's words")
    clients: Mapped[list[str]] = mapped_column(ARRAY(Text), comment="whose days it opens; the first unless named")
    scopes: Mapped[list[str]] = mapped_column(ARRAY(Text), comment="read, write, admin (the operator's pages)")
    expires_at: Mapped[datetime | None]
    last_used_at: Mapped[datetime | None] = mapped_column(comment="written down once a minute")


class ApiSignIn(Base):
    """A browser that has shown a token; the cookie that stands for it, hashed."""

    __tablename__ = "api_sign_ins"

    cookie_hash: Mapped[bytes] = mapped_column(primary_key=True)
    token_id: Mapped[int] = mapped_column(ForeignKey("api_tokens.id", ondelete="CASCADE"), index=True)
    created_at: Mapped[datetime] = mapped_column(server_default=func.now())
    expires_at: Mapped[datetime]


class ApiTicket(Base):
    """A ticket that opens one WebSocket, hashed; it is gone once it was shown."""

    __tablename__ = "api_tickets"

    ticket_hash: Mapped[bytes] = mapped_column(primary_key=True)
    credential: Mapped[bytes | None] = mapped_column(comment="hash of the token or cookie it was made for")
    client: Mapped[str]
    expires_at: Mapped[datetime]


class ApiAnswer(Base):
    """What was answered to a request that named itself, so that it is done once however often it is sent."""

    __tablename__ = "api_answers"

    client: Mapped[str] = mapped_column(primary_key=True)
    key: Mapped[str] = mapped_column(primary_key=True, comment="the request's Idempotency-Key")
    request_hash: Mapped[bytes]
    status: Mapped[int | None] = mapped_column(Integer)
    body: Mapped[bytes | None]
    created_at: Mapped[datetime] = mapped_column(server_default=func.now(), index=True)
