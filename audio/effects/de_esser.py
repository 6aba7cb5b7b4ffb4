"""De-esser: the band above 5 kHz is turned down while it stands out from the rest of the voice.

What counts is the band's share of the energy, not its level, so that soft and loud singing are treated alike and no
threshold has to fit the recording. The band is what a 12 dB per octave high-pass lets through; the rest is untouched.
"""

from __future__ import annotations

import numpy as np

from understudy.audio.effects.compressor import static_gain
from understudy.audio.effects.control import TINY, block_energies, per_frame, released, smoothed
from understudy.audio.effects.equaliser import filtered, high_pass
from understudy.audio.samples import Audio

MARGIN = 0.5  # seconds of sound on both sides that the gain may depend on
_SPLIT = 5000.0  # Hz
_SHARE = -6.0  # dB of the whole energy at which the band begins to be turned down
_RATIO = 10.0
_HOP = 0.002  # seconds per control value
_LEVEL = 5  # values that the levels are taken over
_ATTACK = 5  # values that the gain is smoothed over
_RELEASE = 100.0  # dB per second


def de_ess(window: Audio, start: int, most: float) -> Audio:
    """`window`, which begins at frame `start` of the song, with the band turned down by at most `most` dB.

    At rates below 16 kHz there is no such band, and the window is given back.
    """
    if window.rate < 16000 or most <= 0:
        return window
    hop = max(1, round(_HOP * window.rate))
    band = filtered(window.samples, [high_pass(window.rate, _SPLIT)])
    energy = smoothed(block_energies(band, start, hop), _LEVEL)
    whole = smoothed(block_energies(window.samples, start, hop), _LEVEL)
    share = np.where(whole > TINY, 10 * np.log10((energy + TINY) / (whole + TINY)), -120.0)
    gain = np.maximum(static_gain(share, _SHARE, _RATIO, 6.0), -most)
    if not gain.any():
        return window
    gain = smoothed(released(gain, _RELEASE * _HOP), _ATTACK)
    change = per_frame(10 ** (gain / 20) - 1, start // hop, start, window.frames, hop)
    return Audio(window.samples + band * change, window.rate)
