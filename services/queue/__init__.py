"""The job engine: who owns what, jobs that survive kills, and the processes that work them off."""
