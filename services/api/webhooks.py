"""``/v1/webhooks``: the messages that were or will be sent, and the secret that signs them."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from fastapi import APIRouter, Query
from pydantic import BaseModel, ConfigDict, Field
from sqlalchemy import Connection, Row, select

from understudy.services.api import answers
from understudy.services.api.auth import KeyKeeper, Maker, Reader
from understudy.services.api.pages import Cursor, Page, Size, page
from understudy.services.api.problems import ApiError, documented
from understudy.services.api.state import App
from understudy.services.queue.owners import Owner
from understudy.services.queue.tables import deliveries
from understudy.services.queue.webhooks import change_secret, send_again

router = APIRouter(prefix="/v1/webhooks", tags=["webhooks"])


class SecretChange(BaseModel):
    model_config = ConfigDict(extra="forbid")

    overlap: float = Field(
        86400.0, ge=0, le=7 * 86400.0, description="seconds for which messages are also signed with the former secret"
    )


class Secret(BaseModel):
    """The secret that signs webhooks from now on."""

    webhook_secret: str
    former_until: answers.Time = Field(description="until then the former one signs, too")


@router.get("/deliveries", responses=documented(400, 422))
def list_deliveries(
    app: App,
    owner: Reader,
    state: Literal["waiting", "delivered", "failed"] | None = None,
    job: Annotated[str | None, Query(max_length=60, description="id of a job: its message alone")] = None,
    cursor: Cursor = None,
    size: Size = 20,
) -> Page[answers.Delivery]:
    """Your messages, newest first; those that were delivered or given up are kept for a week."""
    query = select(deliveries).where(deliveries.c.owner == owner.id)
    if state:
        query = query.where(deliveries.c.state == state)
    if job:
        query = query.where(deliveries.c.job == job)
    return page(app.database, query, deliveries, cursor, size, answers.delivery)


@router.get("/deliveries/{id}", responses=documented(404))
def show_delivery(id: str, app: App, owner: Reader) -> answers.Delivery:
    """One message: its attempts and the last answer."""
    with app.database.read() as connection:
        return answers.delivery(_find(connection, owner, id))


@router.post("/deliveries/{id}/redeliver", status_code=202, responses=documented(404, 409))
def redeliver_webhook(id: str, app: App, owner: Maker) -> answers.Delivery:
    """Send one again that was delivered or given up: the same message with the same `webhook-id`."""
    with app.database.write() as connection:
        send_again(connection, app.database.now(connection), _find(connection, owner, id))
        return answers.delivery(_find(connection, owner, id))


@router.post("/secret", responses=documented(422))
def change_webhook_secret(change: SecretChange, app: App, owner: KeyKeeper) -> Secret:
    """Make a new secret. For `overlap` seconds messages have two signatures, so that receivers can be changed one after
    the other; a secret before the former one signs no more."""
    with app.database.write() as connection:
        now = app.database.now(connection)
        secret = change_secret(connection, now, owner.id, change.overlap)
    return Secret.model_validate({"webhook_secret": secret, "former_until": now + change.overlap})


def _find(connection: Connection, owner: Owner, id: str) -> Row[Any]:
    mine = select(deliveries).where(deliveries.c.id == id, deliveries.c.owner == owner.id)
    row = connection.execute(mine).first()
    if row is None:
        text = f"You have no message {id[:60]!r}."
        raise ApiError("delivery-unknown", text, "GET /v1/webhooks/deliveries lists yours.")
    return row
