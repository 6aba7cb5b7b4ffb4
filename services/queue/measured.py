"""What finished jobs of this server took, stage by stage: on it rest the estimates of jobs to come.

A second of song takes as long in jobs that have the same work to do: the same models, engines and number of voices
(`Submission.submit` says which).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import Connection, Row, select

from understudy.services.batch.timing import StageShares
from understudy.services.queue.jobs import PRIORITIES
from understudy.services.queue.tables import jobs

_LATEST = 300  # jobs of each priority in which those of the same kind are looked for
_MOST = 30  # of them that are read
READ_BEFORE = ("decode", "ingredient", "artwork")
"""Stages that a worker always runs in a process of their own first: their time is part of the others' shares."""


def alike(connection: Connection, work: str) -> Sequence[Row[Any]]:
    """The latest finished jobs with that work, the latest first."""
    found: list[Row[Any]] = []
    for priority in PRIORITIES.values():
        # the index has them in this order; those of other kinds are passed over
        latest = select(jobs).where(jobs.c.state == "done", jobs.c.priority == priority)
        done = latest.order_by(jobs.c.created.desc()).limit(_LATEST).subquery()
        columns = (done.c.created, done.c.started, done.c.finished, done.c.attempts)
        parts = (done.c.result["stages"].label("stages"), done.c.result["duration"].as_float().label("length"))
        its = done.c.request["work"].as_string() == work
        found += connection.execute(select(*columns, *parts).where(its).order_by(done.c.created.desc()).limit(_MOST))
    return sorted(found, key=lambda one: -one.created)[:_MOST]


def shares_of(job: Row[Any]) -> StageShares | None:
    """The stages that a job ran, each with its share of the time from its start to its end; None where it ran none, or
    began anew in between."""
    ran: dict[str, float] = {}
    for run in job.stages:
        if not run["cached"] and run["kind"] not in READ_BEFORE:
            ran[stage_on(run["kind"], run["device"])] = (
                ran.get(stage_on(run["kind"], run["device"]), 0.0) + run["seconds"]
            )
    total = sum(ran.values())
    if job.attempts != 1 or not total or not job.length:
        return None
    share = (job.finished - job.started) / total
    return StageShares(1, job.length, {stage: share * seconds for stage, seconds in ran.items()})


def stage_on(kind: str, device: str) -> str:
    """What a measured stage is called: by its kind alone, since its name may be that of somebody's voice."""
    return f"{kind} on {device}"
