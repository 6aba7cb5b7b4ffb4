"""Stage `finish`: a dry mono conversion becomes a vocal that sits in the mix as the original one did."""

from __future__ import annotations

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from audio.context import Context
from audio.loudness import measure
from audio.samples import Audio
from audio.stored import AudioFile, write_blocks
from audio.windows import map_windows


class FinishSettings(BaseModel):
    """How the converted vocal is made to sit where the original one sat."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    follow: float = Field(
        1.0, ge=0, le=1, description="How far the loudness over time follows the original vocal's, 0 to 1."
    )


def finish(context: Context, converted: AudioFile, vocals: AudioFile, settings: FinishSettings) -> AudioFile:
    """The `converted` vocal (mono, dry, at the song's rate) finished after the original `vocals`: same channels and
    exactly as long as `vocals`, not shifted by a sample."""
    wanted = measure(vocals, context.part(0.0, 0.3))
    had = measure(converted, context.part(0.3, 0.6))
    gain = 1.0
    if not wanted.silent and not had.silent:
        # one channel more is 3 LU more of the same sound
        gain = 10 ** ((wanted.integrated - had.integrated) / 20) / np.sqrt(vocals.channels)

    def window(piece: Audio, start: int) -> Audio:
        return Audio(np.repeat(piece.samples * np.float32(gain), vocals.channels, axis=0), piece.rate)

    blocks = map_windows(converted, window, context.part(0.6, 1.0), margin=0.0)
    return write_blocks(context.folder / "vocals.npy", vocals.rate, vocals.channels, blocks)
