"""The `instant` engine: a voice from recordings at once."""

from voices.instant.engine import InstantEngine as InstantEngine
