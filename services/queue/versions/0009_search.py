"""Jobs are found by song, voice, metadata and title: terms for those there are, and indexes in the order of lists."""

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"

jobs = sa.table(
    "jobs",
    *(sa.column(name) for name in ("id", "owner", "created", "name", "song", "voice", "folded")),
    sa.column("request", sa.JSON),
)
terms = sa.table("terms", *(sa.column(name) for name in ("job", "term", "owner", "created")))


def upgrade() -> None:
    op.add_column("jobs", sa.Column("metadata", sa.JSON))
    op.add_column("jobs", sa.Column("folded", sa.String(400)))
    op.create_table(
        "terms",
        sa.Column("job", sa.String(40), sa.ForeignKey("jobs.id", ondelete="CASCADE"), primary_key=True),
        sa.Column("term", sa.String(300), primary_key=True),
        sa.Column("owner", sa.String(40), nullable=False),
        sa.Column("created", sa.Double, nullable=False),
    )
    _fill(op.get_bind())
    op.create_index("terms_by_owner", "terms", ["owner", "term", "created", "job"])
    op.drop_index("jobs_by_owner", "jobs")
    op.drop_index("jobs_of_owner", "jobs")
    op.create_index("jobs_by_owner", "jobs", ["owner", "created", "id", "kind", "folded"])
    op.create_index("jobs_of_owner", "jobs", ["owner", "state", "created", "id", "kind", "bytes"])


def _fill(connection: sa.Connection) -> None:
    last = ""
    columns = (column for name, column in jobs.c.items() if name != "folded")
    page = sa.select(*columns).order_by(jobs.c.id).limit(1000)
    update = sa.update(jobs).where(jobs.c.id == sa.bindparam("job")).values(folded=sa.bindparam("title"))
    while rows := connection.execute(page.where(jobs.c.id > last)).all():
        titles, found = [], []
        for row in rows:
            titles.append({"job": row.id, "title": row.name.casefold()[:400]})
            songs = {row.song, *row.request.get("inputs", {}).values()} - {None}
            voices = {row.voice, *row.request.get("singers", {}).values()} - {None}
            names = {f"song:{id}" for id in songs} | {f"voice:{id}" for id in voices}
            about = {"job": row.id, "owner": row.owner, "created": row.created}
            found += [{**about, "term": name} for name in sorted(names)]
        connection.execute(update, titles)
        if found:
            connection.execute(sa.insert(terms), found)
        last = rows[-1].id
