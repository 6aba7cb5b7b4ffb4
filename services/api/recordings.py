"""``POST /v1/recordings/check``: what is to be said of a recording, before a voice is made from it."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory

from fastapi import APIRouter, Request

from understudy.services.api import answers
from understudy.services.api.auth import VoiceMaker
from understudy.services.api.problems import ApiError, documented
from understudy.services.api.songs import BINARY, form_schema, refuse_fields
from understudy.services.api.state import App
from understudy.services.api.uploads import FormRules, owner_as_sender, received
from understudy.services.queue import bounded, untrusted

router = APIRouter(prefix="/v1/recordings", tags=["voices"])
_LARGEST = 50 << 20  # bytes
_SECONDS, _MEMORY = 60.0, 2 << 30  # that checking one may take


@router.post(
    "/check",
    responses=documented(408, 413, 415, 422),
    openapi_extra=form_schema("RecordingForm", {"recording": BINARY}, ["recording"]),
)
async def check_recording(request: Request, app: App, owner: VoiceMaker) -> answers.CheckedRecording:
    """How much voice is in a recording, how high and low it goes, and what would be heard in a cover: noise, an echoing
    room, music, distortion. Nothing is kept."""
    sender = await owner_as_sender(app, owner, None)
    async with received(request, app, sender, FormRules(("recording",), _LARGEST, 1)) as form:
        refuse_fields(form.fields, ())
        if not form.files:
            raise ApiError("request-invalid", "There is no file in the field 'recording'.", "Send one.")
        (upload,) = form.files
        with TemporaryDirectory(dir=app.incoming) as folder:
            arguments = (untrusted.check_recording, Path(folder), upload.path, upload.name)
            limits = {"seconds": _SECONDS, "memory": _MEMORY}
            found = await app.probing.run(owner.id, bounded.call, *arguments, **limits)
    return answers.CheckedRecording.model_validate(found)
