"""The HTTP API: FastAPI over the job engine of `understudy.services.queue`."""
