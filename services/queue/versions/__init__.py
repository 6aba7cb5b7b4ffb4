"""How the tables changed: one file per change, in the order of their numbers (CONTRIBUTING.md)."""
