"""tokens say for what and how long they are good; browsers sign in by a cookie of their own; tickets for sockets.

The order of columns follows from when they were added. `client` of a token stays for the version before.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import ARRAY

revision = "0018"
down_revision = "0017"
branch_labels = None
depends_on = None

_CLIENTS = "whose days it opens; the first unless named"
_SCOPES = "read, write, admin (the operator's pages)"


def upgrade() -> None:
    op.alter_column("api_tokens", "client", comment="the first of its clients; empty: it opens no client's days")
    moment = sa.DateTime(timezone=True)
    op.add_column(
        "api_tokens",
        sa.Column(
            "label", sa.Text(), server_default="", nullable=False, comment="what it is for, in its maker's words"
        ),
    )
    op.add_column("api_tokens", sa.Column("clients", ARRAY(sa.Text()), nullable=True, comment=_CLIENTS))
    op.add_column("api_tokens", sa.Column("scopes", ARRAY(sa.Text()), nullable=True, comment=_SCOPES))
    op.add_column("api_tokens", sa.Column("expires_at", moment, nullable=True))
    op.add_column("api_tokens", sa.Column("last_used_at", moment, nullable=True, comment="written down once a minute"))
    op.execute("UPDATE api_tokens SET clients = ARRAY[client], scopes = ARRAY['read', 'write']")
    for name in ("clients", "scopes"):
        op.alter_column("api_tokens", name, nullable=False)
    op.create_table(
        "api_sign_ins",
        sa.Column("cookie_hash", sa.LargeBinary(), nullable=False),
        sa.Column("token_id", sa.BigInteger(), nullable=False),
        sa.Column("created_at", moment, server_default=sa.text("now()"), nullable=False),
        sa.Column("expires_at", moment, nullable=False),
        sa.ForeignKeyConstraint(["token_id"], ["api_tokens.id"], ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("cookie_hash"),
    )
    op.create_index("ix_api_sign_ins_token_id", "api_sign_ins", ["token_id"])
    op.create_table(
        "api_tickets",
        sa.Column("ticket_hash", sa.LargeBinary(), nullable=False),
        sa.Column("credential", sa.LargeBinary(), nullable=True, comment="hash of the token or cookie it was made for"),
        sa.Column("client", sa.Text(), nullable=False),
        sa.Column("expires_at", moment, nullable=False),
        sa.PrimaryKeyConstraint("ticket_hash"),
    )


def downgrade() -> None:
    op.drop_table("api_tickets")
    op.drop_table("api_sign_ins")
    for name in ("last_used_at", "expires_at", "scopes", "clients", "label"):
        op.drop_column("api_tokens", name)
    op.alter_column("api_tokens", "client", comment=None)
