"""The tables as they were before there were migrations: further ones were made where they lacked, indexes were not."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None


def upgrade() -> None:
    op.create_table(
        "trained",
        sa.Column("id", sa.Integer, primary_key=True, autoincrement=True),
        sa.Column("owner", sa.String(40), sa.ForeignKey("owners.id"), nullable=False),
        sa.Column("at", sa.Double, nullable=False),
        sa.Column("minutes", sa.Double, nullable=False),
        if_not_exists=True,
    )
    op.create_index("trained_by_owner", "trained", ["owner", "at"], if_not_exists=True)
    op.create_index("songs_of_owner", "songs", ["owner", "bytes"], if_not_exists=True)
    op.create_index("jobs_of_owner", "jobs", ["owner", "state", "bytes"], if_not_exists=True)
    op.execute("UPDATE schema SET version = 2")
