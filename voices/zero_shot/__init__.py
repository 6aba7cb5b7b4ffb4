"""The engine `zero-shot`: sings with recordings alone, by a network that was trained on many singers."""
