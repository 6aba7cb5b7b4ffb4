"""The timbre of a performance, frame by frame, converted to that of another voice.

Two results are blended. The first shifts the original's envelopes by the difference of the two voices' means, which
keeps every word and little of the target voice. The second replaces every frame by a recorded frame with the same
content (unit selection: Hunt and Black, ICASSP 1996; its units here are frames, as in kNN-VC: Baas et al., Interspeech
2023), which has much of the target voice and loses words. Averaging flattens spectra, so the variance over time is
restored (global variance: Toda, Black and Tokuda, IEEE TASLP 15(8), 2007). Finally a fixed equaliser sets the long-term
spectrum to that of the recordings.

Cepstra are ``[frames, ORDER]``, a row every 5 ms, float16 and processed in chunks, to save memory in long songs.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter1d

from understudy.context import Context
from understudy.voices.instant import spectrum
from understudy.voices.instant.content import ORDER, REACH, content, frame_statistics
from understudy.voices.instant.profile import VoiceProfile
from understudy.voices.instant.spectrum import Array

Half = NDArray[np.float16]
Mask = NDArray[np.bool_]

CHUNK = 12000  # frames at once
CANDIDATES = 12  # frames of the recordings that every frame chooses from
JOIN = 2.0  # weight of the join cost (a jump between recorded frames) against the target cost (different content)
JOINED = 40  # cepstral coefficients that count for the join cost
SMOOTHING = 1.0  # frames of 5 ms: standard deviation of every cross-fade in time
VARIANCE = (0.8, 1.6)  # limits of the factor that restores the standard deviation over time
EQUALISER = 2.0  # nats of power (9 dB): limit of the equaliser
LOUDNESS = 20.0  # frames: changes of loudness by the filter that are slower than this are undone
CURVE = 0.75  # exponent of the index rate: 0.5 gives 0.6 of the recordings, a good balance of words and voice
CONSONANT_SHIFT = 3.0  # limit of a coefficient's change in unvoiced frames


@dataclass(frozen=True, eq=False)
class Timbre:
    """`cepstra` float16 ``[frames, ORDER]`` of a performance; `voiced` and `loud` (no pause) bool ``[frames]``."""

    cepstra: Half
    voiced: Mask
    loud: Mask


def voicing(voiced: Mask) -> Array:
    """0..1 per frame, with a short cross-fade where voiced and unvoiced meet, ``[frames, 1]``."""
    return np.asarray(gaussian_filter1d(voiced.astype(np.float32), SMOOTHING)[:, None], np.float32)


def convert_timbre(context: Context, sung: Timbre, profile: VoiceProfile, index_rate: float, protect: float) -> Half:
    """The cepstra converted to the voice of `profile`, ``[frames, ORDER]``; coefficient 0 is the loudness to sing with.

    `index_rate` 0..1 blends the two results (0.5: a little more of the second, see `CURVE`). Unvoiced frames change by
    ``2 * protect`` of the difference only.
    """
    measured = sung.voiced & sung.loud  # the frames from which statistics are taken
    if not measured.any():
        return sung.cepstra.copy()
    shield = min(1.0, 2 * protect)
    weight = voicing(sung.voiced)
    extent = weight + (1 - weight) * shield  # [frames, 1]: the part of the change that every frame gets
    plain = _shifted(sung, measured, weight, profile, shield)
    if index_rate > 0:
        result = _from_recordings(context.part(0.0, 0.9), sung, profile)
        result = _with_variance(result, measured, weight, profile)
        for _, chunk in _chunks(len(result)):
            own = plain[chunk].astype(np.float32)
            # smoothing the change, not the result, keeps the fine structure of the original in time
            change = index_rate**CURVE * extent[chunk] * (result[chunk].astype(np.float32) - own)
            result[chunk] = own + gaussian_filter1d(change, SMOOTHING, axis=0)
        result = _with_variance(result, measured, weight, profile)
    else:
        result = plain.copy()
    # `plain` gets the equaliser as well: its loudness is what a fixed filter would give (see `_keep_loudness`)
    equaliser = _equaliser(result, sung, profile)
    for array in (plain, result):
        for _, chunk in _chunks(len(array)):
            array[chunk] = array[chunk].astype(np.float32) + extent[chunk] * equaliser
    _keep_loudness(sung.cepstra, plain, result)
    return result


def _chunks(frames: int) -> Iterator[tuple[int, slice]]:
    return ((start, slice(start, min(start + CHUNK, frames))) for start in range(0, frames, CHUNK))


def _statistics(cepstra: Half, mask: Mask) -> tuple[Array, Array]:
    """Mean and standard deviation over the frames in `mask`."""
    total, squares = np.zeros(ORDER), np.zeros(ORDER)
    for _, chunk in _chunks(len(cepstra)):
        part = cepstra[chunk][mask[chunk]].astype(np.float64)
        total += part.sum(axis=0)
        squares += np.square(part).sum(axis=0)
    mean = total / mask.sum()
    return mean.astype(np.float32), np.sqrt(np.maximum(squares / mask.sum() - mean**2, 0)).astype(np.float32)


def _shifted(sung: Timbre, measured: Mask, weight: Array, profile: VoiceProfile, shield: float) -> Half:
    """The original's envelopes, shifted by the difference of the two voices' means."""
    mean, _ = _statistics(sung.cepstra, measured)
    consonants = ~sung.voiced & sung.loud
    consonant_mean = _statistics(sung.cepstra, consonants)[0] if consonants.sum() > 20 else mean
    shift = profile.mean - mean
    # unvoiced sound depends on the words more than on the voice: half the shift, within limits
    consonant_shift = 0.5 * (profile.unvoiced_mean - consonant_mean)
    consonant_shift = shield * np.clip(consonant_shift, -CONSONANT_SHIFT, CONSONANT_SHIFT)
    shift[0] = consonant_shift[0] = 0.0
    result = np.empty_like(sung.cepstra)
    for _, chunk in _chunks(len(result)):
        result[chunk] = sung.cepstra[chunk] + weight[chunk] * shift + (1 - weight[chunk]) * consonant_shift
    return result


def _from_recordings(context: Context, sung: Timbre, profile: VoiceProfile) -> Half:
    """For every frame the cepstra of a recorded frame with the same content."""
    statistics = frame_statistics(sung.cepstra, sung.voiced, sung.loud)
    index = _Index(profile)
    result = np.empty_like(sung.cepstra)
    for start, chunk in _chunks(len(result)):
        context.progress(start / len(result))
        low, high = max(0, start - REACH), min(len(result), chunk.stop + REACH)
        query = content(sung.cepstra[low:high].astype(np.float32), statistics)
        result[chunk] = index.path(query, sung.voiced[low:high])[start - low : chunk.stop - low]
    return result


def _with_variance(cepstra: Half, measured: Mask, weight: Array, profile: VoiceProfile) -> Half:
    """`cepstra` with the mean of `profile` in voiced frames and, within limits, its standard deviation over time."""
    mean, deviation = _statistics(cepstra, measured)
    scale = np.clip(profile.deviation / np.maximum(deviation, 1e-3), *VARIANCE)
    result = np.empty_like(cepstra)
    for _, chunk in _chunks(len(cepstra)):
        own = cepstra[chunk].astype(np.float32)
        result[chunk] = own + weight[chunk] * ((own - mean) * scale + profile.mean - own)
    return result


def _equaliser(cepstra: Half, sung: Timbre, profile: VoiceProfile) -> Array:
    """Cepstra ``[ORDER]`` of the fixed filter that changes the long-term spectrum to that of the recordings."""
    total = np.zeros(spectrum.POINTS)
    for _, chunk in _chunks(len(cepstra)):
        own = cepstra[chunk].astype(np.float32)
        own[:, 0] = sung.cepstra[chunk, 0]
        total += np.exp(own[sung.loud[chunk]] @ spectrum.inverse_basis(ORDER)).sum(axis=0)
    lack = profile.spectrum - np.log(total / total.sum())
    lack = np.clip(gaussian_filter1d(lack - lack.mean(), 1.5), -EQUALISER, EQUALISER)
    result = spectrum.cepstrum(lack[None].astype(np.float32))[0, :ORDER]
    result[0] = 0.0
    return result


def _keep_loudness(own: Half, plain: Half, result: Half) -> None:
    """Set coefficient 0 of `result` in place.

    Where `result` changes the timbre, its loudness changes as well. Wanted is the loudness of `plain`, i.e. of the
    original through a fixed filter, from one sound to the next (as another vocal tract would change it), but without
    its slow changes: from phrase to phrase the loudness of the original stays. `own`: the original's cepstra.
    """
    plain[:, 0] = result[:, 0] = own[:, 0]
    sung, fixed = _loudness(own), _loudness(plain)
    wanted = fixed + gaussian_filter1d(sung - fixed, LOUDNESS)
    # in the orthonormal DCT, one unit of log power is sqrt(POINTS) of coefficient 0
    result[:, 0] += np.sqrt(np.float32(spectrum.POINTS)) * (wanted - _loudness(result))


def _loudness(cepstra: Half) -> Array:
    """Log power of every frame ``[frames]``: the sum over the mel grid, each point times its width in Hz."""
    widths = np.gradient(spectrum.grid()).astype(np.float32)
    result = np.empty(len(cepstra), np.float32)
    for _, chunk in _chunks(len(cepstra)):
        points = cepstra[chunk].astype(np.float32) @ spectrum.inverse_basis(ORDER)
        result[chunk] = np.log(np.exp(points) @ widths)
    return result


class _Index:
    """faiss indexes over a profile's frames, one for unvoiced and one for voiced frames."""

    def __init__(self, profile: VoiceProfile) -> None:
        import faiss

        self._frames = profile.frames
        self._kinds = []
        for kind in (False, True):
            mask = profile.voiced == kind
            if mask.sum() < CANDIDATES:
                mask = np.ones_like(mask)
            index = faiss.IndexFlatL2(profile.content.shape[1])
            index.add(np.ascontiguousarray(profile.content[mask]))
            self._kinds.append((index, np.flatnonzero(mask)))
        self._variance = float(profile.frames[:, 1:JOINED].var(axis=0).sum())

    def path(self, query: Array, voiced: Mask) -> Array:
        """Cepstra ``[frames, ORDER]`` of one recorded frame for each row of `query` (content features).

        The path through the `CANDIDATES` nearest recorded frames of each row with the least sum of target costs
        (distance of the content) and join costs (distance between the frame that follows a candidate in the
        recordings and the next candidate), found by dynamic programming (Viterbi).
        """
        distance, found = self._candidates(query, voiced)
        cost = distance / max(1e-6, float(np.median(distance[:, 0])))
        join = self._joins(found)
        back = np.zeros(found.shape, np.intp)
        total = cost[0]
        for row in range(1, len(found)):
            ways = total[:, None] + join[row - 1]  # [from, to]
            back[row] = ways.argmin(axis=0)
            total = ways.min(axis=0) + cost[row]
        choice = int(total.argmin())
        chosen = np.empty(len(found), np.intp)
        for row in range(len(found) - 1, -1, -1):
            chosen[row] = found[row, choice]
            choice = int(back[row, choice])
        return self._frames[chosen]

    def _candidates(self, query: Array, voiced: Mask) -> tuple[Array, NDArray[np.intp]]:
        """Squared distances and indexes of the nearest recorded frames, each ``[frames, CANDIDATES]``."""
        distance = np.zeros((len(query), CANDIDATES), np.float32)
        found = np.zeros((len(query), CANDIDATES), np.intp)
        for kind, (index, where) in zip((False, True), self._kinds, strict=True):
            rows = np.flatnonzero(voiced == kind)
            if len(rows):
                distance[rows], nearest = index.search(np.ascontiguousarray(query[rows]), CANDIDATES)
                found[rows] = where[nearest]
        return distance, found

    def _joins(self, found: NDArray[np.intp]) -> Array:
        """Join costs ``[frames - 1, CANDIDATES, CANDIDATES]``: the squared distance between the recorded frame that
        follows a candidate and each candidate of the next row. It is 0 where both are one frame."""
        frames = self._frames[:, 1:JOINED]
        following = frames[np.minimum(found[:-1] + 1, len(frames) - 1)]
        chosen = frames[found[1:]]
        # |a - b|² = |a|² + |b|² - 2 a.b: one batched matrix product instead of all differences
        apart = np.square(following).sum(axis=2)[:, :, None] + np.square(chosen).sum(axis=2)[:, None, :]
        apart -= 2 * following @ chosen.transpose(0, 2, 1)
        return np.asarray(np.maximum(apart, 0) * (JOIN / self._variance), np.float32)
