"""Discovery that reads what is new: watermarks, rounds, alerts; clients of their own."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


TOTALS = (
    "total_rounds",
    "total_failures",
    "total_scanned",
    "total_created",
    "total_changed",
    "total_skipped",
    "total_refused",
)

ENGINE_FOR_CLIENT = """
CREATE OR REPLACE FUNCTION engine_for_client(of_client text, engine text) RETURNS text LANGUAGE sql STABLE PARALLEL SAFE
AS $$
SELECT CASE WHEN strpos(engine, ':') = 0 THEN engine ELSE split_part(engine, ':', 1) || ':' || coalesce(
    (SELECT folding FROM {table} WHERE client = of_client), split_part(engine, ':', 2)) END
$$
"""

FIRST_POSITIONS = """
UPDATE data_items SET first_position = whole.first_position
FROM (SELECT conversation_id, min(position) AS first_position FROM lines GROUP BY conversation_id) AS whole
WHERE id = conversation_id
"""


def upgrade() -> None:
    op.create_table(
        "alerts",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("subject", sa.Text(), nullable=False),
        sa.Column("message", sa.Text(), nullable=False),
        sa.Column("raised_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("seen_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("resolved_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column(
            "told_raised",
            sa.Boolean(),
            server_default=sa.text("false"),
            nullable=False,
            comment="the webhook has been told",
        ),
        sa.Column("told_resolved", sa.Boolean(), server_default=sa.text("false"), nullable=False),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index(
        "alerts_open", "alerts", ["kind", "subject"], unique=True, postgresql_where=sa.text("resolved_at IS NULL")
    )
    op.rename_table("client_settings", "clients")
    op.alter_column(
        "clients",
        "folding",
        nullable=True,
        comment="operating point: strict, balanced or loose; unset: the system's",
        existing_comment="operating point: strict, balanced or loose",
    )
    op.add_column(
        "clients",
        sa.Column(
            "active",
            sa.Boolean(),
            server_default=sa.text("true"),
            nullable=False,
            comment="whether its crews are discovered",
        ),
    )
    op.add_column(
        "clients", sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False)
    )
    op.execute("INSERT INTO clients (client) SELECT DISTINCT client FROM crews ON CONFLICT DO NOTHING")
    op.execute(ENGINE_FOR_CLIENT.format(table="clients"))
    op.create_table(
        "crew_discovery_blocks",
        sa.Column("crew_id", sa.BigInteger(), nullable=False),
        sa.Column("block", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("rows", sa.BigInteger(), nullable=False),
        sa.Column("keys_sum", sa.Numeric(), nullable=False, comment="sum of the rows' keys"),
        sa.ForeignKeyConstraint(["crew_id"], ["crews.id"], ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("crew_id", "block"),
    )
    op.create_table(
        "crew_discovery_rounds",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("crew_id", sa.BigInteger(), nullable=False),
        sa.Column("trigger", sa.Text(), nullable=False),
        sa.Column("started_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("seconds", sa.Double(), nullable=False),
        sa.Column("rows_read", sa.Integer(), nullable=False),
        sa.Column("sessions_scanned", sa.Integer(), nullable=False),
        sa.Column("sessions_created", sa.Integer(), nullable=False),
        sa.Column("sessions_changed", sa.Integer(), nullable=False),
        sa.Column("sessions_skipped", sa.Integer(), nullable=False),
        sa.Column("sessions_failed", sa.Integer(), nullable=False, comment="with a row that was refused"),
        sa.Column("rows_refused", sa.Integer(), nullable=False),
        sa.Column("finished", sa.Boolean(), nullable=False, comment="false where time ran out; the next round goes on"),
        sa.Column("error", sa.Text(), nullable=True),
        sa.ForeignKeyConstraint(["crew_id"], ["crews.id"], ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index("crew_discovery_rounds_crew", "crew_discovery_rounds", ["crew_id", "id"], unique=False)
    op.create_table(
        "refused_rows",
        sa.Column("crew_id", sa.BigInteger(), nullable=False),
        sa.Column("row", sa.Text(), nullable=False, comment="the source's id or time of the row"),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("refused_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.ForeignKeyConstraint(["crew_id"], ["crews.id"], ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("crew_id", "row"),
    )
    op.create_table(
        "withdrawn_lines",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("crew_id", sa.BigInteger(), nullable=False),
        sa.Column("session_id", sa.Text(), nullable=False),
        sa.Column("position", sa.BigInteger(), nullable=False),
        sa.Column("speaker", sa.Text(), nullable=False),
        sa.Column("spoken_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("text", sa.Text(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("withdrawn_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.ForeignKeyConstraint(["crew_id"], ["crews.id"], ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index("withdrawn_lines_session", "withdrawn_lines", ["crew_id", "session_id"], unique=False)
    op.add_column(
        "crew_discovery_state",
        sa.Column(
            "watermark", postgresql.JSONB(astext_type=sa.Text()), nullable=True, comment="see discovery/watermark.py"
        ),
    )
    op.add_column("crew_discovery_state", sa.Column("last_round_at", sa.DateTime(timezone=True), nullable=True))
    op.add_column(
        "crew_discovery_state",
        sa.Column(
            "next_attempt_at",
            sa.DateTime(timezone=True),
            nullable=True,
            comment="until then background rounds leave it alone",
        ),
    )
    op.add_column(
        "crew_discovery_state", sa.Column("total_seconds", sa.Double(), server_default=sa.text("0"), nullable=False)
    )
    for name in TOTALS:
        op.add_column(
            "crew_discovery_state", sa.Column(name, sa.BigInteger(), server_default=sa.text("0"), nullable=False)
        )
    op.alter_column(
        "crew_discovery_state",
        "last_discovered_at",
        existing_type=postgresql.TIMESTAMP(timezone=True),
        comment="end of the last round that succeeded",
        existing_nullable=True,
    )
    op.add_column(
        "crews",
        sa.Column(
            "columns",
            postgresql.JSONB(astext_type=sa.Text()),
            server_default=sa.text("'{}'"),
            nullable=False,
            comment="column by field, where it is not to be guessed",
        ),
    )
    op.create_foreign_key("crews_client_fkey", "crews", "clients", ["client"], ["client"])
    op.add_column(
        "data_items",
        sa.Column(
            "first_position", sa.BigInteger(), server_default=sa.text("0"), nullable=False, comment="least of its lines"
        ),
    )
    op.add_column(
        "data_items",
        sa.Column(
            "times_inferred",
            sa.Boolean(),
            server_default=sa.text("false"),
            nullable=False,
            comment="the source tells no time: it is when lines were first seen",
        ),
    )
    op.add_column(
        "data_items",
        sa.Column(
            "from_history",
            sa.Boolean(),
            server_default=sa.text("false"),
            nullable=False,
            comment="read from a history table, which may lose it",
        ),
    )
    op.add_column(
        "data_items",
        sa.Column(
            "source_deleted_at",
            sa.DateTime(timezone=True),
            nullable=True,
            comment="when its source was found to have lost it",
        ),
    )
    op.drop_index(op.f("data_items_day"), table_name="data_items")
    op.create_index("data_items_day", "data_items", ["client", "days_date", "started_at", "id"], unique=False)
    op.create_index("data_items_crew", "data_items", ["crew_id", "days_date", "started_at", "id"], unique=False)
    op.create_index("data_items_first_position", "data_items", ["crew_id", "first_position"], unique=False)
    op.execute(FIRST_POSITIONS)


def downgrade() -> None:
    op.drop_index("data_items_first_position", table_name="data_items")
    op.drop_index("data_items_crew", table_name="data_items")
    op.drop_index("data_items_day", table_name="data_items")
    op.create_index(op.f("data_items_day"), "data_items", ["client", "days_date"], unique=False)
    op.drop_column("data_items", "source_deleted_at")
    op.drop_column("data_items", "from_history")
    op.drop_column("data_items", "times_inferred")
    op.drop_column("data_items", "first_position")
    op.drop_constraint("crews_client_fkey", "crews", type_="foreignkey")
    op.drop_column("crews", "columns")
    op.alter_column(
        "crew_discovery_state",
        "last_discovered_at",
        existing_type=postgresql.TIMESTAMP(timezone=True),
        comment=None,
        existing_comment="end of the last round that succeeded",
        existing_nullable=True,
    )
    for name in ("total_seconds", *TOTALS):
        op.drop_column("crew_discovery_state", name)
    op.drop_column("crew_discovery_state", "next_attempt_at")
    op.drop_column("crew_discovery_state", "last_round_at")
    op.drop_column("crew_discovery_state", "watermark")
    op.drop_index("withdrawn_lines_session", table_name="withdrawn_lines")
    op.drop_table("withdrawn_lines")
    op.drop_table("refused_rows")
    op.drop_index("crew_discovery_rounds_crew", table_name="crew_discovery_rounds")
    op.drop_table("crew_discovery_rounds")
    op.drop_table("crew_discovery_blocks")
    op.execute("DELETE FROM clients WHERE folding IS NULL")
    op.drop_column("clients", "created_at")
    op.drop_column("clients", "active")
    op.alter_column(
        "clients",
        "folding",
        nullable=False,
        comment="operating point: strict, balanced or loose",
        existing_comment="operating point: strict, balanced or loose; unset: the system's",
    )
    op.rename_table("clients", "client_settings")
    op.execute(ENGINE_FOR_CLIENT.format(table="client_settings"))
    op.drop_index("alerts_open", table_name="alerts", postgresql_where=sa.text("resolved_at IS NULL"))
    op.drop_table("alerts")
