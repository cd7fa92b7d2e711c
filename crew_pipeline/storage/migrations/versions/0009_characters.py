"""documents count the characters of their texts, and of what is folded in them."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None

COLUMNS = {
    "character_count": "code points of all texts",
    "hidden_character_count": "of hidden lines and of what repeats in visible ones",
}


def upgrade() -> None:
    # Documents of earlier versions do not tell; they are made again, for the engine has changed.
    for column, comment in COLUMNS.items():
        op.add_column("day_documents", sa.Column(column, sa.BigInteger(), nullable=True, comment=comment))


def downgrade() -> None:
    for column in COLUMNS:
        op.drop_column("day_documents", column)
