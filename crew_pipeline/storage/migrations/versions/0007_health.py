"""Samples of the system's health."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None


def upgrade() -> None:
    moment = sa.DateTime(timezone=True)
    op.create_table(
        "health_samples",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=True), primary_key=True),
        sa.Column("taken_at", moment, server_default=sa.text("now()"), nullable=False),
        sa.Column("host", sa.Text(), nullable=False, comment="machine that processor, memory and disk are measured on"),
        sa.Column("days_waiting", sa.Integer(), nullable=False, comment="clients' days that nobody works at"),
        sa.Column("conversations_waiting", sa.Integer(), nullable=False),
        sa.Column("days_asked", sa.Integer(), nullable=False, comment="of the days waiting, those that were asked for"),
        sa.Column("oldest_day", sa.Date(), comment="of those waiting"),
        sa.Column("waiting_since", moment, comment="since when the conversation that waits longest does"),
        sa.Column("days_failed", sa.Integer(), nullable=False),
        sa.Column("workers", sa.Integer(), nullable=False, comment="warm workers alive"),
        sa.Column("worker_heartbeat_age_s", sa.Double(), comment="of the freshest"),
        sa.Column("daemon_heartbeat_age_s", sa.Double(), comment="of Dagster's daemon; null: it has never beaten"),
        sa.Column("cpu_percent", sa.Double(), nullable=False),
        sa.Column("memory_free_mb", sa.Integer(), nullable=False, comment="available to processes (MB)"),
        sa.Column("disk_free_mb", sa.Integer(), comment="where the data directory is (MB); null: there is none"),
        sa.Column("runs_ended", sa.Integer(), nullable=False, comment="claims that ended within the hour before"),
        sa.Column("runs_failed", sa.Integer(), nullable=False, comment="of these, failed, retried or overtaken"),
    )
    op.create_index("health_samples_taken", "health_samples", [sa.text("taken_at DESC")])


def downgrade() -> None:
    op.drop_table("health_samples")
