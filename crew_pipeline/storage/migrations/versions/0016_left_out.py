"""what discovery and imports passed over because it is no talk is kept, by kind."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB

revision = "0016"
down_revision = "0015"
branch_labels = None
depends_on = None

COMMENT = "how much was passed over because it is no talk, by kind"
TABLES = ("crew_discovery_rounds", "crew_discovery_state", "imports")


def upgrade() -> None:
    for table in TABLES:
        op.add_column(
            table, sa.Column("left_out", JSONB(), nullable=False, server_default=sa.text("'{}'"), comment=COMMENT)
        )


def downgrade() -> None:
    for table in TABLES:
        op.drop_column(table, "left_out")
