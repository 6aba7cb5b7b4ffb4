"""What the trainings of all engines share: steps, states on disk, what is held out, settings and events."""
