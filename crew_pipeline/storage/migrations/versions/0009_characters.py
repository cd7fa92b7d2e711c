"""documents count the characters of their texts and of what is folded, and say whether their texts have vectors."""

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
EMBEDDED_BY = "model whose vectors of its texts are all stored"


def upgrade() -> None:
    # Documents of earlier versions do not tell; they are made again, for the engine has changed.
    for column, comment in COLUMNS.items():
        op.add_column("day_documents", sa.Column(column, sa.BigInteger(), nullable=True, comment=comment))
    op.add_column("day_documents", sa.Column("embedded_by", sa.Text(), nullable=True, comment=EMBEDDED_BY))


def downgrade() -> None:
    for column in (*COLUMNS, "embedded_by"):
        op.drop_column("day_documents", column)
