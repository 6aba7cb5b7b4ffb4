"""Ids that nobody can guess, with a prefix that says what they name."""

from __future__ import annotations

import secrets

_LETTERS = "23456789abcdefghjkmnpqrstuvwxyz"  # without those that look like another


def new(prefix: str, length: int = 20) -> str:
    """``cover_k3v9...``: 99 bits."""
    return f"{prefix}_" + "".join(secrets.choice(_LETTERS) for _ in range(length))
