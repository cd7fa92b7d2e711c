"""documents know how long their day was in work, so that an answer with the same tag has the same bytes."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0012"
down_revision = "0011"
branch_labels = None
depends_on = None

COMMENT = "from the claim to the document (ms)"


def upgrade() -> None:
    op.add_column(
        "day_documents", sa.Column("processing_ms", sa.Double(), nullable=False, server_default="0", comment=COMMENT)
    )


def downgrade() -> None:
    op.drop_column("day_documents", "processing_ms")
