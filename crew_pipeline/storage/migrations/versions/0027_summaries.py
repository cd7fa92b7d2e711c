"""summaries: the sentences that they rest on, what was told of them in prose, and talk that is under way.

The order of columns follows from the schema.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

from crew_pipeline.storage.roles import grant_to_application

revision = "0027"
down_revision = "0026"
branch_labels = None
depends_on = None

_TABLES = ("points", "point_days", "live_talks", "told_prose")


def _client_day() -> list[sa.Column[object]]:
    return [sa.Column("client", sa.Text(), nullable=False), sa.Column("day", sa.Date(), nullable=False)]


def upgrade() -> None:
    op.create_table(
        "points",
        *_client_day(),
        sa.Column("conversation_id", sa.Text(), nullable=False),
        sa.Column("position", sa.BigInteger(), nullable=False),
        sa.Column("first_character", sa.Integer(), nullable=False, comment="of its line, in code points"),
        sa.Column("last_character", sa.Integer(), nullable=False, comment="the first that is not of it"),
        sa.Column("kind", sa.Text(), nullable=False, comment="key, decision, task or question"),
        sa.Column("weight", sa.Integer(), nullable=False, comment="how much of its conversation it stands for"),
        sa.Column("certainty", sa.Double(), nullable=False, comment="that it is of its kind, 0 to 1"),
        sa.Column("times", sa.Integer(), nullable=False, comment="how often it was said that day"),
        sa.Column("vector", sa.LargeBinary(), nullable=False, comment="int8 (dimension,)"),
        sa.PrimaryKeyConstraint("client", "conversation_id", "position", "first_character"),
    )
    op.create_index("points_day", "points", ["client", "day"])
    op.create_index("points_kind", "points", ["client", "kind", "day"])
    op.create_table(
        "point_days",
        *_client_day(),
        sa.Column("version", sa.Text(), nullable=False, comment="of its document"),
        sa.Column("made_by", sa.Text(), nullable=False, comment="whose vectors, and how points were chosen"),
        sa.PrimaryKeyConstraint("client", "day"),
    )
    op.create_table(
        "live_talks",
        sa.Column("client", sa.Text(), nullable=False),
        sa.Column("session_id", sa.Text(), nullable=False),
        sa.Column("seq", sa.BigInteger(), nullable=False, comment="counts what was said"),
        sa.Column("lines", postgresql.JSONB(), nullable=False, comment="said last: speaker and text"),
        sa.Column("updated_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.PrimaryKeyConstraint("client", "session_id"),
    )
    op.create_table(
        "told_prose",
        sa.Column("client", sa.Text(), nullable=False),
        sa.Column("key", sa.Text(), nullable=False, comment="of what it was told from, and by which model"),
        sa.Column("sentences", postgresql.JSONB(), nullable=False),
        sa.Column("tokens", sa.BigInteger(), nullable=False, comment="that it took"),
        sa.Column("told_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.PrimaryKeyConstraint("client", "key"),
    )
    op.create_index("told_prose_at", "told_prose", ["told_at"])
    for table in _TABLES:
        op.execute(f"ALTER TABLE {table} ENABLE ROW LEVEL SECURITY")
        op.execute(f"ALTER TABLE {table} FORCE ROW LEVEL SECURITY")
        op.execute(
            f"CREATE POLICY crew_client ON {table} USING "
            "(current_setting('crew.scope', true) = 'all' "
            "OR client <> '' AND client = current_setting('crew.client', true))"
        )
    grant_to_application(op.get_bind())


def downgrade() -> None:
    for table in reversed(_TABLES):
        op.drop_table(table)
