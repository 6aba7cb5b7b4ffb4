"""``/v1/models``: models that make covers better, and fetching them to this server."""

from __future__ import annotations

from typing import Literal

from fastapi import APIRouter
from pydantic import BaseModel, Field

from understudy.models import catalogue
from understudy.models.catalogue import Model
from understudy.models.installed import usable
from understudy.pipeline.presets import presets
from understudy.pipeline.separating import models_of
from understudy.pipeline.settings import load_settings
from understudy.services.api import answers
from understudy.services.api.auth import Maker, Reader
from understudy.services.api.problems import ApiError, documented
from understudy.services.api.state import App, AppState

router = APIRouter(prefix="/v1/models", tags=["models"])


class ModelState(BaseModel):
    """A model of the catalogue as it is on this server."""

    name: str
    purpose: str
    licence: str
    bytes: int | None = Field(description="of its files together")
    state: Literal["absent", "fetching", "installed"]
    fraction: float = Field(ge=0, le=1, description="of it that has arrived")
    fetchable: bool = Field(description="whether it can be fetched by POST /v1/models/{name}/fetch")
    error: answers.Fault | None = Field(description="why the last attempt to fetch it failed")


@router.get("", responses=documented())
def list_models(app: App, owner: Reader) -> list[ModelState]:
    """The models that presets separate with, and those without which something can't be done."""
    return [_state(app, model) for model in _offered().values()]


@router.get("/{name}", responses=documented(404))
def show_model(name: str, app: App, owner: Reader) -> ModelState:
    """One of them, and how far it has arrived."""
    return _state(app, _find(name))


@router.post("/{name}/fetch", status_code=202, responses=documented(403, 404, 422, 429))
def fetch_model(name: str, app: App, owner: Maker) -> ModelState:
    """Fetch it to this server, from where it is published and checked against its hash. One model at a time; what has
    arrived is kept when it breaks off. Servers can forbid it by the setting `fetch_models`."""
    model = _find(name)
    if usable(model.name) is not None:
        return _state(app, model)
    if not app.settings.fetch_models:
        text = "This server fetches no models at the request of its users."
        raise ApiError("models-not-fetched", text, "Ask the server's operator for it.")
    if model.preferred.unverifiable:
        text = f"No hash of the model {model.name!r} is known, so the download couldn't be checked."
        raise ApiError("model-unverifiable", text, "Ask the server's operator for it.")
    app.fetches.begin(model.name, owner.id)
    return _state(app, model)


@router.delete("/{name}/fetch", responses=documented(404, 409))
def cancel_fetch(name: str, app: App, owner: Maker) -> ModelState:
    """Stop fetching it; who has begun it can do that."""
    model = _find(name)
    found = app.fetches.find(model.name)
    if found is not None and not found.over.is_set():
        if found.owner != owner.id:
            text = "Somebody else fetches this model."
            raise ApiError("job-ended", text, "Leave it to them: it will be there for all.")
        found.cancelled.set()
        found.over.wait(5)
    return _state(app, model)


def _offered() -> dict[str, Model]:
    named = [name for preset in presets() for name in models_of(load_settings(preset, environment={}).separation)]
    needed = [model.name for model in catalogue().values() if model.without]
    return {name: catalogue()[name] for name in dict.fromkeys((*named, *needed)) if name in catalogue()}


def _find(name: str) -> Model:
    found = _offered().get(name)
    if found is None:
        raise ApiError("model-unknown", f"There is no model {name[:60]!r} here.", "GET /v1/models lists them.")
    return found


def _state(app: AppState, model: Model) -> ModelState:
    installed = usable(model.name) is not None
    found = app.fetches.find(model.name)
    fetching = found is not None and not found.over.is_set() and not installed
    fault = None if installed or found is None or found.error is None else found.error
    return ModelState(
        name=model.name,
        purpose=model.purpose,
        licence=model.licence,
        bytes=model.preferred.whole,
        state="installed" if installed else "fetching" if fetching else "absent",
        fraction=1.0 if installed else found.fraction if found is not None and fetching else 0.0,
        fetchable=not installed and app.settings.fetch_models and not model.preferred.unverifiable,
        error=fault and answers.Fault(code=fault.code, message=fault.message, hint=fault.hint),
    )
