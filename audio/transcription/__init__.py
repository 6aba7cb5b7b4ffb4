"""From sound to notes: what is sung, one note at a time, and what instruments play together."""
