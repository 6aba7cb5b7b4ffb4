"""``POST /v1/verify``: what a file says of its origin. Needs no key, so that everybody can check."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory

from fastapi import APIRouter, Request

from understudy.pipeline.provenance.verification import Verification
from understudy.services.api.auth import check_address, client_network
from understudy.services.api.problems import ApiError, documented
from understudy.services.api.songs import BINARY, form_schema, refuse_fields
from understudy.services.api.state import App
from understudy.services.api.uploads import FormRules, Sender, received
from understudy.services.queue import bounded, untrusted

router = APIRouter(tags=["provenance"])

_LARGEST, _A_MINUTE = 200 << 20, 10  # bytes of a file, and requests of an address
_AT_A_TIME = 2  # uploads of an address
_SECONDS = 120.0  # that reading one file may take
_FIELDS = ("file", "credentials")


@router.post(
    "/v1/verify",
    responses=documented(408, 413, 415, 422, 429),
    openapi_extra=form_schema("VerificationForm", dict.fromkeys(_FIELDS, BINARY), ["file"]),
)
async def verify_file(request: Request, app: App) -> Verification:
    """What a file says of its origin in tags, in signed credentials (C2PA) and in Understudy's watermark. No key is
    needed; 10 files a minute from one address, each at most 200 MB. Nothing is kept. `credentials`: the `.c2pa` file of
    one whose credentials stand beside it."""
    check_address(app, request, "verify", _A_MINUTE)
    address = f"verify {client_network(request)}"
    sender = Sender(address, _AT_A_TIME, _AT_A_TIME * _LARGEST)
    async with received(request, app, sender, FormRules(_FIELDS, _LARGEST, len(_FIELDS))) as form:
        refuse_fields(form.fields, ())
        sent = {upload.field: upload for upload in form.files}
        if "file" not in sent or len(sent) < len(form.files):
            raise ApiError("request-invalid", "There isn't one file in the field 'file'.", "Send one.")
        upload, beside = sent["file"], sent.get("credentials")
        sidecar = None if beside is None else (beside.path, beside.name)
        bounds = {"seconds": _SECONDS, "memory": untrusted.VERIFY_MEMORY}
        with TemporaryDirectory(dir=app.incoming) as folder:
            arguments = (untrusted.verify, Path(folder), upload.path, upload.name, sidecar)
            found = await app.verifying.run(address, bounded.call, *arguments, **bounds)
    assert isinstance(found, Verification)
    return found
