"""Stage `finish`: a dry mono conversion becomes a vocal that sits in the mix as the original one did.

Everything is derived from the original vocal: its K-weighted loudness over time (ITU-R BS.1770), its stereo placement
and its reverberation. Only curves of one value per `HOP` are taken from it, never samples, so nothing of the original
singer gets into the cover.

The sound is read three times, window by window; of the whole song only curves of `HOP` seconds a value are kept.
 1. The original vocal's energies (K-weighted: left, right, shared) and the conversion's.
 2. The conversion through the vocal chain.
 3. Loudness, room and place, all taken from the original, and silence where the original is silent.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from pydantic import Field

from understudy.audio.ambience import Ambience, missing_ambience
from understudy.audio.effects import compressor, de_esser, equaliser, reverb
from understudy.audio.effects.control import TINY, Curve, per_frame, released, smoothed
from understudy.audio.k_weighting import k_weighted
from understudy.audio.samples import Audio, AudioSource, Samples
from understudy.audio.stereo import Placement, placement, spreading_response
from understudy.audio.stored import AudioFile, write_blocks
from understudy.audio.windows import map_windows
from understudy.context import Context
from understudy.errors import UnderstudyError
from understudy.pipeline.separation.settings import FrozenModel
from understudy.pipeline.separation.vocal_level import VocalLevel

HOP = 0.01
"""Seconds per value of the curves that are known of the whole song."""

_FOLLOW = 1.0  # seconds over which loudness is compared
_PLACE = 2.0  # seconds over which the place is measured
# dB that following may move the vocal away from its mean gain: little upwards, where there may be nothing but hiss
_REACH = (-12.0, 6.0)
_FLOOR = -40.0  # dB below the loudness of the singing: softer moments do not steer
_GATE = (-45.0, -60.0)  # dB below the loudness of the singing: open down to the first, shut from the second
_GATE_LEVEL = 0.05  # seconds over which the gate's level is taken
_SHUT = 60.0  # dB at which the gate is shut altogether
_CLOSES, _OPENS = 200.0, 1000.0  # dB per second


class FinishSettings(FrozenModel):
    """How the converted vocal is made to sit where the original one sat."""

    effects: bool = Field(default=True, description="Whether the vocal chain (the five settings below) is used at all.")
    high_pass: float = Field(default=70.0, ge=0, le=300, description="Cut below this frequency in Hz; 0 for none.")
    de_ess: float = Field(
        default=4.0, ge=0, le=20, description="Most that sharp s-sounds are softened by in dB; 0 for never."
    )
    compression: float = Field(
        default=1.7, ge=1, le=20, description="Ratio of the compressor on the loudest notes; 1 for none."
    )
    warmth: float = Field(default=0.0, ge=-12, le=12, description="Gain around 250 Hz in dB.")
    presence: float = Field(default=1.0, ge=-12, le=12, description="Gain around 4 kHz in dB.")
    follow: float = Field(
        default=1.0, ge=0, le=1, description="How far the loudness over time follows the original vocal's, 0 to 1."
    )
    gate: bool = Field(default=True, description="Whether there is silence where the original vocal is silent.")
    width: float = Field(
        default=1.0, ge=0, le=1, description="How much of the original vocal's stereo width is restored, 0 to 1."
    )
    ambience: float | None = Field(
        default=None,
        ge=0,
        le=1,
        description="Reverb's share of the energy, 0 to 1; measured on the original if not given.",
    )


@dataclass(frozen=True, eq=False)
class _Energies:
    """K-weighted energy per block of `HOP` seconds: of left, of right, and the mean of their product, ``[blocks]``;
    of a mono sound `left` alone."""

    left: Curve
    right: Curve
    shared: Curve

    @property
    def total(self) -> Curve:
        return self.left + self.right


def finish(
    context: Context,
    converted: AudioFile,
    vocals: AudioFile,
    settings: FinishSettings,
    level: VocalLevel | None = None,
) -> AudioFile:
    """The `converted` vocal (mono, dry, at the song's rate) finished after the original `vocals` (mono or stereo): as
    many channels and exactly as long as `vocals`, not shifted by a frame. `level`: what `vocals` are short of, None for
    nothing.

    Raises `UnderstudyError` ``finish-mismatch`` for other rates, lengths or channels.
    """
    shape = (converted.channels, converted.rate, converted.frames)
    if shape != (1, vocals.rate, vocals.frames) or vocals.channels > 2:
        raise UnderstudyError(
            "finish-mismatch",
            f"The converted vocal ({shape[0]} channels, {shape[1]} Hz, {shape[2]} frames) was not made from this "
            f"original ({vocals.channels} channels, {vocals.rate} Hz, {vocals.frames} frames).",
            "Give a mono conversion that has the rate and length of a mono or stereo original.",
        )
    hop = max(1, round(HOP * vocals.rate))
    original = _energies(vocals, hop, context.part(0.0, 0.2))
    chain_path = context.folder / "chain.npy"
    treated = converted
    if settings.effects:
        loudness = _singing_level(_energies(converted, hop, context.part(0.2, 0.3)).total)
        treated = write_blocks(
            chain_path, converted.rate, 1, _chain(converted, loudness, settings, context.part(0.3, 0.5))
        )
    sung = _energies(treated, hop, context.part(0.5, 0.6)).total
    if _singing_level(original.total) > -120 >= _singing_level(sung):
        context.warn("The converted vocal is silent although the original one is not.")
    missing = np.ones(len(sung))
    if level is not None:
        missing = 10 ** (level.at((np.arange(len(sung)) + 0.5) * hop / vocals.rate) / 10)
    gain = _following(original.total * missing, sung, settings.follow, hop / vocals.rate)
    room = (
        missing_ambience(original.total, sung * gain**2 / missing, hop / vocals.rate)
        if settings.ambience is None
        else Ambience(settings.ambience, 1.2)
    )
    gate = _gate(original.total, hop / vocals.rate) if settings.gate else np.ones(len(gain))
    place = None
    if vocals.channels == 2:
        blocks = round(_PLACE * vocals.rate / hop)
        place = placement(original.left, original.right, original.shared, blocks, settings.width)
    pieces = _placed(treated, hop, gain, gate, room, place, context.part(0.6, 1.0))
    finished = write_blocks(context.folder / "vocals.npy", vocals.rate, vocals.channels, pieces)
    chain_path.unlink(missing_ok=True)
    return finished


def _energies(source: AudioSource, hop: int, context: Context) -> _Energies:
    parts: list[tuple[Curve, ...]] = []
    size = -(-round(20.0 * source.rate) // hop) * hop  # windows that hold whole blocks
    warm_up = -(-round(0.5 * source.rate) // hop) * hop
    for start in range(0, source.frames, size):
        stop = min(start + size, source.frames)
        weighted = k_weighted(source.read(start - warm_up, stop))[:, warm_up:]
        whole = np.pad(weighted, ((0, 0), (0, -weighted.shape[1] % hop))).reshape(len(weighted), -1, hop)
        left = np.einsum("bh,bh->b", whole[0], whole[0])
        if source.channels == 1:
            parts.append((left, np.zeros_like(left), np.zeros_like(left)))
        else:
            right = np.einsum("bh,bh->b", whole[1], whole[1])
            parts.append((left, right, np.einsum("bh,bh->b", whole[0], whole[1])))
        context.progress(stop / source.frames)
    if not parts:
        return _Energies(np.zeros(0), np.zeros(0), np.zeros(0))
    return _Energies(*(np.concatenate(curves).astype(np.float64) / hop for curves in zip(*parts, strict=True)))


def _singing_level(energy: Curve) -> float:
    """The level in dB of the moments that are sung: the mean energy of all within 20 dB of the mean, twice gated as
    BS.1770 does; -120 for silence."""
    loud = energy[energy > 1e-7]
    for _ in range(2):
        if len(loud):
            loud = loud[loud >= 0.01 * loud.mean()]
    return float(10 * np.log10(loud.mean())) if len(loud) else -120.0


def _chain(converted: AudioFile, level: float, settings: FinishSettings, context: Context) -> Iterator[Audio]:
    rate = converted.rate
    sections = []
    if settings.high_pass:
        sections.append(equaliser.high_pass(rate, settings.high_pass))
    if settings.warmth:
        sections.append(equaliser.peak(rate, 250.0, settings.warmth))
    if settings.presence and rate >= 16000:
        sections.append(equaliser.peak(rate, 4000.0, settings.presence))

    def window(piece: Audio, start: int) -> Audio:
        piece = equaliser.equalise(piece, sections)
        piece = de_esser.de_ess(piece, start, settings.de_ess)
        if settings.compression > 1 and level > -120:
            piece = compressor.compress(piece, start, level + 2.0, settings.compression)
        return piece

    return map_windows(converted, window, context, margin=2.0)


def _following(original: Curve, sung: Curve, follow: float, hop: float) -> Curve:
    """The linear gain over time that gives `sung` the loudness of `original`."""
    target, had = _singing_level(original), _singing_level(sung)
    if target <= -120 or had <= -120:
        return np.zeros(len(original))
    # One gain for the whole vocal, and slow moves around it where the two differ over time.
    blocks = round(_FOLLOW / hop)
    mean = target - had
    # what both add keeps the mean gain in pauses
    floor = 10 ** ((target + _FLOOR) / 10)
    ratio = (smoothed(original, blocks) + floor) / (smoothed(sung, blocks) * 10 ** (mean / 10) + floor)
    moves = np.clip(10 * np.log10(ratio), *_REACH) * follow
    decibels = mean + smoothed(moves, blocks // 3)
    factors: Curve = 10 ** (decibels / 20)
    return factors


def _gate(original: Curve, hop: float) -> Curve:
    """1 where the original sings, 0 where it is silent, with slopes between: it opens ahead of a note and closes
    slowly enough after it to be inaudible."""
    level = 10 * np.log10(smoothed(original, round(_GATE_LEVEL / hop)) + TINY) - _singing_level(original)
    slope = np.clip((_GATE[0] - level) / (_GATE[0] - _GATE[1]), 0.0, 1.0)
    # The gate opens and closes at limited speed: a one-sided release filter gives the closing slope, and the same
    # filter run backwards the opening slope, which begins before the note.
    closing = -released(_SHUT * slope, _CLOSES * hop)
    gain = -released(-closing[::-1], _OPENS * hop)[::-1]
    factors: Curve = np.where(gain <= -_SHUT, 0.0, 10 ** (gain / 20))
    return smoothed(factors, 3)


def _placed(
    treated: AudioFile,
    hop: int,
    gain: Curve,
    gate: Curve,
    room: Ambience,
    place: Placement | None,
    context: Context,
) -> Iterator[Audio]:
    rate = treated.rate
    reverbs = [reverb.room(rate, room.decay, seed) for seed in (11, 12)] if room.share else []
    spreading = spreading_response(rate)
    # Mid/side: the middle is placed left and right by the original's energies. The side comes from decorrelating
    # filters for a dry vocal and from a second, independent room for a reverberant one. What the side has of the
    # reverb, the middle doesn't need: together they have `room.share` of the energy.
    in_middle = in_side = np.full(len(gain), room.share)
    if place is not None:
        wide = 2 * place.side**2
        in_side = np.minimum(room.share / (room.share + 0.05), room.share / np.maximum(wide, TINY))
        in_middle = np.clip((room.share - wide * in_side) / np.maximum(1 - wide, TINY), 0.0, 1.0)

    def mixed(dry: Samples, other: Samples, share: Samples) -> Samples:
        return dry * np.sqrt(1 - share) + other * np.sqrt(share)

    def window(piece: Audio, start: int) -> Audio:
        def curve(values: Curve) -> Samples:
            return per_frame(values, 0, start, piece.frames, hop)

        dry = piece.samples[0] * curve(gain)
        if not dry.any():
            return Audio.silence(1 if place is None else 2, piece.frames, rate)
        middle = mixed(dry, reverb.reverberate(dry, reverbs[0]), curve(in_middle)) if reverbs else dry
        open_ = curve(gate)
        if place is None:
            return Audio((middle * open_)[None], rate)
        middle *= open_
        placed = np.stack([middle * curve(place.left), middle * curve(place.right)])
        if place.side.any():
            side = reverb.reverberate(dry, spreading)
            if reverbs:
                side = mixed(side, reverb.reverberate(dry, reverbs[1]), curve(in_side))
            side *= curve(place.side) * open_
            placed[0] += side
            placed[1] -= side
        return Audio(placed, rate)

    margin = max(0.1, (max(len(response) for response in reverbs) + 1) / rate if reverbs else 0.0)
    return map_windows(treated, window, context, seconds=30.0, margin=margin)
