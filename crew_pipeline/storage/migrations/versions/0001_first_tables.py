"""first tables."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


# Stored as they are: reading a document must not cost decompression, and vectors do not compress.
UNCOMPRESSED = """
ALTER TABLE day_documents ALTER COLUMN body SET STORAGE EXTERNAL;
ALTER TABLE line_embeddings ALTER COLUMN vector SET STORAGE EXTERNAL;
"""

PRIORITY_OF_DAY = """
CREATE FUNCTION priority_of_day(day date, today date) RETURNS smallint LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN CASE WHEN day >= today - 1 THEN 3 WHEN day > today - 7 THEN 2 ELSE 1 END
"""


def upgrade() -> None:
    op.create_table(
        "api_tokens",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("client", sa.Text(), nullable=False),
        sa.Column("token_hash", sa.LargeBinary(), nullable=False),
        sa.Column("prefix", sa.Text(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("revoked_at", sa.DateTime(timezone=True), nullable=True),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("token_hash"),
    )
    op.create_table(
        "crews",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("client", sa.Text(), nullable=False),
        sa.Column("code", sa.Text(), nullable=False),
        sa.Column(
            "source_env", sa.Text(), nullable=True, comment="environment variable that holds the source's address"
        ),
        sa.Column("history_table", sa.Text(), nullable=True),
        sa.Column("active", sa.Boolean(), server_default=sa.text("true"), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("client", "code"),
    )
    op.create_table(
        "day_claims",
        sa.Column("client", sa.Text(), nullable=False),
        sa.Column("day", sa.Date(), nullable=False),
        sa.Column("token", sa.Text(), nullable=False, comment="the Dagster run id"),
        sa.Column("claimed_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("expires_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("ended_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("outcome", sa.Text(), nullable=True, comment="completed, failed, retried, released or overtaken"),
        sa.Column("line_count", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column(
            "content_stamp", sa.LargeBinary(), nullable=True, comment="hash of the content that is computed from"
        ),
        sa.PrimaryKeyConstraint("client", "day", "token"),
    )
    op.create_index("day_claims_ended", "day_claims", [sa.literal_column("ended_at DESC")], unique=False)
    op.create_index(
        "day_claims_open", "day_claims", ["client", "day"], unique=True, postgresql_where=sa.text("ended_at IS NULL")
    )
    op.create_index("day_claims_token", "day_claims", ["token"], unique=False)
    op.create_table(
        "day_documents",
        sa.Column("client", sa.Text(), nullable=False),
        sa.Column("day", sa.Date(), nullable=False),
        sa.Column("version", sa.Text(), nullable=False),
        sa.Column("is_current", sa.Boolean(), nullable=False),
        sa.Column(
            "engine",
            sa.Text(),
            nullable=False,
            comment="fingerprint of model, algorithm and thresholds; '' once overtaken",
        ),
        sa.Column("body", sa.LargeBinary(), nullable=False),
        sa.Column("conversation_count", sa.Integer(), nullable=False),
        sa.Column("line_count", sa.Integer(), nullable=False),
        sa.Column("hidden_count", sa.Integer(), nullable=False),
        sa.Column("processed_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("token", sa.Text(), nullable=False, comment="claim (Dagster run) that wrote it"),
        sa.PrimaryKeyConstraint("client", "day", "version"),
    )
    op.create_index(
        "day_documents_current", "day_documents", ["client", "day"], unique=True, postgresql_where=sa.text("is_current")
    )
    op.create_table(
        "day_events",
        sa.Column("seq", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("client", sa.Text(), nullable=False),
        sa.Column("day", sa.Date(), nullable=False),
        sa.Column("token", sa.Text(), nullable=True),
        sa.Column("type", sa.Text(), nullable=False),
        sa.Column("payload", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.PrimaryKeyConstraint("seq"),
    )
    op.create_index("day_events_day", "day_events", ["client", "day", "seq"], unique=False)
    op.create_table(
        "line_embeddings",
        sa.Column("model", sa.Text(), nullable=False),
        sa.Column("text_hash", sa.LargeBinary(), nullable=False),
        sa.Column("vector", sa.LargeBinary(), nullable=False, comment="float32, little endian, unit length"),
        sa.PrimaryKeyConstraint("model", "text_hash"),
    )
    op.create_table(
        "semantic_clusters",
        sa.Column("client", sa.Text(), nullable=False),
        sa.Column("day", sa.Date(), nullable=False),
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("conversation_id", sa.Text(), nullable=False, comment="of the canonical line"),
        sa.Column("position", sa.BigInteger(), nullable=False, comment="of the canonical line"),
        sa.Column("size", sa.Integer(), nullable=False),
        sa.Column("confidence", sa.Double(), nullable=False),
        sa.PrimaryKeyConstraint("client", "day", "id"),
    )
    op.create_table(
        "workers",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("started_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("heartbeat_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("resident_mb", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_table(
        "crew_discovery_state",
        sa.Column("crew_id", sa.BigInteger(), nullable=False),
        sa.Column("histories_table_name", sa.Text(), nullable=True),
        sa.Column("last_discovered_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("last_session_count", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("consecutive_failures", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("last_error", sa.Text(), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.ForeignKeyConstraint(["crew_id"], ["crews.id"], ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("crew_id"),
    )
    op.create_table(
        "data_items",
        sa.Column("id", sa.Text(), nullable=False, comment="20 hex digits over client, crew and session"),
        sa.Column("client", sa.Text(), nullable=False),
        sa.Column("crew_id", sa.BigInteger(), nullable=False),
        sa.Column("session_id", sa.Text(), nullable=False),
        sa.Column("title", sa.Text(), nullable=True),
        sa.Column("days_date", sa.Date(), nullable=False, comment="the day it began in, in the configured time zone"),
        sa.Column("started_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("ended_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("line_count", sa.Integer(), nullable=False),
        sa.Column("content_hash", sa.LargeBinary(), nullable=False),
        sa.Column("semantic_status", sa.Text(), server_default=sa.text("'pending'"), nullable=False),
        sa.Column("semantic_processed_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("semantic_error", sa.Text(), nullable=True),
        sa.Column("processing_priority", sa.SmallInteger(), server_default=sa.text("1"), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.CheckConstraint(
            "semantic_status IN ('pending', 'queued', 'processing', 'completed', 'failed')",
            name="semantic_status_known",
        ),
        sa.ForeignKeyConstraint(
            ["crew_id"],
            ["crews.id"],
        ),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("crew_id", "session_id"),
    )
    op.create_index("data_items_day", "data_items", ["client", "days_date"], unique=False)
    op.create_index(
        "data_items_queue",
        "data_items",
        [
            "semantic_status",
            sa.literal_column("processing_priority DESC"),
            "days_date",
            sa.literal_column("created_at DESC"),
        ],
        unique=False,
    )
    op.create_index(
        "data_items_recently_processed", "data_items", [sa.literal_column("semantic_processed_at DESC")], unique=False
    )
    op.create_index("data_items_status_by_day", "data_items", ["semantic_status", "days_date"], unique=False)
    op.create_index(
        "data_items_unfinished",
        "data_items",
        ["client", "days_date"],
        unique=False,
        postgresql_where=sa.text("semantic_status <> 'completed'"),
    )
    op.create_table(
        "line_cluster_mapping",
        sa.Column("client", sa.Text(), nullable=False),
        sa.Column("day", sa.Date(), nullable=False),
        sa.Column("conversation_id", sa.Text(), nullable=False),
        sa.Column("position", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("cluster_id", sa.Text(), nullable=False),
        sa.Column("is_canonical", sa.Boolean(), nullable=False),
        sa.Column("similarity", sa.Double(), nullable=False),
        sa.Column("score", sa.Double(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(
            ["client", "day", "cluster_id"],
            ["semantic_clusters.client", "semantic_clusters.day", "semantic_clusters.id"],
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("client", "day", "conversation_id", "position"),
    )
    op.create_index(
        "line_cluster_mapping_cluster", "line_cluster_mapping", ["client", "day", "cluster_id"], unique=False
    )
    op.create_table(
        "lines",
        sa.Column("conversation_id", sa.Text(), nullable=False),
        sa.Column(
            "position",
            sa.BigInteger(),
            autoincrement=False,
            nullable=False,
            comment="the source's own line number or message id",
        ),
        sa.Column("speaker", sa.Text(), nullable=False),
        sa.Column("spoken_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("text", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(["conversation_id"], ["data_items.id"], ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("conversation_id", "position"),
    )
    op.execute(UNCOMPRESSED)
    op.execute(PRIORITY_OF_DAY)


def downgrade() -> None:
    op.execute("DROP FUNCTION priority_of_day(date, date)")
    op.drop_table("lines")
    op.drop_index("line_cluster_mapping_cluster", table_name="line_cluster_mapping")
    op.drop_table("line_cluster_mapping")
    op.drop_index(
        "data_items_unfinished", table_name="data_items", postgresql_where=sa.text("semantic_status <> 'completed'")
    )
    op.drop_index("data_items_status_by_day", table_name="data_items")
    op.drop_index("data_items_recently_processed", table_name="data_items")
    op.drop_index("data_items_queue", table_name="data_items")
    op.drop_index("data_items_day", table_name="data_items")
    op.drop_table("data_items")
    op.drop_table("crew_discovery_state")
    op.drop_table("workers")
    op.drop_table("semantic_clusters")
    op.drop_table("line_embeddings")
    op.drop_index("day_events_day", table_name="day_events")
    op.drop_table("day_events")
    op.drop_index("day_documents_current", table_name="day_documents", postgresql_where=sa.text("is_current"))
    op.drop_table("day_documents")
    op.drop_index("day_claims_token", table_name="day_claims")
    op.drop_index("day_claims_open", table_name="day_claims", postgresql_where=sa.text("ended_at IS NULL"))
    op.drop_index("day_claims_ended", table_name="day_claims")
    op.drop_table("day_claims")
    op.drop_table("crews")
    op.drop_table("api_tokens")
