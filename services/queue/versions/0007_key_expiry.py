"""Keys expire. Those there are don't."""

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"


def upgrade() -> None:
    op.add_column("keys", sa.Column("expires", sa.Double))
    op.create_index("keys_by_owner", "keys", ["owner", "created", "id"])
