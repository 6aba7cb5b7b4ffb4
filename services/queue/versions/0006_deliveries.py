"""Deliveries that are listed, with their last answer; the webhook's state in the job; the owner's former secret."""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"


def upgrade() -> None:
    op.add_column("owners", sa.Column("former_secret", sa.String(80)))
    op.add_column("owners", sa.Column("former_until", sa.Double))
    op.add_column("jobs", sa.Column("webhook_events", sa.String(60)))
    op.add_column("jobs", sa.Column("webhook_state", sa.String(12)))
    with op.batch_alter_table("deliveries") as deliveries:
        deliveries.add_column(sa.Column("created", sa.Double, nullable=False, server_default="0"))
        deliveries.add_column(sa.Column("tried", sa.Double))
        deliveries.add_column(sa.Column("status", sa.Integer))
    op.execute("UPDATE deliveries SET created = due")
    with op.batch_alter_table("deliveries") as deliveries:
        deliveries.alter_column("created", server_default=None)
    its = "SELECT state FROM deliveries WHERE deliveries.job = jobs.id"
    op.execute(f"UPDATE jobs SET webhook_state = ({its} LIMIT 1) WHERE webhook IS NOT NULL")
    op.create_index("deliveries_by_owner", "deliveries", ["owner", "created", "id"])
    op.create_index("deliveries_by_job", "deliveries", ["job"])
