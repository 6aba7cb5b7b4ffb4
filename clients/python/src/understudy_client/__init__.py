"""Client of an Understudy server.

`Understudy` uploads, makes covers, waits and downloads. The functions and models of all routes, generated from the
OpenAPI document, are in `understudy_client.openapi`.
"""

from understudy_client.client import Understudy, ok
from understudy_client.errors import ApiError, JobFailed
from understudy_client.version import __version__
from understudy_client.webhooks import verify_webhook

__all__ = ["ApiError", "JobFailed", "Understudy", "__version__", "ok", "verify_webhook"]
