"""What a server refuses, and jobs that failed."""

from __future__ import annotations

from typing import Any

import httpx

from understudy_client.openapi.models import Job, Training, Voice


class ApiError(Exception):
    """An answer that is no success (RFC 9457 problem details).

    `code` is stable, `detail` says what is wrong, `hint` what to do; `errors` lists the fields of a request that didn't
    validate, as ``{"field": ..., "message": ...}``. `retry_after`: seconds, where the server names them.
    """

    def __init__(self, response: httpx.Response) -> None:
        try:
            problem: dict[str, Any] = response.json()
        except ValueError:  # a proxy's page
            problem = {}
        self.status = response.status_code
        self.code = str(problem.get("code", "unexpected"))
        self.detail = str(problem.get("detail", f"The server answered with status {self.status}."))
        self.hint = str(problem.get("hint", ""))
        self.errors: list[dict[str, str]] = problem.get("errors") or []
        after = response.headers.get("Retry-After", "")
        self.retry_after = float(after) if after.isdigit() else None
        super().__init__(f"{self.code}: {self.detail} {self.hint}".strip())


class JobFailed(Exception):
    """A job, a training or the making of a voice that ended without a result. `job` is how it ended."""

    def __init__(self, job: Job | Training | Voice) -> None:
        self.job = job
        reason = f"{job.error.message} {job.error.hint}" if job.error else ""
        super().__init__(f"{job.id} is {job.state}. {reason}".strip())
