"""Batches of jobs, and files that are removed after the request that deletes what named them."""

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"


def upgrade() -> None:
    op.create_table(
        "batches",
        sa.Column("id", sa.String(40), primary_key=True),
        sa.Column("owner", sa.String(40), sa.ForeignKey("owners.id"), nullable=False),
        sa.Column("name", sa.String(400)),
        sa.Column("created", sa.Double, nullable=False),
        sa.Column("skipped", sa.JSON, nullable=False),
    )
    op.create_index("batches_by_owner", "batches", ["owner", "created", "id"])
    op.add_column("jobs", sa.Column("batch", sa.String(40)))
    op.create_index("jobs_of_batch", "jobs", ["batch", "created", "id"])
    op.create_table(
        "removals",
        sa.Column("id", sa.Integer, primary_key=True, autoincrement=True),
        sa.Column("path", sa.String(400), nullable=False),
        sa.Column("due", sa.Double, nullable=False),
    )
    op.create_index("removals_due", "removals", ["due"])
