"""``POST /v1/verify``: what a file says of its origin. Needs no key, so that everybody can check."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory

from fastapi import APIRouter, Request

from understudy.pipeline.provenance.verification import Verification
from understudy.services.api.auth import client_network
from understudy.services.api.problems import ApiError, documented
from understudy.services.api.songs import BINARY, form_schema, refuse_fields
from understudy.services.api.state import App
from understudy.services.api.uploads import FormRules, Sender, received
from understudy.services.queue import bounded, untrusted

router = APIRouter(tags=["provenance"])

_LARGEST, _A_MINUTE = 200 << 20, 10  # bytes of a file, and requests of an address
_AT_A_TIME = 2  # uploads of an address
_SECONDS, _MEMORY = 120.0, 3 << 30  # that reading one file may take


@router.post(
    "/v1/verify", responses=documented(408, 413, 415, 422, 429), openapi_extra=form_schema({"file": BINARY}, ["file"])
)
async def verify_file(request: Request, app: App) -> Verification:
    """What a file says of its origin in tags, in signed credentials (C2PA) and in Understudy's watermark. No key is
    needed; 10 files a minute from one address, each at most 200 MB. Nothing is kept."""
    address = f"verify {client_network(request)}"
    app.rates.check(address, _A_MINUTE)
    sender = Sender(address, _AT_A_TIME, _AT_A_TIME * _LARGEST)
    async with received(request, app, sender, FormRules(("file",), _LARGEST, 1)) as form:
        refuse_fields(form.fields, ())
        if not form.files:
            raise ApiError("request-invalid", "There is no file in the field 'file'.", "Send one.")
        (upload,) = form.files
        with TemporaryDirectory(dir=app.incoming) as folder:
            arguments = (untrusted.verify, Path(folder), upload.path, upload.name)
            found = await app.verifying.run(address, bounded.call, *arguments, seconds=_SECONDS, memory=_MEMORY)
    assert isinstance(found, Verification)
    return found
