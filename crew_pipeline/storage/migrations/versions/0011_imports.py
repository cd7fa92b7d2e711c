"""imports are on record, and lines know which one brought them, so that one can be taken back."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None

BROUGHT_BY = "import that brought it as it is; none for rows of a history table"
WITHDRAWN_BY = "import that took it away"


def upgrade() -> None:
    op.create_table(
        "imports",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=True), primary_key=True),
        sa.Column("crew_id", sa.BigInteger(), sa.ForeignKey("crews.id", ondelete="CASCADE"), nullable=False),
        sa.Column("file", sa.Text(), nullable=False, comment="name of the file or folder, without where it lay"),
        sa.Column("format", sa.Text(), nullable=False),
        sa.Column("conversations_new", sa.BigInteger(), nullable=False),
        sa.Column("lines_new", sa.BigInteger(), nullable=False),
        sa.Column("lines_changed", sa.BigInteger(), nullable=False),
        sa.Column("lines_withdrawn", sa.BigInteger(), nullable=False),
        sa.Column("imported_at", sa.TIMESTAMP(timezone=True), server_default=sa.func.now(), nullable=False),
        sa.Column("undone_at", sa.TIMESTAMP(timezone=True), nullable=True),
    )
    op.create_index("imports_crew", "imports", ["crew_id"])
    op.add_column("lines", sa.Column("import_id", sa.BigInteger(), nullable=True, comment=BROUGHT_BY))
    op.add_column("withdrawn_lines", sa.Column("import_id", sa.BigInteger(), nullable=True, comment=BROUGHT_BY))
    op.add_column("withdrawn_lines", sa.Column("withdrawn_by", sa.BigInteger(), nullable=True, comment=WITHDRAWN_BY))


def downgrade() -> None:
    op.drop_column("withdrawn_lines", "withdrawn_by")
    op.drop_column("withdrawn_lines", "import_id")
    op.drop_column("lines", "import_id")
    op.drop_table("imports")
