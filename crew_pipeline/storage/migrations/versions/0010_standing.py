"""documents name the standing texts of their day, so that it can be told since when each has been as it is."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None

COMMENT = "standing texts of its day, one for each voice that has one"


def upgrade() -> None:
    op.add_column("day_documents", sa.Column("standing", JSONB(), nullable=False, server_default="[]", comment=COMMENT))
    condition = sa.text("is_current AND standing <> '[]'::jsonb")
    op.create_index("day_documents_standing", "day_documents", ["client", "day"], postgresql_where=condition)
    # Days that their last conversation has left were made anew without end.
    op.execute(
        "UPDATE day_documents SET is_current = false WHERE is_current AND NOT EXISTS (SELECT 1 FROM data_items "
        "WHERE data_items.client = day_documents.client AND data_items.days_date = day_documents.day)"
    )


def downgrade() -> None:
    op.drop_index("day_documents_standing", "day_documents")
    op.drop_column("day_documents", "standing")
