"""The engine `instant`: conversion with a voice made from recordings, without training."""

from understudy.voices.instant.engine import InstantEngine as InstantEngine
