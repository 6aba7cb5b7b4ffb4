"""The command line: one module per command, each a thin reader of options over `understudy.jobs` and
`voices`."""
