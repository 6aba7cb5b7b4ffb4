"""Mending octave errors: short stretches that a tracker heard an octave too high or too low."""

from __future__ import annotations

import numpy as np

from audio.pitch.track import PitchTrack

_CONTEXT = 0.25  # seconds on both sides that a frame is compared with
_LONGEST = 0.12  # seconds: whatever lasts longer is sung and not an error


def repair_octaves(track: PitchTrack) -> PitchTrack:
    """The track with isolated octave jumps put back."""
    f0 = track.f0.copy()
    voiced = np.flatnonzero(f0 > 0)
    if len(voiced) < 3:
        return track
    pitch = np.log2(f0[voiced].astype(np.float64))
    breaks = np.flatnonzero((np.abs(np.diff(pitch)) > 0.5) | (np.diff(voiced) > 1)) + 1
    longest, context = round(_LONGEST / track.hop), round(_CONTEXT / track.hop)
    for start, stop in zip([0, *breaks], [*breaks, len(voiced)], strict=True):
        if stop - start > longest:
            continue
        near = (np.abs(voiced - voiced[start]) <= context) | (np.abs(voiced - voiced[stop - 1]) <= context)
        near[start:stop] = False
        if near.sum() < 2 * (stop - start):
            continue
        away = np.median(pitch[start:stop]) - np.median(pitch[near])
        octaves = round(float(away))
        if octaves != 0 and abs(away - octaves) < 0.2:
            pitch[start:stop] -= octaves
    f0[voiced] = 2**pitch
    return PitchTrack(f0, track.hop)
