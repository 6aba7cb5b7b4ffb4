"""How the owner of a job follows it: what every request for a job may say besides its work."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from understudy.services.queue import webhooks
from understudy.services.queue.settings import ServerSettings

Ending = Literal["done", "failed", "cancelled"]
Name = Annotated[str, Field(min_length=1, max_length=40, pattern="^[A-Za-z0-9_.-]+$")]
Text = Annotated[str, Field(max_length=200)]


class Followed(BaseModel):
    model_config = ConfigDict(extra="forbid")

    webhook: str | None = Field(
        None, max_length=2000, description="address that gets a signed message when it has ended"
    )
    webhook_events: Annotated[list[Ending], Field(min_length=1, max_length=3)] | None = Field(
        None, description="the ends that the webhook is called for; null: every one"
    )
    metadata: dict[Name, Text] = Field(
        default_factory=dict, max_length=20, description="anything of yours that is to stand in the job and its webhook"
    )

    def check(self, settings: ServerSettings) -> None:
        """Raise ``webhook-refused`` for an address that can't be called."""
        if self.webhook:
            webhooks.check(self.webhook, settings)

    def columns(self) -> dict[str, Any]:
        """The same as values of the job's row."""
        events = " ".join(dict.fromkeys(self.webhook_events or ()))
        return {"webhook": self.webhook, "webhook_events": events or None, "metadata": self.metadata or None}
