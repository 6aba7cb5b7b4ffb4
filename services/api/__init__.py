"""The HTTP API: FastAPI over the job engine of `services.queue`."""
