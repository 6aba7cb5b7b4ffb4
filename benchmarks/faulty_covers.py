"""Covers with known faults: a good cover of a song with known stems, spoilt at one stage by one known degree.

`Take` is an excerpt of a song and a voice. `FAULTS` lists what can be done to it: at which stage, in degrees from
slight to severe. A fault changes what its stage made; all stages after it, and the report's measurements, then run as
in a cover. Every second take is separated by the embedded separator, the others have the true stems.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from scipy.signal import butter, sosfiltfilt

from understudy.audio.loudness import measure
from understudy.audio.pitch import PitchSettings, PitchTrack, track
from understudy.audio.samples import Audio, Samples
from understudy.audio.stored import AudioFile, write_blocks
from understudy.context import Context
from understudy.pipeline.report.assess_parts import AssessInputs, assess
from understudy.pipeline.report.figures import ReportInputs
from understudy.pipeline.separation.embedded.separate import separate_embedded
from understudy.pipeline.separation.quality import assess_separation
from understudy.pipeline.separation.settings import SeparationSettings
from understudy.pipeline.separation.singer_removal import remove_singer
from understudy.pipeline.separation.vocal_level import vocal_level
from understudy.pipeline.stages import remix
from understudy.pipeline.stages.finish import FinishSettings, finish
from understudy.voices.engine import ConversionSettings, Performance
from understudy.voices.engines import engine
from understudy.voices.transpose import choose_transpose
from understudy.voices.voice import Voice

Edit = Mapping[str, Any]
"""What is changed, by stage: a function of what the stage made. Beside these: ``transpose``, semitones beside the
chosen ones; ``settings`` of the conversion; ``tune``, semitones that the engine sings off the pitch; ``gain`` of the
vocal in dB; ``of``, the voice whose recordings the cover is compared with; ``embedded``, whether the stems are the
embedded separator's."""


@dataclass(frozen=True)
class Take:
    """`vocals` and `band`: the true stems ``[2, frames]``. `other`: another voice. `elsewhere`: the vocals of another
    passage or song. `embedded`: whether the song is separated by the embedded separator."""

    name: str
    rate: int
    vocals: Samples
    band: Samples
    voice: Voice
    other: Voice
    elsewhere: Samples
    embedded: bool
    folder: Path
    conversions: dict[str, AudioFile] = field(default_factory=dict)

    def write(self, name: str, samples: Samples) -> AudioFile:
        audio = Audio(np.ascontiguousarray(samples, np.float32), self.rate)
        return write_blocks(self.folder / f"{name}.npy", self.rate, audio.channels, [audio])

    @cached_property
    def separated(self) -> tuple[Samples, Samples]:
        """Vocals and band as they are separated from the song."""
        if not self.embedded:
            return self.vocals, self.band
        context = Context(scratch(self.folder / "separated"))
        stems = separate_embedded(context, Audio(self.vocals + self.band, self.rate))
        return stems["vocals"].read().samples, stems["instrumental"].read().samples

    @cached_property
    def prepared(self) -> Path:
        folder = scratch(self.folder.parent / f"voice {self.voice.name}")
        made = list(folder.iterdir())
        return made[0] if made else engine("instant").prepare(Context(folder), self.voice)

    @cached_property
    def pitch(self) -> PitchTrack:
        return self._tracked(self.separated[0])

    def _tracked(self, vocals: Samples) -> PitchTrack:
        return track(Context(self.folder), Audio(vocals, self.rate), PitchSettings())

    def converted(self, vocals: Samples, pitch: PitchTrack, semitones: float, settings: ConversionSettings) -> Samples:
        """``[1, frames]``."""
        folder = scratch(self.folder / f"conversion {len(list(self.folder.glob('conversion *')))}")
        performance = Performance(Audio(vocals, self.rate), pitch, semitones)
        return engine("instant").convert(
            Context(folder), performance, self.voice, self.prepared, settings, {}
        ).read().samples  # fmt: skip

    @cached_property
    def conversion(self) -> Samples:
        """The conversion without a fault."""
        semitones = choose_transpose(self.pitch, self.voice.pitch_range).semitones
        return self.converted(self.separated[0], self.pitch, semitones, ConversionSettings())

    @cached_property
    def octave_off(self) -> Samples:
        """The same an octave off."""
        semitones = choose_transpose(self.pitch, self.voice.pitch_range).semitones
        return self.converted(self.separated[0], self.pitch, semitones + self.away, ConversionSettings())

    @property
    def away(self) -> int:
        """The octave, 12 or -12, that leads away from the voice."""
        median = float(np.median(self.pitch.f0[self.pitch.voiced]))
        semitones = choose_transpose(self.pitch, self.voice.pitch_range).semitones
        reach = self.voice.pitch_range
        middle = 0.0 if reach is None else 12 * np.log2(median / reach.median) + semitones - 5
        return 12 if middle >= 0 else -12


def scratch(folder: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def cover(take: Take, edit: Edit) -> ReportInputs:
    """The cover of the take, with what `edit` changes."""
    context = Context(take.folder)
    vocals, band = take.separated
    song = take.vocals + take.band
    if "separate" in edit:
        song, vocals, band = edit["separate"](song, vocals, band)
    same = vocals is take.separated[0]
    pitch = take.pitch if same else take._tracked(vocals)
    if "pitch" in edit:
        pitch = edit["pitch"](pitch)
    chosen = choose_transpose(pitch, take.voice.pitch_range)
    if "transpose" in edit:
        chosen = choose_transpose(pitch, take.voice.pitch_range, requested=chosen.semitones + edit["transpose"])
    if not same or edit.keys() & {"pitch", "transpose", "settings", "tune"}:
        settings = edit.get("settings", ConversionSettings())
        converted = take.converted(vocals, pitch, chosen.semitones + edit.get("tune", 0.0), settings)
    else:
        converted = take.conversion
    if "convert" in edit:
        converted = edit["convert"](converted)

    parts = {"song": song, "original_vocals": vocals, "converted": converted, "band": band}
    files = {name: take.write(name, samples) for name, samples in parts.items()}
    level = vocal_level(context, files["song"], files["original_vocals"]) if take.embedded else None
    instrumental = files["band"]
    if take.embedded:
        folder = Context(scratch(take.folder / "removal"))
        instrumental = remove_singer(folder, files["song"], files["band"], pitch, None, level)
    vocal = finish(context, files["converted"], files["original_vocals"], FinishSettings(), level)
    if "finish" in edit:
        vocal = take.write("finished", edit["finish"](vocal.read().samples))
    stems = {"vocals": vocal, "instrumental": instrumental}
    mixed = remix.remix(
        context,
        files["song"],
        stems,
        remix.measure_stems(context, files["song"], stems),
        remix.RemixSettings(vocal_gain=edit.get("gain", 0.0)),
    )
    sound, loudness = mixed.cover, mixed.loudness
    if "remix" in edit:
        sound, heavy = edit["remix"](take, vocal.read().samples, instrumental.read().samples, sound.read().samples)
        sound = take.write("remixed", sound)
        found = measure(sound, context).summary()
        loudness = replace(loudness, cover=found, true_peak=found.true_peak, reduction_heavy=heavy)
    assessed = AssessInputs(
        song=files["song"],
        original_vocals=files["original_vocals"],
        vocals=vocal,
        converted=files["converted"],
        instrumental=instrumental,
        pitch=pitch,
        transpose=chosen.semitones,
        recordings=edit.get("of", take.voice).recording_files,
        reach=take.voice.pitch_range,
        level=level,
    )
    return ReportInputs(
        assessment=assess(context, assessed),
        cover=sound,
        vocals=vocal,
        instrumental=instrumental,
        loudness=loudness,
        transposition=chosen,
        key=0,
        voice=take.voice.name,
        quality=assess_separation(context, files["song"], files["original_vocals"], files["band"]),
        separation=SeparationSettings() if take.embedded or "embedded" in edit else None,
    )


# --- what can be done to a take ---------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Fault:
    """`edit`: what a degree of it changes in a take. `degrees`: from slight to severe. `stage`: that is to be blamed;
    empty for no fault. `slight`: whether the first degree is hardly heard. `ruins`: whether nobody would use a cover
    with the last degree. `ordered`: whether a later degree is worse than an earlier one."""

    name: str
    stage: str
    degrees: tuple[float, ...]
    edit: Callable[[Take, float], Edit]
    slight: bool = False
    ruins: bool = False
    ordered: bool = True


def linear(decibels: float) -> float:
    return float(10 ** (decibels / 20))


def leftover(take: Take, level: float) -> Edit:
    """The song's singer is louder, and the separation leaves that part of the voice in the instrumental."""
    left = linear(level) * take.vocals
    return {"separate": lambda song, vocals, band: (song + left, vocals, band + left)}


def bleed(take: Take, level: float) -> Edit:
    """So much of the band, against the voice, is separated with the voice."""
    gain = min(0.95, linear(level) * float(np.sqrt(np.mean(take.vocals**2) / np.mean(take.band**2))))
    taken = np.float32(gain) * take.band
    return {"separate": lambda song, vocals, band: (song, vocals + taken, band - taken)}


def own_vocals(take: Take, late: float) -> Edit:
    """The user's own vocals don't fit: late by so many seconds, or of elsewhere (infinite)."""

    def given(song: Samples, vocals: Samples, band: Samples) -> tuple[Samples, Samples, Samples]:
        wrong = take.elsewhere if np.isinf(late) else shifted(take.vocals, late, take.rate)
        return song, wrong, song - wrong

    return {"separate": given}


def shifted(samples: Samples, seconds: float, rate: int) -> Samples:
    return np.roll(samples, round(seconds * rate), axis=1)


def passages(share: float, count: int, number: int) -> np.ndarray:
    """Booleans ``[count]``: true during `share` of the time, in so many passages."""
    place = np.arange(count) * number / count % 1
    return np.asarray(place < share)


def faded(share: float, count: int, rate: int) -> Samples:
    """The same in four passages of sound, 1 where true, without clicks at the edges."""
    size = round(0.02 * rate)
    window = np.hanning(size) / np.hanning(size).sum()
    return np.convolve(passages(share, count, 4), window, "same").astype(np.float32)


def lost_track(take: Take, share: float, semitones: float) -> Edit:
    def wrong(pitch: PitchTrack) -> PitchTrack:
        number = np.cumsum(pitch.voiced)  # passages of the singing, not of the pauses
        here = passages(share, int(number[-1]) + 1, 8)[number]
        return replace(pitch, f0=np.where(here, pitch.f0 * np.float32(2 ** (semitones / 12)), pitch.f0))

    return {"pitch": wrong}


def octaves_sung(take: Take, share: float) -> Edit:
    def jumping(converted: Samples) -> Samples:
        there = faded(share, converted.shape[1], take.rate)
        return converted + there * (take.octave_off - converted)

    return {"convert": jumping}


def gaps(take: Take, share: float) -> Callable[[Samples], Samples]:
    return lambda samples: samples * (1 - faded(share, samples.shape[1], take.rate))


def hiss(take: Take, level: float) -> Callable[[Samples], Samples]:
    """White noise at `level` dB against the voice, where there is voice."""

    def noisy(samples: Samples) -> Samples:
        noise = np.random.default_rng(1).normal(0, 1, samples.shape[1])
        size = round(0.05 * take.rate)
        power = np.convolve((samples**2).mean(axis=0), np.ones(size) / size, "same")
        heard = power > 1e-4 * power.max()
        gain = linear(level) * np.sqrt(power[heard].mean())
        return samples + (gain * noise * heard).astype(np.float32)

    return noisy


def clicks(take: Take, per_minute: float) -> Callable[[Samples], Samples]:
    def clicking(samples: Samples) -> Samples:
        torn = samples.copy()
        torn[:, round(0.3 * take.rate) :: round(60 / per_minute * take.rate)] += 0.5 * np.abs(samples).max()
        return torn

    return clicking


def wandering(take: Take, depth: float) -> Callable[[Samples], Samples]:
    def wander(samples: Samples) -> Samples:
        swing = np.sin(2 * np.pi * 0.15 * np.arange(samples.shape[1]) / take.rate)
        return samples * (10 ** (depth * swing / 20)).astype(np.float32)

    return wander


def dull(take: Take, loss: float) -> Callable[[Samples], Samples]:
    """`loss` dB above 2 kHz."""
    high = butter(2, 2000, "high", fs=take.rate, output="sos")
    return lambda samples: samples - np.float32(1 - linear(-loss)) * sosfiltfilt(high, samples).astype(np.float32)


def clipped(excess: float) -> Callable[[Samples], Samples]:
    """Cut flat where the peaks are within `excess` dB of the highest."""

    def cut(samples: Samples) -> Samples:
        top = np.float32(np.abs(samples).max() * linear(-excess))
        return np.clip(samples, -top, top)

    return cut


Remixed = tuple[Samples, float]


def late_band(seconds: float) -> Callable[..., Remixed]:
    return lambda take, vocals, band, cover: (vocals + shifted(band, seconds, take.rate), 0.0)


def softer(decibels: float) -> Callable[..., Remixed]:
    return lambda take, vocals, band, cover: (linear(-decibels) * cover, 0.0)


def limited(excess: float) -> Callable[..., Remixed]:
    """The limiter takes what is within `excess` dB of the highest peak; then everything is as loud as before."""

    def flat(take: Take, vocals: Samples, band: Samples, cover: Samples) -> Remixed:
        path = take.folder / "limited.npy"
        gain = linear(excess - 1) / float(np.abs(cover).max())
        source = remix.Stacked((Audio(cover, take.rate),), (gain,), take.rate, 2, cover.shape[1])
        made = remix.write_limited(Context(take.folder), source, -1.0, path)
        loud = AudioFile.open(path, take.rate).read().samples
        same = np.sqrt(np.mean(cover**2) / np.mean(loud**2))
        return np.float32(same) * loud, 100 * made.reduction.share_above(remix.HEAVY)

    return flat


def hard_clipped(excess: float) -> Callable[..., Remixed]:
    def cut(take: Take, vocals: Samples, band: Samples, cover: Samples) -> Remixed:
        loud = np.clip(cover * np.float32(linear(excess) / np.abs(cover).max()), -1, 1)
        return loud, 0.0

    return cut


def at(stage: str, change: Callable[..., Any]) -> Edit:
    return {stage: change}


def instrumental(take: Take) -> Edit:
    """Nobody sings: what the separator takes for the vocal is a part of the band."""

    def alone(song: Samples, vocals: Samples, band: Samples) -> tuple[Samples, Samples, Samples]:
        stems = separate_embedded(Context(scratch(take.folder / "alone")), Audio(take.band, take.rate))
        return take.band, stems["vocals"].read().samples, stems["instrumental"].read().samples

    return {"separate": alone, "embedded": True}


def quiet_song(take: Take, level: float) -> Edit:
    """No fault: all is softer by so many dB."""
    gain = np.float32(linear(-level))
    return {"separate": lambda song, vocals, band: (gain * song, gain * vocals, gain * band)}


INFINITE = float("inf")
FAULTS: Sequence[Fault] = (
    Fault("none", "", (0,), lambda take, degree: {}),
    Fault("quiet song", "", (35,), quiet_song),
    Fault("leftover", "separate", (-20, -12, -6, 0), leftover, slight=True, ruins=True),
    Fault("bleed", "separate", (-20, -10, -3), bleed, slight=True),
    Fault("own vocals", "separate", (0.1, 0.5, INFINITE), own_vocals, ruins=True, ordered=False),
    Fault("instrumental", "separate", (1,), lambda take, degree: instrumental(take), ruins=True),
    Fault("octaves in the track", "pitch", (0.08, 0.4), lambda take, degree: lost_track(take, degree, 12)),
    Fault("wrong track", "pitch", (0.1, 0.4), lambda take, degree: lost_track(take, degree, 5)),
    Fault("octave", "transpose", (1, 2), lambda take, degree: {"transpose": int(degree) * take.away}, ruins=True),
    Fault("off key", "transpose", (2, 6), lambda take, degree: {"transpose": int(degree)}, ruins=True, ordered=False),
    Fault("octaves sung", "convert", (0.08, 0.4), octaves_sung),
    Fault("out of tune", "convert", (0.25, 0.5, 1.0), lambda take, degree: {"tune": degree}),
    Fault("late", "convert", (0.05, 0.15, 0.5),
          lambda take, degree: at("convert", lambda sung: shifted(sung, degree, take.rate)), ruins=True),
    Fault("late finish", "finish", (0.05, 0.2),
          lambda take, degree: at("finish", lambda sung: shifted(sung, degree, take.rate))),
    Fault("gaps", "convert", (0.15, 0.4), lambda take, degree: at("convert", gaps(take, degree)), ruins=True),
    Fault("gaps in finish", "finish", (0.2,), lambda take, degree: at("finish", gaps(take, degree))),
    Fault("hiss", "convert", (-35, -25, -15), lambda take, degree: at("convert", hiss(take, degree)), slight=True),
    Fault("hiss in finish", "finish", (-20,), lambda take, degree: at("finish", hiss(take, degree))),
    Fault("clicks", "convert", (12, 120), lambda take, degree: at("convert", clicks(take, degree))),
    Fault("wandering", "finish", (4, 8), lambda take, degree: at("finish", wandering(take, degree))),
    Fault("dull", "convert", (12, 30), lambda take, degree: at("convert", dull(take, degree))),
    Fault("clipped vocal", "convert", (6, 12), lambda take, degree: at("convert", clipped(degree))),
    Fault("weak voice", "convert", (0.25, 0.0),
          lambda take, degree: {"settings": ConversionSettings(index_rate=degree)}, slight=True),
    Fault("unconverted", "convert", (1,),
          lambda take, degree: at("convert", lambda sung: take.separated[0].mean(axis=0, keepdims=True))),
    Fault("wrong voice", "convert", (1,), lambda take, degree: {"of": take.other}),
    Fault("loud vocal", "remix", (4, 12), lambda take, degree: {"gain": degree}, slight=True),
    Fault("soft vocal", "remix", (4, 12), lambda take, degree: {"gain": -degree}, slight=True),
    Fault("late band", "remix", (0.02, 0.2), lambda take, degree: at("remix", late_band(degree)), ruins=True),
    Fault("quiet", "remix", (2, 10), lambda take, degree: at("remix", softer(degree)), slight=True),
    Fault("limited", "remix", (8, 14, 20), lambda take, degree: at("remix", limited(degree))),
    Fault("clipped", "remix", (3, 8, 14), lambda take, degree: at("remix", hard_clipped(degree)), ruins=True),
)  # fmt: skip
