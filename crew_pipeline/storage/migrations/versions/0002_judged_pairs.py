"""judged pairs, what people say about them, and settings of a client."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

# An engine is written "fingerprint:operating point"; a client may have an operating point of its own.
ENGINE_FOR_CLIENT = """
CREATE FUNCTION engine_for_client(of_client text, engine text) RETURNS text LANGUAGE sql STABLE PARALLEL SAFE
AS $$
SELECT CASE WHEN strpos(engine, ':') = 0 THEN engine ELSE split_part(engine, ':', 1) || ':' || coalesce(
    (SELECT folding FROM client_settings WHERE client = of_client), split_part(engine, ':', 2)) END
$$
"""


def upgrade() -> None:
    op.create_table(
        "client_settings",
        sa.Column("client", sa.Text(), nullable=False),
        sa.Column("folding", sa.Text(), nullable=False, comment="operating point: strict, balanced or loose"),
        sa.PrimaryKeyConstraint("client"),
    )
    op.create_table(
        "day_comparisons",
        sa.Column("client", sa.Text(), nullable=False),
        sa.Column("day", sa.Date(), nullable=False),
        sa.Column("judgement", sa.Text(), nullable=False, comment="fingerprint of what the verdicts rest on"),
        sa.Column("stage", sa.Text(), nullable=False),
        sa.Column("texts", postgresql.ARRAY(sa.LargeBinary()), nullable=False, comment="hashes, ascending"),
        sa.Column("candidates", sa.Integer(), nullable=False),
        sa.Column("whole", sa.Boolean(), nullable=False, comment="whether every pair above the usual floor was judged"),
        sa.PrimaryKeyConstraint("client", "day"),
    )
    op.create_table(
        "line_pairs",
        sa.Column("client", sa.Text(), nullable=False),
        sa.Column("day", sa.Date(), nullable=False),
        sa.Column("left_hash", sa.LargeBinary(), nullable=False),
        sa.Column("right_hash", sa.LargeBinary(), nullable=False),
        sa.Column("similarity", sa.Double(), nullable=False),
        sa.Column("probability", sa.Double(), nullable=False, comment="of being a duplicate when two people say them"),
        sa.Column("probability_same", sa.Double(), nullable=False, comment="the same when one speaker says both"),
        sa.Column(
            "settled", sa.Boolean(), nullable=False, comment="false for a pair in doubt that no lines could fold by"
        ),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(
            ["client", "day"], ["day_comparisons.client", "day_comparisons.day"], ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("client", "day", "left_hash", "right_hash"),
    )
    op.create_table(
        "pair_feedback",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("client", sa.Text(), nullable=False),
        sa.Column("verdict", sa.Text(), nullable=False, comment="same or different"),
        sa.Column("left_hash", sa.LargeBinary(), nullable=False),
        sa.Column("right_hash", sa.LargeBinary(), nullable=False),
        sa.Column("left_text", sa.Text(), nullable=False),
        sa.Column("right_text", sa.Text(), nullable=False),
        sa.Column("left_speaker", sa.Text(), nullable=False),
        sa.Column("right_speaker", sa.Text(), nullable=False),
        sa.Column("day", sa.Date(), nullable=False, comment="where it was said"),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("undone_at", sa.DateTime(timezone=True), nullable=True),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index("pair_feedback_client", "pair_feedback", ["client", "id"])
    op.add_column(
        "day_claims",
        sa.Column("wishes", sa.Text(), nullable=True, comment="what readers and settings asked for when it was folded"),
    )
    op.alter_column("line_cluster_mapping", "score", new_column_name="probability")
    op.execute(ENGINE_FOR_CLIENT)


def downgrade() -> None:
    op.execute("DROP FUNCTION engine_for_client(text, text)")
    op.alter_column("line_cluster_mapping", "probability", new_column_name="score")
    op.drop_column("day_claims", "wishes")
    for table in ("pair_feedback", "line_pairs", "day_comparisons", "client_settings"):
        op.drop_table(table)
