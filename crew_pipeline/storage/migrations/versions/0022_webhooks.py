"""webhooks, the messages that wait for them, and keys that sources sign with.

The order of columns follows from the schema.
"""

from __future__ import annotations

from datetime import datetime

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

from crew_pipeline.storage.roles import grant_to_application

revision = "0022"
down_revision = "0021"
branch_labels = None
depends_on = None

_TABLES = ("webhooks", "webhook_deliveries", "signing_keys")


def _moment(name: str, *, now: bool = False) -> sa.Column[datetime]:
    default = sa.text("now()") if now else None
    return sa.Column(name, sa.DateTime(timezone=True), server_default=default, nullable=not now)


def upgrade() -> None:
    op.create_table(
        "webhooks",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("client", sa.Text(), nullable=False, comment="empty: the operator's"),
        sa.Column("url", sa.Text(), nullable=False),
        sa.Column("events", postgresql.ARRAY(sa.Text()), nullable=False),
        sa.Column("label", sa.Text(), server_default=sa.text("''"), nullable=False),
        sa.Column("secret", sa.Text(), nullable=False),
        _moment("created_at", now=True),
        _moment("disabled_at"),
        _moment("delivered_at"),
        _moment("leased_until"),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index("ix_webhooks_client", "webhooks", ["client"])
    op.create_table(
        "webhook_deliveries",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("webhook_id", sa.Text(), nullable=False),
        sa.Column("client", sa.Text(), nullable=False),
        sa.Column("message_id", sa.Text(), nullable=False),
        sa.Column("type", sa.Text(), nullable=False),
        sa.Column("body", sa.LargeBinary(), nullable=False),
        _moment("created_at", now=True),
        sa.Column("attempts", sa.Integer(), server_default=sa.text("0"), nullable=False),
        _moment("next_attempt_at"),
        _moment("delivered_at"),
        _moment("dead_at"),
        sa.Column("status", sa.Integer(), nullable=True),
        sa.Column("error", sa.Text(), nullable=True),
        sa.ForeignKeyConstraint(["webhook_id"], ["webhooks.id"], ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index(
        "webhook_deliveries_due",
        "webhook_deliveries",
        ["webhook_id", "next_attempt_at", "id"],
        postgresql_where=sa.text("next_attempt_at IS NOT NULL"),
    )
    op.create_index("webhook_deliveries_of", "webhook_deliveries", ["webhook_id", "id"])
    op.create_table(
        "signing_keys",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("client", sa.Text(), nullable=False),
        sa.Column("label", sa.Text(), server_default=sa.text("''"), nullable=False),
        sa.Column("secret", sa.Text(), nullable=False),
        _moment("created_at", now=True),
        _moment("revoked_at"),
        sa.PrimaryKeyConstraint("id"),
    )
    for table in _TABLES:
        op.execute(f"ALTER TABLE {table} ENABLE ROW LEVEL SECURITY")
        op.execute(f"ALTER TABLE {table} FORCE ROW LEVEL SECURITY")
        op.execute(
            f"CREATE POLICY crew_client ON {table} USING "
            "(current_setting('crew.scope', true) = 'all' "
            "OR client <> '' AND client = current_setting('crew.client', true))"
        )
    grant_to_application(op.get_bind())


def downgrade() -> None:
    for table in ("signing_keys", "webhook_deliveries", "webhooks"):
        op.drop_table(table)
