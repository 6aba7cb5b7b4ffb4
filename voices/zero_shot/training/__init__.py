"""Fine-tuning of the zero-shot engine's singing model on the recordings of one voice."""
