"""Deletion of owners, and what stays of their consent logs."""

import sqlalchemy as sa
from alembic import op

revision = "0011"
down_revision = "0010"


def upgrade() -> None:
    op.add_column("owners", sa.Column("deleting", sa.Double))
    op.create_table(
        "past_consents",
        sa.Column("owner", sa.String(40), primary_key=True),
        sa.Column("number", sa.Integer, primary_key=True),
        sa.Column("hash", sa.String(64), nullable=False),
    )
