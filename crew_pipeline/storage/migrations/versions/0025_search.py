"""clients know when something of theirs was erased or embedded, which indexes of search follow.

The order of columns follows from the schema.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0025"
down_revision = "0024"
branch_labels = None
depends_on = None

_COLUMNS = {
    "forgotten_at": "when something was last erased on request",
    "embedded_at": "when a day last got the vectors of its texts",
}


def upgrade() -> None:
    for name, comment in _COLUMNS.items():
        op.add_column("clients", sa.Column(name, sa.DateTime(timezone=True), nullable=True, comment=comment))


def downgrade() -> None:
    for name in _COLUMNS:
        op.drop_column("clients", name)
