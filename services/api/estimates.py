"""What a job would take, before it is submitted: minutes of the quota, time, its place in the queue.

The time is that of finished jobs of this server. A second of song takes as long in jobs that have the same work to do:
the same models, engines and number of voices (`Submission.submit` says which). Of each stage those jobs count that
really ran it, as in the estimates of `understudy.services.batch.timing`.
"""

from __future__ import annotations

from typing import Any

from sqlalchemy import Connection, Row, func, or_, select

from understudy.services.api import answers
from understudy.services.api.job_requests import Submission
from understudy.services.api.state import AppState
from understudy.services.batch.timing import Work, estimate
from understudy.services.queue.measured import READ_BEFORE, alike, shares_of, stage_on
from understudy.services.queue.owners import Owner, usage
from understudy.services.queue.tables import jobs, spent
from understudy.services.stage_titles import title_of


def estimated(app: AppState, owner: Owner, submission: Submission) -> answers.JobEstimate:
    """What the job would take; raises what its submission would raise."""
    with app.database.write() as connection:  # rolled back: nothing of it stays
        now = app.database.now(connection)
        job = submission.submit(app.settings, owner, connection, now)
        row = connection.execute(select(jobs).where(jobs.c.id == job.id)).one()
        minutes = connection.scalar(select(spent.c.minutes).where(spent.c.id == row.request["spent"])) or 0.0
        left = owner.limit("minutes_a_day", app.settings) - usage(connection, owner.id, now)["minutes_a_day"]
        place, busy = ahead(connection, row) or 0, running(connection, row) or 0
        connection.rollback()
    with app.database.read() as connection:
        done = alike(connection, row.request["work"])
    measured, stages = [], dict[str, str]()
    for one in reversed(done):
        shares = shares_of(one)
        stages |= {
            stage_on(run["kind"], run["device"]): run["kind"] for run in one.stages if run["kind"] not in READ_BEFORE
        }
        if shares is not None:
            measured.append(shares)
    length = minutes * 60
    seconds, unknown = estimate((Work(stage, stage, length) for stage in stages), measured)
    return answers.JobEstimate(
        minutes=minutes,
        minutes_left=left,
        seconds=seconds or None,
        measured=len(measured),
        unknown=[title_of(stages[stage]) for stage in unknown],
        ahead=place,
        running=busy,
    )


def ahead(connection: Connection, job: Row[Any]) -> int | None:
    """How many queued jobs of all owners are older or more urgent than a queued one. Fair shares may let it overtake
    some of them."""
    if job.state != "queued":
        return None
    before = or_(jobs.c.priority < job.priority, (jobs.c.priority == job.priority) & (jobs.c.created < job.created))
    queued = (jobs.c.state == "queued", jobs.c.kind != "training")  # trainings have workers of their own
    return connection.scalar(select(func.count()).where(*queued, before))


def running(connection: Connection, job: Row[Any]) -> int | None:
    """How many jobs of all owners run while a queued one waits."""
    if job.state != "queued":
        return None
    return connection.scalar(select(func.count()).where(jobs.c.state == "running", jobs.c.kind != "training"))
