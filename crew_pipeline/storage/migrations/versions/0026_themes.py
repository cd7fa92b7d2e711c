"""themes: what a client's days are about.

The order of columns follows from the schema.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

from crew_pipeline.storage.roles import grant_to_application

revision = "0026"
down_revision = "0025"
branch_labels = None
depends_on = None

_TABLES = ("theme_states", "themes", "topics", "theme_segments", "theme_days")


def _text(name: str, comment: str | None = None, *, optional: bool = False) -> sa.Column[str]:
    return sa.Column(name, sa.Text(), nullable=optional, comment=comment)


def _number(name: str, comment: str | None = None, *, optional: bool = False) -> sa.Column[int]:
    return sa.Column(name, sa.BigInteger(), nullable=optional, comment=comment)


def _words(name: str, comment: str | None = None) -> sa.Column[list[str]]:
    return sa.Column(name, postgresql.ARRAY(sa.Text()), server_default=sa.text("'{}'"), nullable=False, comment=comment)


def upgrade() -> None:
    op.create_table(
        "theme_states",
        _text("client"),
        sa.Column(
            "model",
            sa.Text(),
            server_default=sa.text("''"),
            nullable=False,
            comment="whose vectors they were made from",
        ),
        sa.Column(
            "next_id", sa.BigInteger(), server_default=sa.text("1"), nullable=False, comment="never given before"
        ),
        sa.Column(
            "fitted_with",
            sa.Integer(),
            server_default=sa.text("0"),
            nullable=False,
            comment="segments when topics were fitted last",
        ),
        sa.Column("fitted_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("mean", sa.LargeBinary(), nullable=True, comment="of all segments' vectors: int8 (dimension,)"),
        sa.Column(
            "corrections",
            sa.BigInteger(),
            server_default=sa.text("0"),
            nullable=False,
            comment="how many times a person has changed something",
        ),
        sa.Column(
            "named",
            sa.BigInteger(),
            server_default=sa.text("-1"),
            nullable=False,
            comment="corrections when themes were named last; -1: they are not",
        ),
        _words("forbidden", "words that are in no theme's name"),
        sa.Column(
            "patterns",
            postgresql.JSONB(),
            server_default=sa.text("'{}'"),
            nullable=False,
            comment="when themes are spoken of, and which together",
        ),
        sa.PrimaryKeyConstraint("client"),
    )
    op.create_table(
        "themes",
        _text("client"),
        _number("id"),
        _text("kind", "found; made or seed: by a person"),
        _text("name", "given by a person", optional=True),
        _words("words", "that tell it from others, best first"),
        _text("conversation_id", "of the line that stands for it best", optional=True),
        _number("position", optional=True),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        _number("merged_into", "theme that a person has put it in", optional=True),
        sa.PrimaryKeyConstraint("client", "id"),
    )
    op.create_table(
        "topics",
        _text("client"),
        _number("id"),
        _number("theme_id"),
        sa.Column("is_pinned", sa.Boolean(), nullable=False, comment="put there by a person: stays where it is"),
        sa.Column("centre", sa.LargeBinary(), nullable=False, comment="int8 (dimension,)"),
        sa.Column(
            "lead",
            sa.Double(),
            server_default=sa.text("0"),
            nullable=False,
            comment="how much nearer it counts than it is (cosine)",
        ),
        _words("words"),
        _text("moved_from", "conversation of the line that a person has put there", optional=True),
        sa.PrimaryKeyConstraint("client", "id"),
    )
    op.create_index("topics_of", "topics", ["client", "theme_id"])
    op.create_table(
        "theme_segments",
        _text("client"),
        _text("conversation_id"),
        _number("first_position"),
        _number("last_position"),
        sa.Column("day", sa.Date(), nullable=False),
        sa.Column("started_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("weight", sa.Integer(), nullable=False, comment="words, counted as often as they were said"),
        sa.Column("vector", sa.LargeBinary(), nullable=False, comment="int8 (dimension,)"),
        _number("topic_id", optional=True),
        sa.Column("near", sa.Double(), nullable=True, comment="cosine with its topic's centre"),
        sa.PrimaryKeyConstraint("client", "conversation_id", "first_position"),
    )
    op.create_index("theme_segments_of", "theme_segments", ["client", "topic_id", "day"])
    op.create_index("theme_segments_day", "theme_segments", ["client", "day"])
    op.create_table(
        "theme_days",
        _text("client"),
        sa.Column("day", sa.Date(), nullable=False),
        _text("version", "of its document"),
        sa.PrimaryKeyConstraint("client", "day"),
    )
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
