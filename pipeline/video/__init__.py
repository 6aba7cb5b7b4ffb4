"""A video of a cover, to upload and share: artwork, title and a waveform along which the time moves."""

from typing import Literal

Shape = Literal["landscape", "portrait"]
"""1920 x 1080 or 1080 x 1920 pixels."""
