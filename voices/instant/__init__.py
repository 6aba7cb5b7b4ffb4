"""The `instant` engine: a voice from recordings at once."""

from understudy.voices.instant.engine import InstantEngine as InstantEngine
