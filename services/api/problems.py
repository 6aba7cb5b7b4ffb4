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

log = logging.getLogger("understudy.api")

STATUS = {
    "request-malformed": 400,
    "upload-malformed": 400,
    "upload-truncated": 400,
    "cursor-invalid": 400,
    "host-refused": 400,
    "key-missing": 401,
    "key-invalid": 401,
    "scope-missing": 403,
    "origin-refused": 403,
    "not-found": 404,
    "song-unknown": 404,
    "voice-unknown": 404,
    "job-unknown": 404,
    "stem-unknown": 404,
    "storage-missing": 404,
    "method-not-allowed": 405,
    "upload-too-slow": 408,
    "voice-exists": 409,
    "voice-not-ready": 409,
    "voice-in-use": 409,
    "song-in-use": 409,
    "result-not-ready": 409,
    "result-expired": 410,
    "file-too-big": 413,
    "body-too-large": 413,
    "media-type": 415,
    "range-invalid": 416,
    "rate-limited": 429,
    "too-many-jobs": 429,
    "minutes-used-up": 429,
    "too-many-streams": 429,
    "internal-error": 500,
    "database-unavailable": 503,
    "storage-unavailable": 503,
    "server-stopping": 503,
    "disk-full": 507,
    "storage-used-up": 507,
}
"""All others are 422: understood, and something in it is wrong."""


class Problem(BaseModel):
    """RFC 9457 problem details."""

    type: str = Field(description="a URN made of the code", examples=["urn:understudy:song-unknown"])
    title: str = Field(description="the code in words")
    status: int
    detail: str = Field(description="what is wrong")
    hint: str = Field(description="what to do")
    code: str = Field(description="stable; lower-case words joined by hyphens")
    errors: list[dict[str, Any]] | None = Field(None, description="field by field, where the request did not validate")


class ApiError(UnderstudyError):
    """An error with `headers` of its own, such as Retry-After."""

    def __init__(self, code: str, message: str, hint: str, headers: dict[str, str] | None = None) -> None:
        super().__init__(code, message, hint)
        self.headers = headers or {}


def problem(error: UnderstudyError, errors: list[dict[str, Any]] | None = None) -> JSONResponse:
    status = STATUS.get(error.code, 422)
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


def invalid(error: ValidationError | RequestValidationError) -> JSONResponse:
    """The answer to a request that doesn't validate: its first fault in a sentence, all faults in a list."""
    faults: list[dict[str, Any]] = [
        {"field": ".".join(str(part) for part in fault["loc"]), "message": fault["msg"]} for fault in error.errors()
    ]
    first = faults[0] if faults else {"field": "", "message": "invalid"}
    message = f"The field {first['field']!r} is wrong: {first['message']}."
    return problem(UnderstudyError("request-invalid", message, "Correct it; /docs shows what is expected."), faults)


def install(app: FastAPI) -> None:
    """Answer every error of `app` as a problem."""

    async def known(request: Request, error: Exception) -> Response:
        assert isinstance(error, UnderstudyError)
        if STATUS.get(error.code, 422) >= 500:
            log.warning("%s", error, extra={"path": request.url.path, "code": error.code}, exc_info=error)
        return problem(error)

    async def validation(request: Request, error: Exception) -> Response:
        assert isinstance(error, ValidationError | RequestValidationError)
        return invalid(error)

    async def http(request: Request, error: Exception) -> Response:
        assert isinstance(error, HTTPException)
        if error.status_code == 404:
            found = ApiError("not-found", f"There is nothing at {request.url.path}.", "/docs lists all there is.")
        elif error.status_code == 405:
            allowed = (error.headers or {}).get("Allow", "")
            text = f"{request.url.path} can't be asked with {request.method}."
            found = ApiError("method-not-allowed", text, "/docs lists all there is.", {"Allow": allowed})
        else:
            found = ApiError("request-malformed", f"The request is broken: {error.detail}.", "Correct it.")
        return problem(found)

    async def unknown(request: Request, error: Exception) -> Response:
        log.error("unexpected", extra={"path": request.url.path}, exc_info=error)
        text = "Something unexpected went wrong in the server."
        return problem(
            UnderstudyError("internal-error", text, "Try again; if it happens again, tell the server's operator.")
        )

    app.add_exception_handler(UnderstudyError, known)
    app.add_exception_handler(RequestValidationError, validation)
    app.add_exception_handler(ValidationError, validation)
    app.add_exception_handler(HTTPException, http)
    app.add_exception_handler(Exception, unknown)


def documented(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """The `responses` of a route: these problems besides those that every route may give."""
    content = {"application/problem+json": {"schema": {"$ref": "#/components/schemas/Problem"}}}
    words = {
        400: "The request is malformed",
        401: "No valid key",
        403: "The key lacks a scope, or the request comes from a foreign web page",
        404: "Unknown, or it belongs to another owner",
        405: "No such method",
        408: "The upload stalled",
        409: "Not in this state",
        410: "The result has expired",
        413: "Too large",
        415: "Another content type is needed",
        416: "No such range",
        422: "Something in it is wrong",
        429: "Too much at a time: see Retry-After",
        500: "A fault in the server",
        503: "Try again later: see Retry-After",
        507: "No room left",
    }
    return {
        status: {"description": words[status], "content": content} for status in {400, 401, 403, 429, 503, *statuses}
    }
