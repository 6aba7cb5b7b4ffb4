"""Messages of webhooks."""

from __future__ import annotations

from collections.abc import Mapping

from standardwebhooks import Webhook

from understudy_client.openapi.models import JobEnded


def verify_webhook(secret: str, headers: Mapping[str, str], body: bytes | str) -> JobEnded:
    """The message in the `body` of a request, if the server has signed it with `secret` in the last five minutes.
    Raises `standardwebhooks.WebhookVerificationError` otherwise.

    A message may come twice: compare the header ``webhook-id``.
    """
    return JobEnded.from_dict(Webhook(secret).verify(body, dict(headers)))
