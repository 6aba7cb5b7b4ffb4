"""Sessions of the page, which had the key itself in its cookie."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    op.create_table(
        "sessions",
        sa.Column("id", sa.String(64), primary_key=True),
        sa.Column("key", sa.String(20), sa.ForeignKey("keys.id"), nullable=False),
        sa.Column("expires", sa.Double, nullable=False),
    )
