"""The job engine: owners, a queue that survives killed processes, and the workers that run its jobs."""
