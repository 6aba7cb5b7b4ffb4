"""The command line: one module per command, each a thin reader of options over `understudy.services.jobs` and
`voices`."""
