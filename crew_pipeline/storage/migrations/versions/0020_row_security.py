"""the database itself keeps clients apart: it shows a transaction the rows of the client that it names, and no others.

What names none sees nothing. ``crew.scope = all`` is for what works across clients: discovery, sweeps, housekeeping.
"""

from __future__ import annotations

from alembic import op

from crew_pipeline.storage.roles import grant_to_application

revision = "0020"
down_revision = "0019"
branch_labels = None
depends_on = None

_ALL = "current_setting('crew.scope', true) = 'all'"
_MINE = "current_setting('crew.client', true)"
_BY_CLIENT = (
    "clients", "crews", "data_items", "semantic_clusters", "line_cluster_mapping", "day_comparisons", "line_pairs",
    "pair_feedback", "day_documents", "preliminary_documents", "day_visits", "day_claims", "day_events", "api_tickets",
    "api_answers",
)  # fmt: skip
_BY_CREW = (
    "crew_discovery_state", "crew_discovery_blocks", "crew_discovery_rounds", "refused_rows", "imports",
    "withdrawn_lines",
)  # fmt: skip
_OTHERS = {
    "lines": "EXISTS (SELECT 1 FROM data_items WHERE data_items.id = conversation_id)",
    "api_tokens": f"{_MINE} = ANY(clients)",
    "api_sign_ins": "EXISTS (SELECT 1 FROM api_tokens WHERE api_tokens.id = token_id)",
}


def _policies() -> dict[str, str]:
    """Which rows a transaction sees, by table. The tables that others are looked up in have policies of their own."""
    return {
        **dict.fromkeys(_BY_CLIENT, f"client = {_MINE}"),
        **dict.fromkeys(_BY_CREW, "EXISTS (SELECT 1 FROM crews WHERE crews.id = crew_id)"),
        **_OTHERS,
    }


def upgrade() -> None:
    for table, sees in _policies().items():
        op.execute(f"ALTER TABLE {table} ENABLE ROW LEVEL SECURITY")
        op.execute(f"ALTER TABLE {table} FORCE ROW LEVEL SECURITY")
        op.execute(f"CREATE POLICY crew_client ON {table} USING ({_ALL} OR {sees})")
    grant_to_application(op.get_bind())


def downgrade() -> None:
    for table in _policies():
        op.execute(f"DROP POLICY crew_client ON {table}")
        op.execute(f"ALTER TABLE {table} NO FORCE ROW LEVEL SECURITY")
        op.execute(f"ALTER TABLE {table} DISABLE ROW LEVEL SECURITY")
