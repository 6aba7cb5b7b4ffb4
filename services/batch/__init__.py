"""Many covers at once: a chart of songs times a set of voices."""
