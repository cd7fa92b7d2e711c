"""people may say that a passage is always shown, or a standing text never."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import ARRAY

revision = "0013"
down_revision = "0012"
branch_labels = None
depends_on = None

COMMENT = "hashes of the passages that are always shown"
VERDICTS = "same, different, show (passages) or hide (a standing text)"


def upgrade() -> None:
    op.add_column(
        "pair_feedback",
        sa.Column("passages", ARRAY(sa.LargeBinary()), nullable=False, server_default="{}", comment=COMMENT),
    )
    op.alter_column("pair_feedback", "verdict", comment=VERDICTS, existing_comment="same or different")


def downgrade() -> None:
    # An older version would take what was said of passages for a pair.
    op.execute("DELETE FROM pair_feedback WHERE verdict IN ('show', 'hide')")
    op.alter_column("pair_feedback", "verdict", comment="same or different", existing_comment=VERDICTS)
    op.drop_column("pair_feedback", "passages")
