"""a client may have a time zone of its own.

The order of columns follows from when they were added.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0017"
down_revision = "0016"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column(
        "clients",
        sa.Column("timezone", sa.Text(), nullable=True, comment="IANA time zone of its days; unset: the system's"),
    )


def downgrade() -> None:
    op.drop_column("clients", "timezone")
