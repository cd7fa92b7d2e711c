"""How readers were served."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "day_visits",
        sa.Column("client", sa.Text(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False, comment="hit, stale or miss"),
        sa.Column("hour", sa.DateTime(timezone=True), nullable=False),
        sa.Column("visits", sa.BigInteger(), nullable=False),
        sa.Column("milliseconds", sa.Double(), nullable=False, comment="of all of them together"),
        sa.PrimaryKeyConstraint("client", "kind", "hour"),
    )
    op.create_index("day_visits_hour", "day_visits", ["hour"])


def downgrade() -> None:
    op.drop_table("day_visits")
