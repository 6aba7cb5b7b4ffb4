"""The command line: one module per command, each a thin reader of options over `services.jobs` and `voices`."""
