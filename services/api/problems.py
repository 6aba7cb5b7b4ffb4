"""Errors as RFC 9457 problem details, with the code, message and hint that the command line prints."""

from __future__ import annotations

import logging
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from pydantic import BaseModel, Field, ValidationError
from starlette.exceptions import HTTPException
from starlette.responses import Response

from understudy.errors import UnderstudyError
from understudy.validation import Fault, faults

log = logging.getLogger("understudy.api")
MOST_FAULTS = 20  # that are listed

STATUSES: dict[int, tuple[str, tuple[str, ...]]] = {
    400: (
        "The request is malformed",
        ("request-malformed", "upload-malformed", "upload-truncated", "cursor-invalid", "host-refused"),
    ),
    401: ("No valid key", ("key-missing", "key-invalid")),
    403: (
        "The key lacks a scope, the request comes from a foreign web page, or this server doesn't do it",
        ("scope-missing", "origin-refused", "proxy-refused", "models-not-fetched"),
    ),
    404: (
        "Unknown, or it belongs to another owner",
        (
            "not-found",
            "song-unknown",
            "upload-unknown",
            "voice-unknown",
            "model-unknown",
            "job-unknown",
            "batch-unknown",
            "stem-unknown",
            "preview-unknown",
            "sample-unknown",
            "artwork-unknown",
            "delivery-unknown",
            "key-unknown",
            "owner-unknown",
            "storage-missing",
        ),
    ),
    405: ("No such method", ("method-not-allowed",)),
    408: ("The upload stalled", ("upload-too-slow",)),
    409: (
        "Not in this state",
        (
            "voice-exists",
            "voice-not-ready",
            "voice-in-use",
            "song-in-use",
            "upload-offset",
            "upload-presigned",
            "upload-incomplete",
            "result-not-ready",
            "training-running",
            "job-ended",
            "delivery-waiting",
            "too-many-keys",
        ),
    ),
    410: ("The result has expired", ("result-expired",)),
    412: ("Another version of the protocol", ("tus-version",)),
    413: ("Too large", ("file-too-big", "body-too-large")),
    415: ("Another content type is needed", ("media-type",)),
    416: ("No such range", ("range-invalid",)),
    422: ("Something in it is wrong", ()),  # all other codes: understood, and something in it is wrong
    423: ("Another request holds it", ("upload-busy",)),
    429: (
        "Too much at a time: see Retry-After",
        (
            "rate-limited",
            "too-many-jobs",
            "minutes-used-up",
            "too-many-streams",
            "too-many-transfers",
            "too-many-uploads",
        ),
    ),
    460: ("The checksum is another one (tus)", ("checksum-mismatch",)),
    500: ("A fault in the server", ("internal-error",)),
    503: ("Try again later: see Retry-After", ("database-unavailable", "storage-unavailable", "server-stopping")),
    507: ("No room left", ("disk-full", "storage-used-up")),
}
"""By HTTP status: its description in the OpenAPI document, and the codes that are answered with it."""
_STATUS = {code: status for status, (_, codes) in STATUSES.items() for code in codes}
_CONTENT = {"application/problem+json": {"schema": {"$ref": "#/components/schemas/Problem"}}}


_RETRY = {"Retry-After": {"description": "seconds until it makes sense to try again", "schema": {"type": "string"}}}
_HEADERS: dict[int, dict[str, Any]] = {
    401: {"WWW-Authenticate": {"description": "`Bearer`", "schema": {"type": "string"}}},
    429: _RETRY,
    503: _RETRY,
}


class FieldProblem(BaseModel):
    """What is wrong with one field, or one job of a batch."""

    field: str = Field(description="the names that lead to it, joined by dots")
    code: str
    message: str
    hint: str


class Problem(BaseModel):
    """RFC 9457 problem details."""

    type: str = Field(description="a URN made of the code", examples=["urn:understudy:song-unknown"])
    title: str = Field(description="the code in words")
    status: int
    detail: str = Field(description="what is wrong")
    hint: str = Field(description="what to do")
    code: str = Field(description="stable; lower-case words joined by hyphens")
    errors: list[FieldProblem] = Field(
        default_factory=list, description="one by one, where the request did not validate, or jobs of a batch can't be"
    )


class ApiError(UnderstudyError):
    """An error with `headers` of its own, such as Retry-After, and the `errors` that it consists of."""

    def __init__(
        self,
        code: str,
        message: str,
        hint: str,
        headers: dict[str, str] | None = None,
        errors: list[dict[str, Any]] | None = None,
    ) -> None:
        super().__init__(code, message, hint)
        self.headers = headers or {}
        self.errors = errors


def problem(error: UnderstudyError, errors: list[dict[str, Any]] | None = None) -> JSONResponse:
    status = _STATUS.get(error.code, 422)
    headers = dict(getattr(error, "headers", {}))
    if status == 401:
        headers["WWW-Authenticate"] = "Bearer"
    if status == 503:
        headers.setdefault("Retry-After", "30")
    body = {
        "type": f"urn:understudy:{error.code}",
        "title": error.code.replace("-", " ").capitalize(),
        "status": status,
        "detail": error.message,
        "hint": error.hint,
        "code": error.code,
    } | ({"errors": errors} if errors else {})
    return JSONResponse(body, status, headers, "application/problem+json")


def install(app: FastAPI) -> None:
    """Answer every error of `app` as a problem."""

    @app.exception_handler(UnderstudyError)
    async def known(request: Request, error: UnderstudyError) -> Response:
        if _STATUS.get(error.code, 422) >= 500 and error.code != "server-stopping":
            log.warning("%s", error, extra={"path": request.url.path, "code": error.code}, exc_info=error)
        return problem(error, getattr(error, "errors", None))

    @app.exception_handler(RequestValidationError)
    @app.exception_handler(ValidationError)
    async def validation(request: Request, error: ValidationError | RequestValidationError) -> Response:
        """The first fault in a sentence, all faults in a list."""
        found = faults(error.errors())
        message = f"The field {_field(found[0])!r} is wrong: {found[0].reason}."
        shown = found[:MOST_FAULTS]
        same = {"code": "request-invalid", "hint": "Correct it."}
        listed: list[dict[str, Any]] = [{"field": _field(fault), "message": fault.reason, **same} for fault in shown]
        return problem(UnderstudyError("request-invalid", message, "Correct it; /docs shows what is expected."), listed)

    @app.exception_handler(HTTPException)
    async def http(request: Request, error: HTTPException) -> Response:
        if error.status_code == 404:
            found = ApiError("not-found", f"There is nothing at {request.url.path}.", "/docs lists all there is.")
        elif error.status_code == 405:
            allowed = (error.headers or {}).get("Allow", "")
            text = f"{request.url.path} can't be asked with {request.method}."
            found = ApiError("method-not-allowed", text, "/docs lists all there is.", {"Allow": allowed})
        elif error.status_code == 413:
            found = ApiError("body-too-large", "The body is larger than 64 kB.", "Send files as multipart/form-data.")
        elif error.status_code == 408:
            found = ApiError("upload-too-slow", "The body didn't come in time.", "Send it again.")
        else:
            found = ApiError("request-malformed", f"The request is broken: {error.detail}.", "Correct it.")
        return problem(found)

    @app.exception_handler(Exception)
    async def unknown(request: Request, error: Exception) -> Response:
        log.error("unexpected", extra={"path": request.url.path}, exc_info=error)
        text = "Something unexpected went wrong in the server."
        return problem(
            UnderstudyError("internal-error", text, "Try again; if it happens again, tell the server's operator.")
        )


def _field(fault: Fault) -> str:
    return fault.field.removeprefix("body.")


def documented(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """The `responses` of a route: these problems besides those that every route may give."""
    every = {400, 401, 403, 408, 413, 429, 503, *statuses}
    return {
        status: {"description": STATUSES[status][0], "content": _CONTENT, "headers": _HEADERS.get(status, {})}
        for status in every
    }
