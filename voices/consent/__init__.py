"""Who consented to what: levels, the log of all decisions, and the ways to prove consent."""
