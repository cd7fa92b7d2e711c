"""pairs are judged with a direction: which text may be hidden under which."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None

READINGS = ("left_covers", "right_covers", "own", "formula")


def upgrade() -> None:
    # What was judged without a direction tells nothing; it is judged again when the day is next made.
    op.execute("DELETE FROM day_comparisons")
    op.execute("DELETE FROM pair_readings")
    op.drop_column("day_comparisons", "whole")
    for column in ("probability", "probability_same", "settled"):
        op.drop_column("line_pairs", column)
    for column, comment in (
        ("left_under", "probability that the left text may be hidden under the right one"),
        ("right_under", "probability that the right text may be hidden under the left one"),
    ):
        op.add_column("line_pairs", sa.Column(column, sa.Double(), nullable=False, comment=comment))
    op.drop_column("pair_readings", "logit")
    for column in READINGS:
        op.add_column("pair_readings", sa.Column(column, sa.Double(), nullable=False))


def downgrade() -> None:
    op.execute("DELETE FROM day_comparisons")
    op.execute("DELETE FROM pair_readings")
    for column in READINGS:
        op.drop_column("pair_readings", column)
    op.add_column("pair_readings", sa.Column("logit", sa.Double(), nullable=False))
    for column in ("left_under", "right_under"):
        op.drop_column("line_pairs", column)
    for column, comment in (
        ("probability", "of being a duplicate when two people say them"),
        ("probability_same", "the same when one speaker says both"),
    ):
        op.add_column("line_pairs", sa.Column(column, sa.Double(), nullable=False, comment=comment))
    settled = "false for a pair in doubt that no lines could fold by"
    op.add_column("line_pairs", sa.Column("settled", sa.Boolean(), nullable=False, comment=settled))
    whole = "whether every pair above the usual floor was judged"
    op.add_column("day_comparisons", sa.Column("whole", sa.Boolean(), nullable=False, comment=whole))
