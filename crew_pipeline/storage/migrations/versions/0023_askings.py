"""day_askings: which request asked for a day, for its trace.

The order of columns follows from the schema.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from crew_pipeline.storage.roles import grant_to_application

revision = "0023"
down_revision = "0022"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "day_askings",
        sa.Column("client", sa.Text(), nullable=False),
        sa.Column("day", sa.Date(), nullable=False),
        sa.Column("traceparent", sa.Text(), nullable=False),
        sa.Column("asked_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.PrimaryKeyConstraint("client", "day"),
    )
    op.execute("ALTER TABLE day_askings ENABLE ROW LEVEL SECURITY")
    op.execute("ALTER TABLE day_askings FORCE ROW LEVEL SECURITY")
    op.execute(
        "CREATE POLICY crew_client ON day_askings USING "
        "(current_setting('crew.scope', true) = 'all' "
        "OR client <> '' AND client = current_setting('crew.client', true))"
    )
    grant_to_application(op.get_bind())


def downgrade() -> None:
    op.drop_table("day_askings")
