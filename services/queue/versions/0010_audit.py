"""The audit log."""

import sqlalchemy as sa
from alembic import op

revision = "0010"
down_revision = "0009"


def upgrade() -> None:
    op.create_table(
        "audit",
        sa.Column("id", sa.String(40), primary_key=True),
        sa.Column("owner", sa.String(40), nullable=False),
        sa.Column("created", sa.Double, nullable=False),
        sa.Column("key", sa.String(20)),
        sa.Column("action", sa.String(60), nullable=False),
        sa.Column("resource", sa.String(200), nullable=False),
        sa.Column("address", sa.String(64), nullable=False),
    )
    op.create_index("audit_by_owner", "audit", ["owner", "created", "id"])
    op.create_index("audit_by_time", "audit", ["created"])
