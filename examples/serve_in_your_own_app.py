"""Covers in a FastAPI application of your own: a route that takes a song, one that tells how far it is, one for the
finished cover.

    uvicorn examples.serve_in_your_own_app:app

For many users use `understudy serve`, which has a queue, keys and limits.
"""

import asyncio
import tempfile
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from threading import Event
from uuid import uuid4

from fastapi import FastAPI, HTTPException, UploadFile
from fastapi.responses import FileResponse, JSONResponse

import understudy as us

app = FastAPI()
session = us.Session()
pool = ThreadPoolExecutor(2)  # covers at a time
folder = Path(tempfile.mkdtemp(prefix="covers-"))
jobs: dict[str, "Job"] = {}


class Job:
    def __init__(self, song: Path, voice: str) -> None:
        self.total = 0.0
        self.cancel = Event()
        self.future: Future[us.CoverResult] = pool.submit(
            session.cover,
            song,
            voice=voice,
            output=song.with_suffix(".cover.mp3"),
            progress=self.progress,
            cancel=self.cancel,
        )

    def progress(self, event: us.ProgressEvent) -> None:
        self.total = event.total


@app.exception_handler(us.UnderstudyError)
def explain(request: object, error: us.UnderstudyError) -> JSONResponse:
    return JSONResponse({"code": error.code, "message": error.message, "hint": error.hint}, 422)


@app.post("/covers")
async def create(song: UploadFile, voice: str) -> dict[str, str]:
    session.voices.get(voice)  # an unknown voice is an error now
    id = uuid4().hex
    path = folder / f"{id}{Path(song.filename or '').suffix}"
    await asyncio.to_thread(path.write_bytes, await song.read())
    jobs[id] = Job(path, voice)
    return {"id": id}


@app.get("/covers/{id}")
def state(id: str) -> dict[str, object]:
    job = find(id)
    if not job.future.done():
        return {"state": "running", "done": job.total}
    result = job.future.result()  # raises what the cover raised
    return {"state": "finished", "done": 1.0, "verdict": result.verdict.overall, "reason": result.verdict.reason}


@app.get("/covers/{id}/audio")
def audio(id: str) -> FileResponse:
    job = find(id)
    if not job.future.done():
        raise HTTPException(409, "not finished yet")
    return FileResponse(job.future.result().path)


@app.delete("/covers/{id}")
def stop(id: str) -> None:
    find(id).cancel.set()


def find(id: str) -> Job:
    if id not in jobs:
        raise HTTPException(404)
    return jobs[id]
