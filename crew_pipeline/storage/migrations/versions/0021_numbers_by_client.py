"""events and verdicts are numbered by client, so that nobody's numbers tell how busy others are.

An event gets its number when its transaction commits: whoever commits later waits for that, and gets a higher one. So a
follower that has seen a number has seen all lower ones, and nothing is locked while a transaction works.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from crew_pipeline.storage.roles import grant_to_application

revision = "0021"
down_revision = "0020"
branch_labels = None
depends_on = None

_NUMBER = """
CREATE FUNCTION crew_number_event() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE given bigint;
BEGIN
    INSERT INTO client_counters AS counted (client, events) VALUES (NEW.client, 1)
    ON CONFLICT (client) DO UPDATE SET events = counted.events + 1 RETURNING events INTO given;
    UPDATE day_events SET seq = given WHERE id = NEW.id;
    RETURN NULL;
END $$
"""
_ON_COMMIT = """
CREATE CONSTRAINT TRIGGER crew_number_event AFTER INSERT ON day_events DEFERRABLE INITIALLY DEFERRED
FOR EACH ROW WHEN (NEW.seq IS NULL) EXECUTE FUNCTION crew_number_event()
"""

# Whoever adds a verdict holds a lock on the client's.
_NUMBER_VERDICT = """
CREATE FUNCTION crew_number_verdict() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    NEW.number := (SELECT coalesce(max(number), 0) + 1 FROM pair_feedback WHERE client = NEW.client);
    RETURN NEW;
END $$
"""
_ON_INSERT = """
CREATE TRIGGER crew_number_verdict BEFORE INSERT ON pair_feedback
FOR EACH ROW WHEN (NEW.number IS NULL) EXECUTE FUNCTION crew_number_verdict()
"""


def upgrade() -> None:
    op.alter_column("day_events", "seq", new_column_name="id")
    comment = "of the client's events; given on commit"
    op.add_column("day_events", sa.Column("seq", sa.BigInteger(), nullable=True, comment=comment))
    op.create_table(
        "client_counters",
        sa.Column("client", sa.Text(), nullable=False),
        sa.Column("events", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("client"),
    )
    # Followers come back with the numbers that they know.
    op.execute("UPDATE day_events SET seq = id")
    op.execute("INSERT INTO client_counters SELECT client, max(seq) FROM day_events GROUP BY client")
    op.execute("ALTER INDEX day_events_day RENAME TO day_events_before")
    op.create_index("day_events_day", "day_events", ["client", "day", "seq"])
    op.create_index("day_events_client", "day_events", ["client", "seq"], unique=True)
    op.drop_index("day_events_before")
    op.execute(_NUMBER)
    op.execute(_ON_COMMIT)
    op.execute("ALTER TABLE client_counters ENABLE ROW LEVEL SECURITY")
    op.execute("ALTER TABLE client_counters FORCE ROW LEVEL SECURITY")
    op.execute(
        "CREATE POLICY crew_client ON client_counters USING "
        "(current_setting('crew.scope', true) = 'all' OR client = current_setting('crew.client', true))"
    )
    op.add_column(
        "pair_feedback", sa.Column("number", sa.BigInteger(), nullable=True, comment="of the client's verdicts")
    )
    op.execute("UPDATE pair_feedback SET number = id")
    op.alter_column("pair_feedback", "number", nullable=False)
    op.create_index("pair_feedback_number", "pair_feedback", ["client", "number"], unique=True)
    op.execute(_NUMBER_VERDICT)
    op.execute(_ON_INSERT)
    grant_to_application(op.get_bind())


def downgrade() -> None:
    op.execute("DROP TRIGGER crew_number_verdict ON pair_feedback")
    op.execute("DROP FUNCTION crew_number_verdict")
    op.drop_column("pair_feedback", "number")
    op.execute("DROP TRIGGER crew_number_event ON day_events")
    op.execute("DROP FUNCTION crew_number_event")
    op.drop_table("client_counters")
    op.drop_index("day_events_client", "day_events")
    op.drop_index("day_events_day", "day_events")
    op.drop_column("day_events", "seq")
    op.alter_column("day_events", "id", new_column_name="seq")
    op.create_index("day_events_day", "day_events", ["client", "day", "seq"])
