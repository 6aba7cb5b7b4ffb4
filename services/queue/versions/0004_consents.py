"""The consent log of each owner, and the level of consent that a key demands."""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    op.create_table(
        "consents",
        sa.Column("owner", sa.String(40), sa.ForeignKey("owners.id"), primary_key=True),
        sa.Column("number", sa.Integer, primary_key=True),
        sa.Column("line", sa.Text, nullable=False),
    )
    with op.batch_alter_table("keys") as keys:
        keys.add_column(sa.Column("consent", sa.String(12), nullable=False, server_default="stated"))
