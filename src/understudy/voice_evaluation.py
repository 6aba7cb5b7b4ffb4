"""How well each engine of a voice sings: the same clips, the same scores, side by side.

    recordings ─► the last part held out, the rest is what a voice is made of
    held-out clips, phrases of other singers ─► each engine ─► scores

What is measured: `understudy.voices.rvc.training.evaluation`, and here the likeness of what Whisper's encoder hears.
Nobody listens, so naturalness is only what can be computed: noise, clicks, the distance of the mel spectrum.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from understudy.audio.pitch import PitchSettings
from understudy.audio.resample import resample
from understudy.audio.samples import Audio, AudioSource
from understudy.context import Context, scratch_context
from understudy.errors import UnderstudyError
from understudy.models import Weights, require, usable
from understudy.training_comparison import shortened
from understudy.voices import recording_files
from understudy.voices.engine import ConversionSettings
from understudy.voices.engines import engine, offered
from understudy.voices.rvc.training.evaluation import (
    Clip,
    Evaluation,
    Render,
    evaluate,
    held_out_clips,
    phrase_clips,
    references,
)
from understudy.voices.rvc.training.materials import Excerpt
from understudy.voices.training.hold_out import hold_out
from understudy.voices.voice import Voice

CONTENT = "whisper-small"  # in the catalogue


@dataclass(frozen=True)
class EngineScores:
    """How `engine` sings with the voice, with the catalogue's `models`: the scores of each clip, and the mean
    `content`, the cosine of the features that Whisper's encoder hears in what was to be sung and in what was sung; None
    where Whisper isn't installed. `heard`: whether it may know what is held out here, from a training or because there
    is too little else."""

    engine: str
    models: tuple[str, ...]
    evaluation: Evaluation
    content: float | None
    heard: bool

    def to_dict(self) -> dict[str, Any]:
        """As JSON has it: the means, then the clips."""
        return {
            "engine": self.engine,
            "models": list(self.models),
            "heard": self.heard,
            "means": self.evaluation.means() | ({} if self.content is None else {"content": self.content}),
            "clips": self.evaluation.to_dict()["clips"],
        }


def evaluate_voice(
    voice: Voice, engines: Sequence[str], settings: ConversionSettings, context: Context
) -> list[EngineScores]:
    """The scores of `voice` with each of `engines` (none: all that can sing here).

    The end of its recordings is held out, as before a training; a voice of `instant` or `zero-shot` is made of the
    rest, unless that is less than 5 s. Raises `UnderstudyError` ``voice-without-recordings``, ``engine-missing``,
    ``model-missing``, and what the engines raise; `Cancelled`."""
    if not voice.manifest.recordings:
        raise UnderstudyError(
            "voice-without-recordings",
            f"The voice {voice.name!r} is an imported model: there are no recordings of it to compare with.",
            "Add recordings of the voice as a voice of their own: understudy voices add.",
        )
    chosen = list(dict.fromkeys(engines)) or [name for name in offered(voice) if all(map(usable, _models(voice, name)))]
    needed = {name: {model: require(model) for model in _models(voice, name)} for name in chosen}
    durations = [recording.duration for recording in voice.manifest.recordings]
    held = hold_out(durations)
    with scratch_context(cancel=context.cancelled) as scratch:
        kept = [duration - (out + 0.5 if out else 0) for duration, out in zip(durations, held, strict=True)]
        rest = shortened(scratch, voice, kept)
        quiet = scratch.part(0, 0)
        held_out = held_out_clips(quiet, _held_out(quiet, voice, held), PitchSettings(), 3)
        clips = (*held_out, *phrase_clips(voice.pitch_range))
        reference, found = references(clips), []
        for number, name in enumerate(chosen):
            part = context.part(number / len(chosen), (number + 1) / len(chosen))
            trained = name == "rvc" or (name == "zero-shot" and voice.manifest.tuned is not None)
            singer = (voice if trained else rest).sung_by(name)
            sounds: dict[str, Audio] = {}
            scores = evaluate(
                part,
                _singing(replace(scratch, device=context.device), singer, needed[name], settings),
                clips,
                reference,
                listen=lambda clip, made, sounds=sounds: sounds.update({clip.name: made}),  # type: ignore[misc]
            )
            content, heard = _content(clips, sounds, context.device), trained or rest is voice
            found.append(EngineScores(name, tuple(needed[name]), scores, content, heard))
    return found


def _held_out(scratch: Context, voice: Voice, held: Sequence[float]) -> list[tuple[str, AudioSource]]:
    """The last `held` seconds of each recording that has some."""
    found: list[tuple[str, AudioSource]] = []
    for file, recording, seconds in zip(voice.recording_files, voice.manifest.recordings, held, strict=True):
        if seconds:
            sound = recording_files.decode(scratch, file, scratch.folder / f"{file.name}.npy")
            first = max(0, sound.frames - round(seconds * sound.rate))
            found.append((recording.source, Excerpt(sound, first, sound.frames)))
    return found


def _singing(scratch: Context, singer: Voice, models: Mapping[str, Weights], settings: ConversionSettings) -> Render:
    """What sings a performance with the engine of `singer`."""
    by = engine(singer.manifest.engine)
    place = replace(scratch.part(0, 0), folder=scratch.folder / singer.manifest.engine)
    place.folder.mkdir()
    prepared = by.prepare(place, singer)
    return lambda performance: by.convert(place, performance, singer, prepared, settings, models).read()


def _models(voice: Voice, name: str) -> tuple[str, ...]:
    return engine(name).models(voice.sung_by(name))


def _content(clips: Sequence[Clip], sounds: dict[str, Audio], device: str) -> float | None:
    weights = usable(CONTENT)
    if weights is None:
        return None
    import torch

    from understudy.voices.zero_shot.content import LONGEST, RATE, load_content_encoder

    encoder = load_content_encoder(weights.path).to(device)

    def heard(sound: Audio) -> torch.Tensor:
        samples = resample(sound.mono(), RATE).samples[0][:LONGEST]
        features: torch.Tensor = encoder(torch.from_numpy(np.ascontiguousarray(samples)).to(device))
        return features

    with torch.inference_mode():
        cosines = []
        for clip in clips:
            wanted, made = heard(clip.performance.vocals.read()), heard(sounds[clip.name])
            frames = min(len(wanted), len(made))
            cosines.append(float(torch.cosine_similarity(wanted[:frames], made[:frames], dim=1).mean()))
    return float(np.mean(cosines))
