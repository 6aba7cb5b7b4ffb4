"""The stages: what a cover is made of, one module each."""
