"""`ZeroShotEngine`: conversion with a voice made from recordings, by a network that was trained on many singers.

The song is cut into passages where it is quietest. Each is sung as mel frames, which cross-fade with those of its
neighbours; then the vocoder makes the sound of all frames, window by window. On disk lies the song's sound at the rates
of the networks, in memory one passage and the mel frames of the song, 44 kB a second.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from understudy.audio.crossfade import raised_cosine
from understudy.audio.downmix import fold
from understudy.audio.effects.control import Curve, block_energies, per_frame
from understudy.audio.resample import resample_blocks
from understudy.audio.samples import Audio, AudioSource, Samples, View, read_blocks
from understudy.audio.stored import AudioFile, write_blocks
from understudy.context import Context
from understudy.models import Weights, usable
from understudy.voices.cuts import pieces, split
from understudy.voices.engine import ConversionSettings, Performance
from understudy.voices.envelope import gate, soft_gain
from understudy.voices.voice import Voice, ZeroShotModel
from understudy.voices.zero_shot.configuration import HOP, RATE, Mel, read_configuration
from understudy.voices.zero_shot.references import choose_clips, frame_pitch, load_clips, save_clips

if TYPE_CHECKING:
    from understudy.voices.zero_shot.singing import Manner, Networks, Song

# the singing models in the catalogue, of which one will do, the best first, each with its vocoder
MODELS: dict[ZeroShotModel, str] = {
    "zero-shot-yingmusic": "bigvgan-44k",
    "zero-shot": "bigvgan-44k",
    "zero-shot-speech": "bigvgan-22k",
}
PARTS = ("whisper-small", "campplus")  # needed beside it
LONGEST = 1200  # mel frames of a passage, 14 s
SHORTEST = 200  # to which passages may shrink when memory is short
FADE = 8  # mel frames on both sides of a cut over which neighbours cross-fade
WINDOW = 128  # mel frames that the vocoder makes at once
GUIDANCE = 1.4  # at an index rate of 1; the published default of 0.7 is that of 0.5
HIGHEST = 1100.0  # Hz; the networks know no higher pitch

_QUIET = -11.5  # a log mel of silence


class ZeroShotEngine:
    version: int = 2
    packages: tuple[str, ...] = ("swift-f0",)

    def models(self, voice: Voice) -> tuple[str, ...]:
        """The best singing model that is installed, seed-vc's where none is, unless the voice has its own; and what it
        needs."""
        tuned = voice.manifest.tuned
        if tuned is not None:
            return *PARTS, MODELS[tuned.model]
        name = installed_model()
        return name, *PARTS, MODELS[name]

    def prepare(self, context: Context, voice: Voice) -> Path:
        """Chooses the clips by which the networks get to know the voice."""
        path = context.folder / "clips.npz"
        save_clips(choose_clips(context, voice), path)
        return path

    def study(
        self, context: Context, performance: Performance, prepared: Path, settings: ConversionSettings
    ) -> Path | None:
        """Nothing: each passage is sung on its own."""
        return None

    def convert(
        self,
        context: Context,
        performance: Performance,
        voice: Voice,
        prepared: Path,
        settings: ConversionSettings,
        models: Mapping[str, Weights],
        studied: Path | None = None,
    ) -> AudioFile:
        vocals, folder = performance.vocals, context.folder
        path = folder / "converted.npy"
        main = tuned_weights(voice) or next(models[name] for name in MODELS if name in models)
        vocoder = next(models[name] for name in MODELS.values() if name in models)
        weights = [main, *(models[part] for part in PARTS), vocoder]
        bands = read_configuration(weights[0].companions[0].path).mel
        mono = fold(context.part(0.0, 0.01), vocals)
        blocks = resample_blocks(mono, bands.rate, context.part(0.01, 0.02))
        song = write_blocks(folder / "song.npy", bands.rate, 1, blocks)
        frames = -(-song.frames // bands.hop)
        energy = _energy(song, frames, bands.hop)
        rests = Rests(energy, gate(energy), *_frames(performance.part, frames))
        gain = rests.gain.copy()
        gain[: rests.first] = gain[rests.last :] = 0
        try:
            if not gain.any():
                return write_blocks(path, vocals.rate, 1, [Audio.silence(1, vocals.frames, vocals.rate)])
            sound = self._sung(context, performance, song, rests, prepared, settings, weights)
        finally:
            song.path.unlink()
        gain = gain * soft_gain(energy, _energy(sound, frames, bands.hop))
        gated = _Gated(sound, gain, bands.hop)
        blocks = resample_blocks(gated, vocals.rate, context.part(0.98, 1.0), vocals.frames)
        converted = write_blocks(path, vocals.rate, 1, blocks)
        sound.path.unlink()
        return converted

    def _sung(
        self,
        context: Context,
        performance: Performance,
        song: AudioFile,
        rests: Rests,
        prepared: Path,
        settings: ConversionSettings,
        weights: Sequence[Weights],
    ) -> AudioFile:
        """The song sung in full, at the model's rate and a whole number of frames; its rests are noise."""
        import torch

        from understudy.voices.zero_shot.singing import Manner, Song, describe, load_networks

        f0 = frame_pitch(performance.pitch, len(rests.gain)) * np.float32(2 ** (performance.transpose / 12))
        if (f0 > HIGHEST).any():
            context.warn(f"Notes above {HIGHEST:.0f} Hz were sung: this engine sings them at that pitch.")
        heard = write_blocks(
            context.folder / "heard.npy", 16000, 1, resample_blocks(song, 16000, context.part(0.02, 0.03))
        )
        try:
            with torch.inference_mode():
                precision = None if settings.precision == "auto" else settings.precision
                networks = load_networks(weights[0], weights[1:], context.device, precision)
                if not networks.converter.length_regulator.pitched:
                    context.warn("The zero-shot model is one for speech, which isn't told the song's pitch.")
                clips = load_clips(prepared)
                listening = _ticking(context.part(0.03, 0.08), len(clips) * (len(networks.encoder.blocks) + 1))
                references, style = describe(networks, clips, settings.formant_shift, listening)
                manner = Manner(references, style, settings.steps, GUIDANCE * settings.index_rate, settings.seed)
                mel = _mel(context.part(0.08, 0.85), networks, Song(heard, f0), manner, rests)
                if settings.protect < 0.5:
                    _protect(mel, song, f0, rests.gain, 1 - 2 * settings.protect, networks.mel)
                return _sound(context.part(0.85, 0.98), networks, mel, rests)
        finally:
            heard.path.unlink()


def installed_model() -> ZeroShotModel:
    """The catalogue name of the best singing model that is installed; seed-vc's where none is."""
    return next((name for name in MODELS if usable(name) is not None), "zero-shot")


def tuned_weights(voice: Voice) -> Weights | None:
    """The model that was fine-tuned on `voice`, None where there is none."""
    if not voice.tuned_files:
        return None
    (path, sha256), (configuration, its_sha256) = voice.tuned_files.items()
    return Weights(path, sha256, (Weights(configuration, its_sha256),))


@dataclass(frozen=True, eq=False)
class Rests:
    """Of the song's mel frames ``[frames]``: the mean square `energy`, and the `gain` of the gate, 0 where it rests;
    the passages that hold any of the frames ``first:last`` are sung."""

    energy: Curve
    gain: Curve
    first: int
    last: int


def _frames(part: tuple[float, float] | None, frames: int) -> tuple[int, int]:
    """The mel frames of the `part` in seconds, None for all."""
    start, stop = (0, frames) if part is None else (round(second * RATE / HOP) for second in part)
    return max(0, start), min(stop, frames)


def _energy(sound: AudioSource, frames: int, hop: int) -> Curve:
    """Mean square of each mel frame of a mono sound, silence past its end."""
    blocks = [block_energies(block.samples, 0, hop) for block in read_blocks(sound, 2000 * hop)]
    found = np.concatenate(blocks) if blocks else np.zeros(0)
    return np.pad(found, (0, max(0, frames - len(found))))[:frames]


def _ticking(context: Context, times: int) -> Callable[[], None]:
    """A function that, called so many times, reports progress from 0 to 1."""
    done = 0

    def tick() -> None:
        nonlocal done
        done += 1
        context.progress(done / times)

    return tick


def _mel(context: Context, networks: Networks, song: Song, manner: Manner, rests: Rests) -> Samples:
    """The log mel of the whole song ``[bands, frames]``; passages cross-fade over `FADE` frames on both sides of a cut.
    A passage for which the GPU's memory is too small is split."""
    import torch

    from understudy.voices.zero_shot.singing import sing, ticks

    frames = len(rests.gain)
    mel = np.full((networks.mel.bands, frames), _QUIET, np.float32)
    found = pieces(rests.energy, rests.gain, LONGEST)
    waiting = [piece for piece in found if piece.last > rests.first and piece.first < rests.last]
    total, done = sum(piece.frames for piece in waiting), 0
    while waiting:
        piece, *waiting = waiting
        begin = max(0, piece.first - FADE) if piece.follows else piece.first
        end = min(frames, piece.last + FADE)
        part = context.part(done / total, (done + piece.frames) / total)
        sung: Samples | None
        try:
            sung = sing(networks, song, manner, begin, end, _ticking(part, ticks(networks, manner.steps)))
        except RuntimeError as error:
            if type(error).__name__ != "OutOfMemoryError" or piece.frames <= SHORTEST:
                raise
            context.warn("The GPU's memory is small: the voice sings in shorter passages.")
            waiting = [*split(piece, rests.energy, piece.frames // 2), *waiting]
            sung = None
        if sung is None:  # outside the except block: the error still refers to the tensors
            torch.cuda.empty_cache()
            continue
        if piece.follows and piece.first > rests.first:  # the passage before it was sung
            lap = min(2 * FADE, end - begin)
            rise = raised_cosine(lap).astype(np.float32)
            sung[:, :lap] = sung[:, :lap] * rise + mel[:, begin : begin + lap] * (1 - rise)
        mel[:, begin:end] = sung
        done += piece.frames
    return mel


def _protect(mel: Samples, song: AudioSource, f0: Samples, gain: Curve, share: float, bands: Mel) -> None:
    """Mix so much of the original into unvoiced frames of `mel` ``[bands, frames]``, in place: its log mel, moved to
    the level at which the voice sings."""
    import torch

    from understudy.voices.zero_shot.vocoder import log_mel

    beside, hop = 2, bands.hop  # frames that a mel frame reaches beyond its own samples
    for first in range(0, mel.shape[1], 4000):
        last = min(first + 4000, mel.shape[1])
        sound = np.zeros((last - first + 2 * beside) * hop, np.float32)
        start = max(0, first - beside) * hop
        read = song.read(start, min((last + beside) * hop, song.frames)).samples[0]
        place = start - (first - beside) * hop
        sound[place : place + len(read)] = read
        original = log_mel(torch.from_numpy(sound), bands).numpy()[:, beside : beside + last - first]
        open_ = gain[first:last] > 0
        voiced = open_ & (f0[first:last] > 0)
        if not voiced.any():
            continue
        level = float((mel[:, first:last][:, voiced] - original[:, voiced]).mean())
        spoken = open_ & ~voiced
        mel[:, first:last][:, spoken] += share * (original[:, spoken] + level - mel[:, first:last][:, spoken])


def _sound(context: Context, networks: Networks, mel: Samples, rests: Rests) -> AudioFile:
    """The sound of a log mel ``[bands, frames]``, window by window; silence where nothing of one is to be heard."""
    import torch

    frames, bands, margin = mel.shape[1], networks.mel, networks.vocoder.margin

    def blocks() -> Iterator[Audio]:
        for first in range(0, frames, WINDOW):
            last = min(first + WINDOW, frames)
            part = context.part(first / frames, last / frames)
            if not rests.gain[max(first, rests.first) : min(last, rests.last)].any():
                part.progress(1)
                yield Audio.silence(1, (last - first) * bands.hop, bands.rate)
                continue
            begin, end = max(0, first - margin), min(last + margin, frames)
            window = torch.from_numpy(mel[:, begin:end]).to(networks.device)
            sound = networks.vocoder(window, lambda part=part: part.progress(0.5)).cpu().numpy()
            yield Audio(sound[None, (first - begin) * bands.hop : (last - begin) * bands.hop], bands.rate)

    return write_blocks(context.folder / "sung.npy", bands.rate, 1, blocks())


@dataclass(frozen=True, eq=False)
class _Gated(View):
    """`source` times the gate's `gain`, one value per mel frame."""

    source: AudioFile
    gain: Curve
    hop: int

    def read(self, start: int = 0, stop: int | None = None) -> Audio:
        stop = self.frames if stop is None else stop
        gain = per_frame(self.gain, 0, start, stop - start, self.hop)
        return Audio(self.source.read(start, stop).samples * gain, self.rate)
