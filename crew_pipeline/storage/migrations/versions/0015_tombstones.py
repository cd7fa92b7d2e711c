"""what was forgotten on request stays out, known by hashes alone."""

from __future__ import annotations

import secrets

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import ARRAY

revision = "0015"
down_revision = "0014"
branch_labels = None
depends_on = None

SCOPE = "hash of client, crew and session, as far as they are named"
RETIRED = "hash of the id that no other conversation may bear"


def upgrade() -> None:
    op.create_table(
        "tombstones",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False, comment="line, conversation, span, crew or client"),
        sa.Column("digests", ARRAY(sa.LargeBinary()), nullable=False, comment="hashes of single lines"),
        sa.Column("lines", sa.BigInteger(), nullable=False),
        sa.Column("forgotten_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_table(
        "tombstone_covers",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("tombstone_id", sa.BigInteger(), nullable=False),
        sa.Column("scope", sa.LargeBinary(), nullable=False, comment=SCOPE),
        sa.Column("retired", sa.LargeBinary(), nullable=True, comment=RETIRED),
        sa.Column("begins_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("ends_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(["tombstone_id"], ["tombstones.id"], ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index("tombstone_covers_scope", "tombstone_covers", ["scope"])
    op.create_index("tombstone_covers_retired", "tombstone_covers", ["retired"])
    op.create_table(
        "tombstone_secret", sa.Column("secret", sa.Text(), nullable=False), sa.PrimaryKeyConstraint("secret")
    )
    op.get_bind().execute(sa.text("INSERT INTO tombstone_secret VALUES (:secret)"), {"secret": secrets.token_hex(16)})


def downgrade() -> None:
    op.drop_table("tombstone_secret")
    op.drop_table("tombstone_covers")
    op.drop_table("tombstones")
