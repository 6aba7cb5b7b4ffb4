"""Claims by turns: the order of owners moves from `owners` to `turns`, trainings get a priority of their own."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    op.create_table(
        "turns",
        sa.Column("owner", sa.String(40), primary_key=True),
        sa.Column("priority", sa.Integer, primary_key=True),
        sa.Column("served", sa.Double, nullable=False),
        sa.Column("waiting", sa.Boolean, nullable=False),
    )
    op.create_index("turns_by_served", "turns", ["priority", "waiting", "served"])
    op.add_column("jobs", sa.Column("doubted", sa.Double))
    op.execute("UPDATE jobs SET priority = 2 WHERE kind = 'training'")
    op.execute("UPDATE jobs SET not_before = 0 WHERE state IN ('queued', 'paused')")
    op.execute(
        "INSERT INTO turns (owner, priority, served, waiting) SELECT DISTINCT jobs.owner, jobs.priority, owners.served,"
        " TRUE FROM jobs JOIN owners ON owners.id = jobs.owner WHERE jobs.state = 'queued'"
    )
    indexes = {"queued": ["priority", "owner", "created", "id"], "running": ["owner", "priority", "lease"]}
    for state, columns in indexes.items():
        where = sa.text(f"state = '{state}'")
        op.create_index(f"jobs_{state}", "jobs", columns, postgresql_where=where, sqlite_where=where)
    op.drop_column("owners", "served")
