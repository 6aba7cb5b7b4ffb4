"""The artwork of songs. Songs that were sent before have none."""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"


def upgrade() -> None:
    op.create_table(
        "artworks",
        sa.Column("song", sa.String(40), sa.ForeignKey("songs.id", ondelete="CASCADE"), primary_key=True),
        sa.Column("jpeg", sa.LargeBinary, nullable=False),
    )
