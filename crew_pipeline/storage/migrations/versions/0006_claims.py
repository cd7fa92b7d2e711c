"""Claims that yield, days that are tried again later, and what readers said of pairs."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None

CLAIM_LIVES = """
CREATE FUNCTION claim_lives(expires_at timestamptz, ttl_s integer) RETURNS boolean LANGUAGE sql STABLE PARALLEL SAFE
RETURN expires_at >= now() AND expires_at <= now() + make_interval(secs => 2 * ttl_s)
"""
OUTCOMES = "completed; retried, failed (set aside); overtaken (died), yielded, paused or released"


def upgrade() -> None:
    op.add_column(
        "data_items",
        sa.Column(
            "retry_at",
            sa.DateTime(timezone=True),
            nullable=True,
            comment="when a failed one is tried again; unset: set aside",
        ),
    )
    op.add_column(
        "day_claims",
        sa.Column(
            "ttl_s", sa.Integer(), server_default=sa.text("60"), nullable=False, comment="without a heartbeat (s)"
        ),
    )
    op.add_column(
        "day_claims",
        sa.Column(
            "background",
            sa.Boolean(),
            server_default=sa.text("false"),
            nullable=False,
            comment="yields to a reader who waits",
        ),
    )
    op.add_column(
        "day_claims",
        sa.Column(
            "wanted_at",
            sa.DateTime(timezone=True),
            nullable=True,
            comment="since when a reader waits for a background claim",
        ),
    )
    op.alter_column(
        "day_claims",
        "outcome",
        comment=OUTCOMES,
        existing_comment="completed, failed, retried, released or overtaken",
        existing_type=sa.Text(),
    )
    op.execute(CLAIM_LIVES)
    op.create_table(
        "pair_readings",
        sa.Column("reader", sa.Text(), nullable=False),
        sa.Column("left_hash", sa.LargeBinary(), nullable=False, comment="the lesser of the two"),
        sa.Column("right_hash", sa.LargeBinary(), nullable=False),
        sa.Column("logit", sa.Double(), nullable=False),
        sa.PrimaryKeyConstraint("reader", "left_hash", "right_hash"),
    )


def downgrade() -> None:
    op.drop_table("pair_readings")
    op.execute("DROP FUNCTION claim_lives(timestamptz, integer)")
    op.alter_column(
        "day_claims",
        "outcome",
        comment="completed, failed, retried, released or overtaken",
        existing_comment=OUTCOMES,
        existing_type=sa.Text(),
    )
    for column in ("wanted_at", "background", "ttl_s"):
        op.drop_column("day_claims", column)
    op.drop_column("data_items", "retry_at")
