"""line_embeddings and pair_readings by client: what was kept for one tells no other whether it was said before.

Where there is one client, all rows are its own. Where there are more, nobody knows whose a row is: they go, and are
made again when they are needed.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0024"
down_revision = "0023"
branch_labels = None
depends_on = None

_KEYS = {"line_embeddings": ["model", "text_hash"], "pair_readings": ["reader", "left_hash", "right_hash"]}


def upgrade() -> None:
    connection = op.get_bind()
    # The owner of the tables is held by row security as well.
    op.execute("SELECT set_config('crew.scope', 'all', true)")
    clients = list(connection.scalars(sa.text("SELECT DISTINCT client FROM data_items ORDER BY client LIMIT 2")))
    for table, key in _KEYS.items():
        if len(clients) != 1:
            op.execute(f"TRUNCATE {table}")
        # A default that is dropped again fills a table of any size at once.
        given = sa.Column("client", sa.Text(), nullable=False, server_default=clients[0] if clients else "")
        op.add_column(table, given)
        # Processes of the version before name no client: what they keep for one that they are narrowed to is its own,
        # the rest is nobody's, and looked up by nobody.
        op.alter_column(table, "client", server_default=sa.text("coalesce(current_setting('crew.client', true), '')"))
        op.drop_constraint(f"{table}_pkey", table, type_="primary")
        op.create_primary_key(f"{table}_pkey", table, ["client", *key])
        op.execute(f"ALTER TABLE {table} ENABLE ROW LEVEL SECURITY")
        op.execute(f"ALTER TABLE {table} FORCE ROW LEVEL SECURITY")
        op.execute(
            f"CREATE POLICY crew_client ON {table} USING "
            "(current_setting('crew.scope', true) = 'all' "
            "OR client <> '' AND client = current_setting('crew.client', true))"
        )
    if len(clients) > 1:
        op.execute("UPDATE day_documents SET embedded_by = NULL")


def downgrade() -> None:
    op.execute("SELECT set_config('crew.scope', 'all', true)")
    for table, key in _KEYS.items():
        op.execute(f"TRUNCATE {table}")
        op.execute(f"DROP POLICY crew_client ON {table}")
        op.execute(f"ALTER TABLE {table} DISABLE ROW LEVEL SECURITY")
        op.execute(f"ALTER TABLE {table} NO FORCE ROW LEVEL SECURITY")
        op.drop_constraint(f"{table}_pkey", table, type_="primary")
        op.drop_column(table, "client")
        op.create_primary_key(f"{table}_pkey", table, key)
    op.execute("UPDATE day_documents SET embedded_by = NULL")
