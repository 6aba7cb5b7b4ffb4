"""Whether a trained model sings better than the instant voice, by the same scores on the same clips."""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from contextlib import suppress
from threading import Event

from understudy.audio.encode import OutputFormat, encode
from understudy.audio.samples import Audio
from understudy.audio.tags import Tags
from understudy.context import Context, scratch_context
from understudy.pipeline.training_graph import named_recordings
from understudy.voices import recording_files
from understudy.voices.engine import ConversionSettings, Performance
from understudy.voices.engines import engine
from understudy.voices.rvc.training.choice import uncertainty
from understudy.voices.rvc.training.dataset import Dataset
from understudy.voices.rvc.training.evaluation import Evaluation, references
from understudy.voices.rvc.training.materials import Excerpt, Materials, held_out_sounds
from understudy.voices.rvc.training.work import scored
from understudy.voices.training.run_folder import RunFolder
from understudy.voices.voice import MODEL, RECORDINGS, Voice

LEAST = 5.0  # seconds of recordings that an instant voice is made from


def beats(trained: Evaluation, instant: Evaluation) -> bool:
    """Whether a checkpoint sings better than the instant voice: more like the held-out recordings by more than the
    uncertainty, as intelligibly, as true to the pitch, and without silence or clicks that the other doesn't have."""
    better, both = trained.means(), instant.means()
    main = "similarity" if "similarity" in better and "similarity" in both else "mel_distance"
    signs = {"similarity": 1, "intelligibility": 1, "f0_error": -1, "mel_distance": -1}

    def gain(name: str) -> float:
        return signs[name] * (better.get(name, 0.0) - both.get(name, 0.0)) / uncertainty([trained], name)

    broken = better["silent"] > both["silent"] + 0.1 or better["clicks"] > both["clicks"] + 1
    return not broken and gain(main) > 1 and gain("intelligibility") > -2 and gain("f0_error") > -2


def evaluate_instant(
    voice: Voice, folder: RunFolder, materials: Materials, dataset: Dataset, cancelled: Event
) -> Evaluation:
    """The scores of the instant voice on the clips of the run in `folder`, measured once; its sounds become samples. It
    is made without what is held out of `dataset`, which the model hasn't heard either. Raises `Cancelled`."""
    with suppress(OSError, ValueError, KeyError, TypeError):
        return Evaluation.of(json.loads((folder.path / "instant.json").read_bytes()))
    instant = engine("instant")
    with scratch_context(cancel=cancelled) as context:
        sung = without_held_out(context.part(0, 0), voice.sung_by("instant"), dataset)
        prepared = instant.prepare(context.part(0, 0), sung)

        def render(performance: Performance) -> Audio:
            return instant.convert(context.part(0, 0), performance, sung, prepared, ConversionSettings(), {}).read()

        samples = folder.path / "samples" / "instant"
        found = scored(render, materials.clips, references(materials.clips), samples, cancelled)
    folder.write_json("instant.json", found.to_dict())
    return found


def without_held_out(context: Context, voice: Voice, dataset: Dataset) -> Voice:
    """The voice made of what isn't held out of its recordings."""
    names = {external.content_hash: name for name, external in named_recordings(voice)}
    numbers = {recording.name: number for number, recording in enumerate(dataset.recordings)}
    held_out = held_out_sounds(dataset)
    found = [held_out.get(numbers.get(names[one.sha256], -1)) for one in voice.manifest.recordings]
    seconds = [
        one.duration if held is None else held.first / held.rate - 0.5
        for one, held in zip(voice.manifest.recordings, found, strict=True)
    ]
    return shortened(context, voice, seconds)


def shortened(context: Context, voice: Voice, kept_seconds: Sequence[float]) -> Voice:
    """The voice made of so many seconds from the begin of each of its recordings, in `context.folder`; those with less
    than one are left out. The voice itself where that is less than `LEAST` seconds."""
    place, kept = context.folder / "heard", []
    (place / RECORDINGS).mkdir(parents=True)
    for file, recording, seconds in zip(voice.recording_files, voice.manifest.recordings, kept_seconds, strict=True):
        if seconds < 1:
            continue
        sound = recording_files.decode(context, file, context.folder / "decoded.npy")
        part = Excerpt(sound, 0, min(sound.frames, round(seconds * sound.rate)))
        encode(context, part, place / RECORDINGS / file.name, OutputFormat(name="flac"), Tags())
        kept.append(recording.model_copy(update={"duration": seconds}))
    if sum(recording.duration for recording in kept) < LEAST:
        return voice
    for file in voice.tuned_files:
        (place / MODEL).mkdir(exist_ok=True)
        shutil.copyfile(file, place / MODEL / file.name)
    return Voice(place, voice.manifest.model_copy(update={"recordings": tuple(kept)}))
