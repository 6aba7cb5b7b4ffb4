"""The timbre of a performance, frame by frame, converted to that of another voice.

Two results are blended. The first moves the original's envelopes by an affine map, so that mean and covariance become
those of the target voice (optimal transport between Gaussians: Knott and Smith, J. Optim. Theory Appl. 43(1), 1984). It
keeps nearly all words and has little of the target voice. The second replaces every frame by a recorded frame with the
same content (unit selection: Hunt and Black, ICASSP 1996; its units here are frames, as in kNN-VC: Baas et al.,
Interspeech 2023), which has much of the target voice and loses words. Averaging flattens spectra, so the variance over
time is restored (global variance: Toda, Black and Tokuda, IEEE TASLP 15(8), 2007). Finally a fixed equaliser sets the
long-term spectrum to that of the recordings, and above `TILT_FADE`, in voiced sound and within limits, to that of the
original: recordings are often read speech, whose balance there is not that of singing.

Cepstra are ``[frames, ORDER]``, a row every 5 ms, float16 and processed in chunks, to save memory in long songs.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

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
MOVED = slice(1, 24)  # coefficients that the affine map moves; the mean of all is moved
STRETCH = (0.7, 1.4)  # limits of the factor by which the affine map stretches a direction
EASE = 6.0  # frames: standard deviation of the smoothing in time of what the affine map adds
FEW = 100  # frames: with this many, the original's covariance counts as much as the target's
TILT = 0.75  # part of the difference to the original's long-term spectrum above `TILT_FADE` that is undone
TILT_FADE = (3000.0, 6000.0)  # Hz
TILT_LIMITS = (-9 / 4.343, 3 / 4.343)  # nats of power
TILT_REFERENCE = (300.0, 3000.0)  # Hz: where the levels of the spectra are compared
CONSONANT_SHIFT = 3.0  # limit of a coefficient's change in unvoiced frames


@dataclass(frozen=True, eq=False)
class Timbre:
    """`cepstra` float16 ``[frames, ORDER]`` of a performance; `voiced` and `loud` (no pause) bool ``[frames]``."""

    cepstra: Half
    voiced: Mask
    loud: Mask


def voicing(voiced: Mask) -> Array:
    """0..1 per frame, with a short cross-fade where voiced and unvoiced meet, ``[frames, 1]``."""

    from scipy.ndimage import gaussian_filter1d

    return np.asarray(gaussian_filter1d(voiced.astype(np.float32), SMOOTHING)[:, None], np.float32)


def convert_timbre(context: Context, sung: Timbre, profile: VoiceProfile, index_rate: float, protect: float) -> Half:
    """The cepstra converted to the voice of `profile`, ``[frames, ORDER]``; coefficient 0 is the loudness to sing with.

    `index_rate` 0..1 blends the two results (0.5: a little more of the second, see `CURVE`). Unvoiced frames change by
    ``2 * protect`` of the difference only.
    """

    from scipy.ndimage import gaussian_filter1d

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
    tilt = _tilt(result, sung, measured, equaliser)
    for array in (plain, result):
        for _, chunk in _chunks(len(array)):
            change = extent[chunk] * equaliser + weight[chunk] * tilt
            array[chunk] = array[chunk].astype(np.float32) + change
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
    """The original's envelopes, moved so that mean and covariance of voiced frames are those of `profile`."""

    from scipy.ndimage import gaussian_filter1d

    mean, _ = _statistics(sung.cepstra, measured)
    turn = _turn(sung, measured, mean, profile)
    consonants = ~sung.voiced & sung.loud
    consonant_mean = _statistics(sung.cepstra, consonants)[0] if consonants.sum() > 20 else mean
    shift = profile.mean - mean
    # unvoiced sound depends on the words more than on the voice: half the shift, within limits
    consonant_shift = 0.5 * (profile.unvoiced_mean - consonant_mean)
    consonant_shift = shield * np.clip(consonant_shift, -CONSONANT_SHIFT, CONSONANT_SHIFT)
    shift[0] = consonant_shift[0] = 0.0
    result = np.empty_like(sung.cepstra)
    for _, chunk in _chunks(len(result)):
        own = sung.cepstra[chunk].astype(np.float32)
        moved = own + weight[chunk] * shift + (1 - weight[chunk]) * consonant_shift
        # smoothing this change, too, keeps it from stretching the noise of the envelopes
        moved[:, MOVED] += weight[chunk] * gaussian_filter1d((own - mean)[:, MOVED] @ turn, EASE, axis=0)
        result[chunk] = moved
    return result


def _turn(sung: Timbre, measured: Mask, mean: Array, profile: VoiceProfile) -> Array:
    """The affine map of the coefficients `MOVED` less the identity, ``[n, n]``: what to add to a frame less `mean`."""
    size = MOVED.stop - MOVED.start
    products, count = np.zeros((size, size)), int(measured.sum())
    for _, chunk in _chunks(len(sung.cepstra)):
        part = (sung.cepstra[chunk][measured[chunk]].astype(np.float32) - mean)[:, MOVED].astype(np.float64)
        products += part.T @ part
    target = np.cov(profile.frames[profile.voiced][:, MOVED].T.astype(np.float64))
    # few frames say little about a covariance: it then tends to the target's, and the map to the identity
    source = (products + FEW * target) / (count + FEW)
    return (transport(_half_diagonal(source), _half_diagonal(target)) - np.eye(size)).astype(np.float32)


def _half_diagonal(covariance: NDArray[np.float64]) -> NDArray[np.float64]:
    """`covariance` with half the correlations: estimates from different words would turn vowels into each other."""
    return 0.5 * covariance + 0.5 * np.diag(np.diag(covariance)) + 1e-6 * np.eye(len(covariance))


def transport(source: NDArray[np.float64], target: NDArray[np.float64]) -> NDArray[np.float64]:
    """The symmetric matrix that turns covariance `source` into `target` and moves the least, ``[n, n]``.

    ``A = S^-1/2 (S^1/2 T S^1/2)^1/2 S^-1/2``; A stretches no direction by less or more than `STRETCH`.
    """
    values, vectors = np.linalg.eigh(source)
    root, inverse = (vectors * values**power @ vectors.T for power in (0.5, -0.5))
    values, vectors = np.linalg.eigh(root @ target @ root)
    matrix = inverse @ (vectors * np.sqrt(np.maximum(values, 0)) @ vectors.T) @ inverse
    values, vectors = np.linalg.eigh((matrix + matrix.T) / 2)
    return np.asarray(vectors * np.clip(values, *STRETCH) @ vectors.T)


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

    from scipy.ndimage import gaussian_filter1d

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


def _tilt(cepstra: Half, sung: Timbre, measured: Mask, equaliser: Array) -> Array:
    """Cepstra ``[ORDER]`` of the filter after `equaliser` that takes voiced sound back to the original's brightness."""
    own, new = np.zeros(spectrum.POINTS), np.zeros(spectrum.POINTS)
    for _, chunk in _chunks(len(cepstra)):
        before = sung.cepstra[chunk][measured[chunk]].astype(np.float32)
        after = cepstra[chunk][measured[chunk]].astype(np.float32) + equaliser
        after[:, 0] = before[:, 0]
        own += np.exp(before @ spectrum.inverse_basis(ORDER)).sum(axis=0)
        new += np.exp(after @ spectrum.inverse_basis(ORDER)).sum(axis=0)
    result = spectrum.cepstrum(tilt(np.log(own), np.log(new))[None].astype(np.float32))[0, :ORDER]
    result[0] = 0.0
    return result


def tilt(own: NDArray[np.float64], new: NDArray[np.float64]) -> NDArray[np.float64]:
    """Change of the long-term log spectrum `new` towards `own`, nats ``[POINTS]``: 0 below `TILT_FADE`, bounded."""

    from scipy.ndimage import gaussian_filter1d

    frequency = spectrum.grid()
    lack = gaussian_filter1d(own - new, 2.0)  # about a third of an octave
    low, high = TILT_REFERENCE
    lack -= (own - new)[(frequency >= low) & (frequency <= high)].mean()
    low, high = np.log(TILT_FADE)
    fade = np.clip((np.log(np.maximum(frequency, 1.0)) - low) / (high - low), 0, 1)
    return np.asarray(fade * np.clip(TILT * lack, *TILT_LIMITS))


def _keep_loudness(own: Half, plain: Half, result: Half) -> None:
    """Set coefficient 0 of `result` in place.

    Where `result` changes the timbre, its loudness changes as well. Wanted is the loudness of `plain`, i.e. of the
    original through a fixed filter, from one sound to the next (as another vocal tract would change it), but without
    its slow changes: from phrase to phrase the loudness of the original stays. `own`: the original's cepstra.
    """

    from scipy.ndimage import gaussian_filter1d

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
